//! Large files, to where the server wants them.

use super::Work;
use super::plan::{Content, Planned};
use crate::hub::HubError;
use crate::hub::http::{Ask, Failed, json};
use reqwest::Method;
use reqwest::blocking::{Body, Response};
use reqwest::header::{ACCEPT, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::{Value, json as object};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use url::Url;

/// Type of LFS's own requests.
const LFS: HeaderValue = HeaderValue::from_static("application/vnd.git-lfs+json");
/// Most parts of one file.
const PARTS: u64 = 10_000;

#[derive(Deserialize)]
struct Batch {
    #[serde(default)]
    transfer: Option<String>,
    objects: Vec<Object>,
}

#[derive(Deserialize)]
struct Object {
    oid: String,
    #[serde(default)]
    actions: Option<Actions>,
    #[serde(default)]
    error: Option<Refusal>,
}

#[derive(Deserialize)]
struct Refusal {
    message: String,
}

#[derive(Deserialize)]
struct Actions {
    upload: Action,
    #[serde(default)]
    verify: Option<Action>,
}

#[derive(Deserialize)]
struct Action {
    href: Url,
    #[serde(default)]
    header: BTreeMap<String, Value>,
}

impl Work<'_> {
    /// Uploads what is not there yet. False if the server wants it through xet.
    pub(super) fn store(&self, files: &[&Planned]) -> Result<bool, HubError> {
        let objects: Vec<Value> =
            files.iter().map(|f| object!({"oid": f.digest.name(), "size": f.size})).collect();
        let transfers: &[&str] = match super::xet::is_allowed() {
            true => &["basic", "multipart", "xet"],
            false => &["basic", "multipart"],
        };
        let body = object!({
            "operation": "upload", "transfers": transfers, "objects": objects,
            "hash_algo": "sha256", "ref": {"name": self.revision()}
        });
        let (owner, name) = self.target.repo.parts();
        let git = format!("{name}.git");
        let url = self.http.url(&[owner, &git, "info", "lfs", "objects", "batch"]);
        let batch: Batch = self.lfs(url, &body, json)?;
        match batch.transfer.as_deref() {
            Some("xet") => return Ok(false),
            None | Some("basic" | "multipart") => {}
            Some(other) => return Err(self.answer(format!("it wants files by `{other}`"))),
        }
        for file in files {
            let object = batch.objects.iter().find(|o| o.oid == file.digest.name());
            let object = object.ok_or_else(|| self.answer(format!("{} is left out", file.path)))?;
            if let Some(refusal) = &object.error {
                return Err(self.answer(format!("{}: {}", file.path, refusal.message)));
            }
            if let Some(actions) = &object.actions {
                self.upload(file, actions)?;
            }
        }
        Ok(true)
    }

    fn upload(&self, file: &Planned, actions: &Actions) -> Result<(), HubError> {
        crate::exit::note(format_args!("{}: {:.1} MB", file.path, file.size as f64 / 1e6));
        let Action { href, header } = &actions.upload;
        if self.http.settings.endpoint.scheme() == "https" && href.scheme() != "https" {
            return Err(self.answer("it wants files over an unprotected connection".into()));
        }
        let key = |(name, value): (&String, &Value)| {
            Some((name.parse::<u64>().ok()?, value.as_str()?.parse::<Url>().ok()?))
        };
        match header.get("chunk_size").and_then(|size| size.as_str()?.parse::<u64>().ok()) {
            None => {
                let headers = header.iter().filter_map(|(n, v)| Some((n.as_str(), v.as_str()?)));
                self.put(file, href, (0, file.size), headers)?;
            }
            Some(size) => {
                let urls: BTreeMap<u64, Url> = header.iter().filter_map(key).collect();
                self.parts(file, href, size, &urls)?;
            }
        }
        let Some(verify) = &actions.verify else { return Ok(()) };
        let body = object!({"oid": file.digest.name(), "size": file.size});
        self.lfs(verify.href.clone(), &body, |_| Ok(()))
    }

    fn parts(
        &self,
        file: &Planned,
        complete: &Url,
        size: u64,
        urls: &BTreeMap<u64, Url>,
    ) -> Result<(), HubError> {
        let count = if size == 0 { 0 } else { file.size.div_ceil(size) };
        if count == 0 || count > PARTS || !urls.keys().copied().eq(1..=count) {
            let reason = format!("{} in {} parts of {size} bytes", file.path, urls.len());
            return Err(self.answer(reason));
        }
        let mut parts = Vec::new();
        for (&number, url) in urls {
            let from = (number - 1) * size;
            let etag = self.put(file, url, (from, size.min(file.size - from)), [])?;
            let etag = etag.ok_or_else(|| self.answer(format!("part {number} has no ETag")))?;
            parts.push(object!({"partNumber": number, "etag": etag}));
        }
        let body = object!({"oid": file.digest.name(), "parts": parts});
        self.lfs(complete.clone(), &body, |_| Ok(()))
    }

    /// Puts `len` bytes from `from`; returns the tag of what arrived.
    fn put<'h>(
        &self,
        file: &Planned,
        url: &Url,
        (from, len): (u64, u64),
        headers: impl IntoIterator<Item = (&'h str, &'h str)>,
    ) -> Result<Option<String>, HubError> {
        let make = || piece(&file.content, from, len);
        let mut ask = Ask::send(Method::PUT, url.clone(), &make);
        ask.bytes = len;
        for (name, value) in headers {
            let header = (HeaderName::try_from(name), HeaderValue::try_from(value));
            if let (Ok(name), Ok(value)) = header {
                ask.headers.insert(name, value);
            }
        }
        let read = |response: Response| {
            let tag = response.headers().get(ETAG).and_then(|tag| tag.to_str().ok());
            Ok(tag.map(String::from))
        };
        self.http.send(&ask, read).map_err(|e| self.error(e))
    }

    /// A request in LFS's own format.
    fn lfs<T>(
        &self,
        url: Url,
        body: &Value,
        read: impl Fn(Response) -> Result<T, Failed>,
    ) -> Result<T, HubError> {
        let text = body.to_string();
        let make = || Ok(Body::from(text.clone()));
        let mut ask = Ask::send(Method::POST, url, &make);
        ask.headers = HeaderMap::from_iter([(ACCEPT, LFS), (CONTENT_TYPE, LFS)]);
        self.http.send(&ask, read).map_err(|e| self.error(e))
    }

    fn answer(&self, reason: String) -> HubError {
        HubError::Answer(self.spec.to_string(), reason)
    }
}

/// A part of a file as a body; of one on disk without reading it first.
fn piece(content: &Content, from: u64, len: u64) -> io::Result<Body> {
    Ok(match content {
        Content::Bytes(bytes) => Body::from(bytes[from as usize..(from + len) as usize].to_vec()),
        Content::File(path) => {
            let mut file = File::open(path)?;
            file.seek(SeekFrom::Start(from))?;
            Body::sized(file.take(len), len)
        }
    })
}
