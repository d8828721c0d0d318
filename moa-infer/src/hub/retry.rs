//! When a request is made again, and how long after.

use super::http::{Failed, Http};
use crate::exit::note;
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use std::time::Duration;

/// The longest wait that a server may ask for.
const LONGEST_WAIT: Duration = Duration::from_secs(300);

impl Http {
    /// Waits before attempt number `attempt + 1`; false if another would end the same.
    pub(super) fn wait(&self, failed: &Failed, attempt: u32) -> bool {
        let wanted = match failed {
            Failed::Transport(_) | Failed::Connect(_) => None,
            Failed::Status(status, _, _, wanted) if is_passing(*status) => *wanted,
            _ => return false,
        };
        let wait = wanted.unwrap_or(self.settings.pause * 2u32.pow(attempt - 1));
        if wait > LONGEST_WAIT {
            return false;
        }
        let why = match failed {
            Failed::Status(status, ..) => status.to_string(),
            Failed::Transport(reason) | Failed::Connect(reason) => reason.clone(),
            _ => String::new(),
        };
        note(format_args!("the Hub: {why}; again in {:.1} s", wait.as_secs_f64()));
        std::thread::sleep(wait);
        true
    }
}

/// These may be gone a moment later: as in `huggingface_hub`'s `http_backoff`.
pub fn is_passing(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 429 | 500 | 502 | 503 | 504)
}

/// The wait that an answer asks for: `Retry-After` in seconds, or the end of the Hub's window
/// of requests (`ratelimit: "api";r=0;t=55`), with a second for the rounding.
pub fn wanted(status: StatusCode, headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let window = || {
        let limit = text("ratelimit").filter(|_| status == StatusCode::TOO_MANY_REQUESTS)?;
        let field = |key: &str| {
            let value = limit.split(';').find_map(|part| part.trim().strip_prefix(key));
            value?.trim().strip_prefix('=')?.trim().parse::<u64>().ok()
        };
        (field("r")? == 0).then_some(field("t")?.saturating_add(1))
    };
    let seconds = text(RETRY_AFTER.as_str()).and_then(|wait| wait.trim().parse().ok());
    seconds.or_else(window).map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::{HeaderName, HeaderValue};

    #[test]
    fn the_hub_says_how_long() {
        let wait = |status, headers: &[(&'static str, &'static str)]| {
            let header = |(name, value): &(&'static str, &'static str)| {
                (HeaderName::from_static(name), HeaderValue::from_static(value))
            };
            wanted(status, &headers.iter().map(header).collect()).map(|wait| wait.as_secs())
        };
        let many = StatusCode::TOO_MANY_REQUESTS;
        assert_eq!(wait(many, &[("retry-after", "7")]), Some(7));
        let limit = ("ratelimit", r#""api";r=0;t=55"#);
        assert_eq!(wait(many, &[limit]), Some(56));
        assert_eq!(wait(many, &[limit, ("retry-after", "7")]), Some(7));
        assert_eq!(wait(many, &[("ratelimit", r#""api"; r = 0 ; t = 1"#)]), Some(2));
        for odd in [r#""api";r=3;t=55"#, "r=0", "t=5", ";;=", r#""api";r=0;t=-1"#] {
            assert_eq!(wait(many, &[("ratelimit", odd)]), None, "{odd}");
        }
        assert_eq!(wait(StatusCode::BAD_GATEWAY, &[limit]), None);
        let date = ("retry-after", "Wed, 21 Oct 2026 07:28:00 GMT");
        assert_eq!(wait(many, &[date]), None);
    }
}
