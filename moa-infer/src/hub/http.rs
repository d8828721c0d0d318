//! Requests: repeated where that helps, and with the token to the Hub alone.

use super::{HubError, Settings, retry};
use reqwest::blocking::{Body, Client, Response};
use reqwest::header::{AUTHORIZATION, HeaderMap, LOCATION};
use reqwest::{Method, StatusCode};
use serde::de::DeserializeOwned;
use std::io::Read;
use std::time::Duration;
use url::Url;

/// Times that a request is sent, at most.
pub(super) const ATTEMPTS: u32 = 5;
/// Redirections that are followed.
const REDIRECTS: usize = 5;
/// How long the Hub may be silent.
const PATIENCE: Duration = Duration::from_secs(60);
/// Bytes a second of the slowest connection that is worth an upload.
const SLOWEST: u64 = 32 << 10;
/// Largest answer that is read as a whole.
const LARGEST: u64 = 64 << 20;

/// Sends requests.
#[derive(Debug)]
pub struct Http {
    client: Client,
    /// How to reach the Hub.
    pub settings: Settings,
}

/// A request. Its body is made anew each time that it is sent.
pub struct Ask<'a> {
    /// GET, unless changed.
    pub method: Method,
    /// Where to.
    pub url: Url,
    /// Beside the token.
    pub headers: HeaderMap,
    /// What is sent.
    pub body: Option<&'a dyn Fn() -> std::io::Result<Body>>,
    /// Its bytes, about: a large one may take long.
    pub bytes: u64,
    /// May be sent twice.
    pub again: bool,
    /// Needs the token, whatever the settings say.
    pub token: bool,
}

/// Why there is no answer, or not the wanted one.
#[derive(Debug)]
pub enum Failed {
    /// A status that is no success: its `X-Error-Code`, and what it says.
    Status(StatusCode, Option<String>, String, Option<Duration>),
    /// Nobody is there: no network, say.
    Connect(String),
    /// No whole answer.
    Transport(String),
    /// A redirection that is not followed.
    Redirect(String),
    /// A whole answer, of another kind than was asked for.
    Answer(String),
    /// What was to be sent cannot be read.
    Body(std::io::Error),
}

impl<'a> Ask<'a> {
    /// A GET.
    pub fn get(url: Url) -> Self {
        Self {
            method: Method::GET,
            url,
            headers: HeaderMap::new(),
            body: None,
            bytes: 0,
            again: true,
            token: false,
        }
    }

    /// Another one, with a body.
    pub fn send(method: Method, url: Url, body: &'a dyn Fn() -> std::io::Result<Body>) -> Self {
        Self { method, body: Some(body), token: true, ..Self::get(url) }
    }
}

impl Http {
    /// With the proxies of the environment.
    ///
    /// # Errors
    /// If the system has no certificates, say.
    pub fn new(settings: Settings) -> Result<Self, HubError> {
        let client = Client::builder()
            .user_agent(concat!("moa/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(10))
            // Of one read of an answer, not of all of it.
            .timeout(PATIENCE)
            .build()
            .map_err(|e| HubError::Client(words(&e)))?;
        Ok(Self { client, settings })
    }

    /// An address of the Hub; each of `parts` may hold slashes, but only as part of its name.
    pub fn url(&self, parts: &[&str]) -> Url {
        let mut url = self.settings.endpoint.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(parts);
        }
        url
    }

    /// Sends until there is an answer that is a success and that `read` makes use of.
    ///
    /// # Errors
    /// The last failure.
    pub fn send<T>(
        &self,
        ask: &Ask<'_>,
        read: impl Fn(Response) -> Result<T, Failed>,
    ) -> Result<T, Failed> {
        let mut attempt = 1;
        loop {
            let failed = match self.once(ask).and_then(&read) {
                Ok(answer) => return Ok(answer),
                Err(failed) => failed,
            };
            // Without a network nobody should wait for it.
            let lost = matches!(failed, Failed::Connect(_));
            if attempt == ATTEMPTS || !ask.again || lost || !self.wait(&failed, attempt) {
                return Err(failed);
            }
            attempt += 1;
        }
    }

    /// Sends once, and follows redirections.
    pub(super) fn once(&self, ask: &Ask<'_>) -> Result<Response, Failed> {
        let mut url = ask.url.clone();
        for _ in 0..=REDIRECTS {
            let mut request = self.client.request(ask.method.clone(), url.clone());
            request = request.headers(ask.headers.clone());
            let token = self.settings.token.as_ref().filter(|_| self.gets_token(&url, ask));
            if let Some(token) = token {
                request = request.header(AUTHORIZATION, format!("Bearer {}", token.secret()));
            }
            if let Some(body) = ask.body {
                request = request.timeout(patience(ask.bytes));
                request = request.body(body().map_err(Failed::Body)?);
            }
            let response = request.send().map_err(|e| match e.is_connect() {
                true => Failed::Connect(words(&e)),
                false => Failed::Transport(words(&e)),
            })?;
            let status = response.status();
            if status.is_success() {
                return Ok(response);
            }
            if !status.is_redirection() {
                return Err(refusal(response));
            }
            let to = response.headers().get(LOCATION).and_then(|to| to.to_str().ok());
            let next = to.and_then(|to| url.join(to).ok());
            let next = next.ok_or_else(|| Failed::Redirect("without a target".into()))?;
            let same = next.origin() == url.origin();
            if !same && url.scheme() == "https" && next.scheme() != "https" {
                return Err(Failed::Redirect("to an unprotected connection".into()));
            }
            if !same && ask.method != Method::GET {
                return Err(Failed::Redirect("to another host".into()));
            }
            url = next;
        }
        Err(Failed::Redirect(format!("more than {REDIRECTS} in a row")))
    }

    /// Nobody else sees the token: not where a redirection leads, not where files are stored.
    fn gets_token(&self, url: &Url, ask: &Ask<'_>) -> bool {
        (ask.token || self.settings.implicit_token)
            && url.origin() == self.settings.endpoint.origin()
    }
}

/// A JSON answer, of a size that fits in memory.
///
/// # Errors
/// If it is none, or not of this kind.
pub fn json<T: DeserializeOwned>(response: Response) -> Result<T, Failed> {
    let mut bytes = Vec::new();
    let read = response.take(LARGEST).read_to_end(&mut bytes);
    read.map_err(|e| Failed::Transport(e.to_string()))?;
    serde_json::from_slice(&bytes).map_err(|e| match e.is_data() {
        true => Failed::Answer(e.to_string()),
        // Cut, or the page of somebody in between.
        false => Failed::Transport(format!("no whole JSON: {e}")),
    })
}

/// How long a request may take whose body has so many bytes: the client's own limit is of the
/// request with all of its body.
fn patience(bytes: u64) -> Duration {
    PATIENCE + Duration::from_secs(bytes / SLOWEST)
}

fn refusal(response: Response) -> Failed {
    let (status, headers) = (response.status(), response.headers().clone());
    let header = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).map(String::from);
    let wait = retry::wanted(status, &headers);
    let message = header("x-error-message").or_else(|| {
        let mut text = String::new();
        response.take(1 << 16).read_to_string(&mut text).ok()?;
        let body: serde_json::Value = serde_json::from_str(&text).ok()?;
        body.get("error").or_else(|| body.get("message"))?.as_str().map(String::from)
    });
    let message = message.unwrap_or_default();
    let line: String = message.lines().next().unwrap_or_default().chars().take(200).collect();
    let shown = line.chars().filter(|c| !c.is_control()).collect();
    Failed::Status(status, header("x-error-code"), shown, wait)
}

/// The innermost cause, without the address: it may hold a signature.
fn words(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    match error {
        e if e.is_timeout() => "no answer in time".into(),
        e if e.is_builder() => "the request cannot be made".into(),
        _ => cause.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_uploads_may_take_long() {
        assert_eq!(patience(0), PATIENCE);
        assert_eq!(patience(345 << 20), PATIENCE + Duration::from_secs(345 * 32));
    }
}
