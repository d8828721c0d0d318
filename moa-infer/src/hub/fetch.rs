//! One file into the cache: taken up where it was cut, and checked before it gets its name.

use super::cache::{Cached, make_parent};
use super::http::{ATTEMPTS, Ask, Failed, Http};
use super::progress::Progress;
use super::repo::RepoFile;
use super::{HubError, HubSpec};
use reqwest::StatusCode;
use reqwest::blocking::Response;
use reqwest::header::{CONTENT_RANGE, HeaderValue, RANGE};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// Bytes that are read at once.
const CHUNK: usize = 1 << 18;

/// One file of a commit.
pub struct Fetch<'a> {
    /// Who asks.
    pub http: &'a Http,
    /// Where to.
    pub cached: &'a Cached,
    /// The repository, and its commit.
    pub spec: &'a HubSpec,
    /// The file.
    pub file: &'a RepoFile,
}

impl Fetch<'_> {
    /// True if the blob is there, and what it should be.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn is_there(&self) -> Result<bool, HubError> {
        self.is_whole(&self.cached.blob(&self.file.digest))
    }

    /// Fetches the blob. What is there already is not what it should be.
    ///
    /// # Errors
    /// If it cannot be had, or is another file twice.
    pub fn run(&self) -> Result<(), HubError> {
        let _lock = self.cached.lock(&self.file.digest)?;
        if self.is_there()? {
            return Ok(()); // another process was faster
        }
        let blob = self.cached.blob(&self.file.digest);
        let mut partial = blob.clone().into_os_string();
        partial.push(".incomplete"); // Python's name
        let partial = PathBuf::from(partial);
        make_parent(&blob)?;
        for _ in 0..2 {
            self.transfer(&partial)?;
            if self.is_whole(&partial)? {
                return fs::rename(&partial, &blob).map_err(HubError::io(&blob));
            }
            fs::remove_file(&partial).map_err(HubError::io(&partial))?;
        }
        let reason =
            format!("not the {} bytes of {:.12}...", self.file.size, self.file.digest.name());
        Err(HubError::Damaged(self.spec.repo.clone(), self.file.path.clone(), reason))
    }

    fn is_whole(&self, path: &Path) -> Result<bool, HubError> {
        let there = fs::metadata(path).is_ok_and(|found| found.len() == self.file.size);
        Ok(there && self.file.digest.fits(path)?)
    }

    /// Until the file has its size, whatever is in it.
    fn transfer(&self, partial: &Path) -> Result<(), HubError> {
        let open = File::options().create(true).append(true).open(partial);
        let mut to = open.map_err(HubError::io(partial))?;
        let size =
            |to: &File| Ok::<_, HubError>(to.metadata().map_err(HubError::io(partial))?.len());
        let mut progress = Progress::new(&self.file.path, self.file.size);
        let mut attempt = 1;
        loop {
            let have = size(&to)?;
            let failed = match self.piece(have, partial, &mut to, &mut progress)? {
                Ok(()) => {
                    progress.end();
                    return Ok(());
                }
                Err(failed) => failed,
            };
            if size(&to)? > have {
                attempt = 1; // some of it came
            }
            if attempt == ATTEMPTS || !self.http.wait(&failed, attempt) {
                return Err(self.http.about(self.spec, failed));
            }
            attempt += 1;
        }
    }

    /// All that is missing, if the connection lasts. The outer errors are this machine's.
    fn piece(
        &self,
        have: u64,
        partial: &Path,
        to: &mut File,
        progress: &mut Progress,
    ) -> Result<Result<(), Failed>, HubError> {
        let io = || HubError::io(partial);
        let size = self.file.size;
        let mut have = if have > size { 0 } else { have };
        if have == size && size > 0 {
            return Ok(Ok(()));
        }
        let mut response = match self.response(have) {
            Ok(response) => response,
            Err(Failed::Status(StatusCode::RANGE_NOT_SATISFIABLE, ..)) => {
                to.set_len(0).map_err(io())?;
                return Ok(Err(Failed::Transport("the file changed its size".into())));
            }
            Err(failed) => return Ok(Err(failed)),
        };
        if !continues(&response, have, size) {
            have = 0;
        }
        to.set_len(have).map_err(io())?;
        progress.set(have);
        let mut chunk = vec![0; CHUNK];
        while have < size {
            let want = chunk.len().min((size - have) as usize);
            match response.read(&mut chunk[..want]) {
                Ok(n) if n > 0 => {
                    to.write_all(&chunk[..n]).map_err(io())?;
                    have += n as u64;
                    progress.set(have);
                }
                Ok(_) | Err(_) => {
                    return Ok(Err(Failed::Transport(format!("cut after {have} bytes"))));
                }
            }
        }
        to.sync_all().map_err(io())?;
        Ok(Ok(()))
    }

    fn response(&self, have: u64) -> Result<Response, Failed> {
        let (owner, name) = self.spec.repo.parts();
        let parts = [owner, name, "resolve", self.spec.revision()];
        let url =
            self.http.url(&parts.into_iter().chain(self.file.path.split('/')).collect::<Vec<_>>());
        let mut ask = Ask::get(url);
        if have > 0
            && let Ok(range) = HeaderValue::from_str(&format!("bytes={have}-"))
        {
            ask.headers.insert(RANGE, range);
        }
        self.http.once(&ask)
    }
}

/// True if an answer starts where the file ends.
fn continues(response: &Response, have: u64, size: u64) -> bool {
    let range = response.headers().get(CONTENT_RANGE).and_then(|range| range.to_str().ok());
    response.status() == StatusCode::PARTIAL_CONTENT
        && range.is_some_and(|range| {
            range.starts_with(&format!("bytes {have}-")) && range.ends_with(&format!("/{size}"))
        })
}
