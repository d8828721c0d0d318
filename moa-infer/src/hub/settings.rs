//! Where the Hub is and what it is asked with, from the environment variables of Python's
//! `huggingface_hub`.

use super::HubError;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use url::Url;

/// The Hub itself.
const ENDPOINT: &str = "https://huggingface.co";

/// How to reach the Hub.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `HF_ENDPOINT`, or the Hub itself; without a slash at its end.
    pub endpoint: Url,
    /// `HF_TOKEN`, or what `hf auth login` left.
    pub token: Option<Token>,
    /// The token goes with every request, not only with those that need one; not so
    /// with `HF_HUB_DISABLE_IMPLICIT_TOKEN`.
    pub implicit_token: bool,
    /// `HF_HUB_CACHE`, shared with Python.
    pub cache: PathBuf,
    /// `HF_HUB_OFFLINE`: nothing is asked.
    pub offline: bool,
    /// Wait before the first repetition of a request; doubled each time.
    pub pause: Duration,
}

/// A secret: shown nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// Spaces around it are left out.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        (!text.is_empty()).then(|| Self(text.into()))
    }

    /// The secret itself, for the header of a request.
    pub(super) fn secret(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

impl Settings {
    /// Those of this process.
    ///
    /// # Errors
    /// If a variable cannot be used.
    pub fn from_env() -> Result<Self, HubError> {
        Self::of(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
    }

    /// From variables by name.
    ///
    /// # Errors
    /// As [`Settings::from_env`].
    pub fn of(variable: impl Fn(&str) -> Option<String>) -> Result<Self, HubError> {
        let endpoint = variable("HF_ENDPOINT").unwrap_or_else(|| ENDPOINT.into());
        let unusable = || HubError::Endpoint(endpoint.clone());
        let url = Url::parse(endpoint.trim_end_matches('/')).map_err(|_| unusable())?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err(unusable());
        }
        let home_dir = variable("HOME").or_else(|| variable("USERPROFILE")).map(PathBuf::from);
        let at = |path: String| expanded(&path, home_dir.as_deref());
        let home = match (variable("HF_HOME"), variable("XDG_CACHE_HOME")) {
            (Some(path), _) => at(path),
            (None, Some(path)) => at(path).join("huggingface"),
            (None, None) => {
                home_dir.clone().ok_or(HubError::NoHome)?.join(".cache").join("huggingface")
            }
        };
        let cache = variable("HF_HUB_CACHE").or_else(|| variable("HUGGINGFACE_HUB_CACHE"));
        let token_file = variable("HF_TOKEN_PATH").map_or_else(|| home.join("token"), at);
        let token = variable("HF_TOKEN").or_else(|| variable("HUGGING_FACE_HUB_TOKEN"));
        let token = token.or_else(|| std::fs::read_to_string(token_file).ok());
        let token = token.and_then(|text| Token::new(&text));
        if token.as_ref().is_some_and(|token| !token.0.bytes().all(|b| b.is_ascii_graphic())) {
            return Err(HubError::NotAToken);
        }
        Ok(Self {
            endpoint: url,
            token,
            implicit_token: !is_true(variable("HF_HUB_DISABLE_IMPLICIT_TOKEN")),
            cache: cache.map_or_else(|| home.join("hub"), at),
            offline: is_true(
                variable("HF_HUB_OFFLINE").or_else(|| variable("TRANSFORMERS_OFFLINE")),
            ),
            pause: Duration::from_millis(500),
        })
    }
}

/// What Python takes for true.
fn is_true(value: Option<String>) -> bool {
    value.is_some_and(|v| matches!(v.to_uppercase().as_str(), "1" | "ON" | "YES" | "TRUE"))
}

/// `~` at the begin is the home folder.
fn expanded(path: &str, home: Option<&Path>) -> PathBuf {
    match (path.strip_prefix("~/"), home) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => path.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Settings {
        let find =
            |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).into());
        Settings::of(find).unwrap()
    }

    #[test]
    fn folders_are_those_of_python() {
        let cache = |variables: &[(&str, &str)]| of(variables).cache;
        let home = ("HOME", "/home/a");
        assert_eq!(cache(&[home]), Path::new("/home/a/.cache/huggingface/hub"));
        assert_eq!(cache(&[home, ("XDG_CACHE_HOME", "/x")]), Path::new("/x/huggingface/hub"));
        assert_eq!(cache(&[home, ("HF_HOME", "~/hf")]), Path::new("/home/a/hf/hub"));
        assert_eq!(cache(&[("HF_HOME", "/hf"), ("HF_HUB_CACHE", "/c")]), Path::new("/c"));
        assert_eq!(cache(&[("HF_HOME", "/hf"), ("HUGGINGFACE_HUB_CACHE", "/d")]), Path::new("/d"));
    }

    #[test]
    fn the_token_comes_from_the_variable_or_the_file_and_is_never_shown() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().to_str().unwrap();
        assert_eq!(of(&[("HF_HOME", home)]).token, None);
        std::fs::write(dir.path().join("token"), "hf_file\n").unwrap();
        assert_eq!(of(&[("HF_HOME", home)]).token, Token::new("hf_file"));
        let settings = of(&[("HF_HOME", home), ("HF_TOKEN", " hf_variable ")]);
        assert_eq!(settings.token, Token::new("hf_variable"));
        assert!(!format!("{settings:?}").contains("hf_variable"));
        let find = |name: &str| (name != "HF_ENDPOINT").then(|| "hf_one\nhf_two".to_string());
        let error = Settings::of(find).unwrap_err().to_string();
        assert!(error.contains("HF_TOKEN") && !error.contains("hf_"), "{error}");
    }

    #[test]
    fn switches_and_the_endpoint() {
        let settings = of(&[("HOME", "/h"), ("HF_HUB_OFFLINE", "yes")]);
        assert!(settings.offline && settings.implicit_token);
        assert!(!of(&[("HOME", "/h"), ("HF_HUB_OFFLINE", "0")]).offline);
        assert!(!of(&[("HOME", "/h"), ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")]).implicit_token);
        for bad in ["huggingface.co", "ftp://a", "http://"] {
            let find = |name: &str| (name == "HF_ENDPOINT").then(|| bad.to_string());
            let error = Settings::of(find).unwrap_err().to_string();
            assert!(error.contains("HF_ENDPOINT"), "{error}");
        }
    }
}
