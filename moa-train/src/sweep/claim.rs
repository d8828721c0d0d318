//! Which worker does which job.
//!
//! A claim is a file that its worker makes, which no two can do, and lengthens now and then. A
//! worker whose file stays as long as it is for six such times, or whose process is over on the
//! same machine, is taken for dead: the next one makes the file with the next number. No clocks
//! of different machines are compared, and nothing but making and lengthening files is asked of
//! a shared file system. A worker that was only slow finds its file gone or outnumbered, and
//! stops; the lock of the run folder keeps two apart until then.

use super::owner::Owner;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Signs of life that may be missing.
const MISSING: f64 = 6.0;

/// The first line of a claim.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Claim {
    /// Whose it is.
    pub owner: Owner,
    /// Seconds between signs of life.
    pub every_s: f64,
    /// How far the job was, in any words.
    pub at: String,
    /// 1, and one more for each worker that died before it got any further.
    pub attempt: u32,
}

/// A claim that was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// Nothing if it is just being written.
    pub claim: Option<Claim>,
    /// Grows with each sign of life.
    pub length: usize,
}

/// The claims of a sweep, seen by one worker.
pub struct Claims {
    dir: PathBuf,
    owner: Owner,
    every: Duration,
    /// Of others: number, length, and since when they have been so.
    seen: HashMap<String, (u64, usize, Instant)>,
}

/// A job that is this worker's until it is dropped.
pub struct Held {
    path: PathBuf,
    lost: Arc<AtomicBool>,
    stop: Sender<()>,
    beat: Option<JoinHandle<()>>,
    /// How often workers have begun it in a row, this time included.
    pub attempt: u32,
}

/// Numbers of the claims of each job.
pub type Known = HashMap<String, Vec<u64>>;

impl Claims {
    /// Claims in `dir`, with a sign of life at such times.
    ///
    /// # Errors
    /// If the folder cannot be made.
    pub fn new(dir: &Path, every: Duration) -> Result<Self> {
        fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
        Ok(Self { dir: dir.into(), owner: Owner::this(), every, seen: HashMap::new() })
    }

    /// Lists the claims in a folder.
    ///
    /// # Errors
    /// If it cannot be listed.
    pub fn list(dir: &Path) -> Result<Known> {
        let mut known = Known::new();
        let entries = match fs::read_dir(dir) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(known),
            entries => entries.with_context(|| dir.display().to_string())?,
        };
        for entry in entries {
            let name = entry.with_context(|| dir.display().to_string())?.file_name();
            let parts = name.to_str().and_then(|name| name.rsplit_once('.'));
            if let Some((job, number)) = parts.and_then(|(job, n)| Some((job, n.parse().ok()?))) {
                known.entry(job.to_owned()).or_default().push(number);
            }
        }
        Ok(known)
    }

    /// As [`Claims::list`], of this sweep.
    ///
    /// # Errors
    /// As [`Claims::list`].
    pub fn known(&self) -> Result<Known> {
        Self::list(&self.dir)
    }

    /// Takes a job whose claims have these numbers, and which is as far as `at` says, if no living
    /// worker has it. `lost` is called when another one has taken it over.
    ///
    /// # Errors
    /// If claims cannot be read or written.
    pub fn take(
        &mut self,
        (job, at): (&str, &str),
        numbers: &[u64],
        lost: impl Fn() + Send + 'static,
    ) -> Result<Option<Held>> {
        let (mut number, mut attempt) = (1, 1);
        if let Some(&last) = numbers.iter().max() {
            // Gone since they were listed: the next look will tell.
            let Some(found) = read(&file(&self.dir, job, last))? else { return Ok(None) };
            if !self.is_dead(job, last, &found) {
                return Ok(None);
            }
            number = last + 1;
            let before = found.claim.filter(|claim| claim.at == at);
            attempt = 1 + before.map_or(0, |claim| claim.attempt);
        }
        let path = file(&self.dir, job, number);
        let every_s = self.every.as_secs_f64();
        let claim = Claim { owner: self.owner.clone(), every_s, at: at.into(), attempt };
        let made = match OpenOptions::new().append(true).create_new(true).open(&path) {
            Err(e) if e.kind() == ErrorKind::AlreadyExists => return Ok(None),
            made => made.and_then(|file| begin(file, &claim)),
        };
        made.with_context(|| path.display().to_string())?;
        // Another worker may have listed the claims earlier and numbered its own anew.
        let all = self.known()?.remove(job).unwrap_or_default();
        for other in all.iter().filter(|&&other| other < number) {
            let _ = fs::remove_file(file(&self.dir, job, *other));
        }
        if all.iter().any(|&other| other > number) {
            let _ = fs::remove_file(&path);
            return Ok(None);
        }
        Ok(Some(Held::new(path, file(&self.dir, job, number + 1), self.every, attempt, lost)?))
    }

    /// Removes what dead workers have left of a job that is over: one may die just before it does.
    ///
    /// # Errors
    /// If claims cannot be read.
    pub fn clear(&mut self, job: &str, numbers: &[u64]) -> Result<()> {
        for &number in numbers {
            let path = file(&self.dir, job, number);
            if read(&path)?.is_some_and(|found| self.is_dead(job, number, &found)) {
                let _ = fs::remove_file(path);
            }
        }
        Ok(())
    }

    fn is_dead(&mut self, job: &str, number: u64, found: &Found) -> bool {
        let every = found.claim.as_ref().map_or(self.every.as_secs_f64(), |claim| claim.every_s);
        if found.claim.as_ref().is_some_and(|claim| claim.owner.is_over()) {
            return true;
        }
        let now = (number, found.length, Instant::now());
        let seen = self.seen.entry(job.to_owned()).or_insert(now);
        if (seen.0, seen.1) != (number, found.length) {
            *seen = now;
        }
        seen.2.elapsed().as_secs_f64() > MISSING * every
    }
}

fn file(dir: &Path, job: &str, number: u64) -> PathBuf {
    dir.join(format!("{job}.{number}"))
}

fn begin(mut file: File, claim: &Claim) -> std::io::Result<()> {
    let line = serde_json::to_string(claim)? + "\n";
    file.write_all(line.as_bytes())?;
    file.sync_all()
}

/// Reads a claim; nothing if there is none any more.
///
/// # Errors
/// If it cannot be read.
pub fn read(path: &Path) -> Result<Option<Found>> {
    match fs::read(path) {
        Ok(bytes) => {
            let line = bytes.split(|&b| b == b'\n').next().unwrap_or_default();
            Ok(Some(Found { claim: serde_json::from_slice(line).ok(), length: bytes.len() }))
        }
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e).with_context(|| path.display().to_string()),
    }
}

/// The newest claim on a job.
///
/// # Errors
/// If it cannot be read.
pub fn newest(dir: &Path, job: &str, known: &Known) -> Result<Option<Found>> {
    match known.get(job).and_then(|numbers| numbers.iter().max()) {
        Some(&number) => read(&file(dir, job, number)),
        None => Ok(None),
    }
}

impl Held {
    fn new(
        path: PathBuf,
        next: PathBuf,
        every: Duration,
        attempt: u32,
        when_lost: impl Fn() + Send + 'static,
    ) -> Result<Self> {
        let (stop, stopped) = channel();
        let (lost, mine) = (Arc::new(AtomicBool::new(false)), path.clone());
        let flag = lost.clone();
        let beat = move || {
            while stopped.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                let sign = OpenOptions::new().append(true).open(&mine);
                let gone = sign.as_ref().is_err_and(|e| e.kind() == ErrorKind::NotFound);
                if gone || next.exists() {
                    flag.store(true, Ordering::SeqCst);
                    when_lost();
                    return;
                }
                // A file system that does not answer may do so the next time.
                let _ = sign.and_then(|mut file| file.write_all(b"."));
            }
        };
        let beat = std::thread::Builder::new().spawn(beat).context("no thread for a claim")?;
        Ok(Self { path, lost, stop, beat: Some(beat), attempt })
    }

    /// True once another worker has taken the job over.
    pub fn is_lost(&self) -> bool {
        self.lost.load(Ordering::SeqCst)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.stop.send(());
        if let Some(beat) = self.beat.take() {
            let _ = beat.join();
        }
        if !self.is_lost() {
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const EVERY: Duration = Duration::from_millis(20);

    fn take(claims: &mut Claims, job: &str) -> Option<Held> {
        let known = claims.known().unwrap();
        claims.take((job, "half"), known.get(job).map_or(&[], Vec::as_slice), || {}).unwrap()
    }

    #[test]
    fn one_worker_a_job() {
        let dir = tempfile::tempdir().unwrap();
        let mut a = Claims::new(dir.path(), EVERY).unwrap();
        let mut b = Claims::new(dir.path(), EVERY).unwrap();
        let held = take(&mut a, "x.y").unwrap();
        assert_eq!(held.attempt, 1);
        for _ in 0..20 {
            assert!(take(&mut b, "x.y").is_none());
            std::thread::sleep(EVERY);
        }
        assert!(take(&mut b, "other").is_some());
        drop(held);
        assert_eq!(take(&mut b, "x.y").unwrap().attempt, 1);
        assert!(a.known().unwrap().is_empty());
    }

    /// Writes the claim of a worker elsewhere that says nothing more.
    fn silent(dir: &Path, number: u64) {
        let owner = Owner { system: "elsewhere".into(), ..Owner::this() };
        let claim = Claim { owner, every_s: EVERY.as_secs_f64(), at: "half".into(), attempt: 1 };
        begin(File::create(file(dir, "job", number)).unwrap(), &claim).unwrap();
    }

    #[test]
    fn a_dead_worker_is_followed_by_one() {
        let dir = tempfile::tempdir().unwrap();
        silent(dir.path(), 1);
        let mut workers: Vec<_> = (0..4).map(|_| Claims::new(dir.path(), EVERY).unwrap()).collect();
        assert!(workers.iter_mut().all(|w| take(w, "job").is_none()));
        std::thread::sleep(EVERY * 8);
        let held: Vec<_> = workers.iter_mut().filter_map(|w| take(w, "job")).collect();
        assert_eq!(held.len(), 1);
        assert_eq!(held[0].attempt, 2);
        assert_eq!(workers[0].known().unwrap()["job"], [2]);
    }

    #[test]
    fn a_process_that_is_over_is_dead_at_once() {
        if !cfg!(target_os = "linux") {
            return;
        }
        // Of workers that got further the number is not counted.
        for (at, attempt) in [("half", 4), ("quarter", 1)] {
            let dir = tempfile::tempdir().unwrap();
            let owner = Owner { began: "1".into(), ..Owner::this() };
            let claim = Claim { owner, every_s: 1e6, at: at.into(), attempt: 3 };
            begin(File::create(file(dir.path(), "job", 7)).unwrap(), &claim).unwrap();
            let mut worker = Claims::new(dir.path(), EVERY).unwrap();
            assert_eq!(take(&mut worker, "job").unwrap().attempt, attempt);
        }
    }

    #[test]
    fn what_the_dead_leave_of_a_finished_job_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        silent(dir.path(), 3);
        let mut worker = Claims::new(dir.path(), EVERY).unwrap();
        let held = take(&mut worker, "other").unwrap();
        let clear = |worker: &mut Claims| {
            for (job, numbers) in worker.known().unwrap() {
                worker.clear(&job, &numbers).unwrap();
            }
            worker.known().unwrap()
        };
        assert_eq!(clear(&mut worker).len(), 2);
        std::thread::sleep(EVERY * 8);
        // Its own lives on.
        assert_eq!(clear(&mut worker).into_keys().collect::<Vec<_>>(), ["other"]);
        drop(held);
    }

    #[test]
    fn who_is_taken_over_hears_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut worker = Claims::new(dir.path(), EVERY).unwrap();
        let heard = Arc::new(AtomicBool::new(false));
        let flag = heard.clone();
        let held =
            worker.take(("job", ""), &[], move || flag.store(true, Ordering::SeqCst)).unwrap();
        silent(dir.path(), 2);
        std::thread::sleep(EVERY * 5);
        assert!(held.as_ref().unwrap().is_lost() && heard.load(Ordering::SeqCst));
        drop(held);
        let mut left = worker.known().unwrap()["job"].clone();
        left.sort_unstable();
        assert_eq!(left, [1, 2]); // the other's claim is not touched
    }

    #[test]
    fn an_older_list_takes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        silent(dir.path(), 3);
        let mut worker = Claims::new(dir.path(), EVERY).unwrap();
        assert!(worker.take(("job", ""), &[], || {}).unwrap().is_none());
        assert_eq!(worker.known().unwrap()["job"], [3]);
    }
}
