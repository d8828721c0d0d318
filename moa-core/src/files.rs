//! Files and folders that appear under their names whole, or not at all.

use crate::error::{Error, Result};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// A hidden name in the same folder.
fn beside(path: &Path, tag: &str) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(tag);
    path.with_file_name(name)
}

/// The folder that holds `path`.
fn parent(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Reads a whole file, but nothing that has no end: a pipe, a device.
///
/// # Errors
/// If it is no regular file, or cannot be read.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    require_regular(path).and_then(|()| fs::read(path)).map_err(Error::io(path))
}

/// Refuses what is no regular file.
pub(crate) fn require_regular(path: &Path) -> io::Result<()> {
    match fs::metadata(path)?.is_file() {
        true => Ok(()),
        false => Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")),
    }
}

/// Writes a file in place and syncs it, for folders that are not yet under their name.
///
/// # Errors
/// If it cannot be written.
pub fn write_synced(path: &Path, bytes: impl AsRef<[u8]>) -> Result<()> {
    let mut file = File::create(path).map_err(Error::io(path))?;
    file.write_all(bytes.as_ref()).and_then(|()| file.sync_all()).map_err(Error::io(path))
}

/// Writes a file beside its name, syncs it, then renames it.
///
/// # Errors
/// If it cannot be written; what was there stays.
pub fn write_whole(path: &Path, bytes: impl AsRef<[u8]>) -> Result<()> {
    let mut file = WholeFile::create(path)?;
    file.write_all(bytes.as_ref()).map_err(Error::io(path))?;
    file.finish()
}

/// A file that takes its name in [`WholeFile::finish`]; dropped before that it is
/// removed. A link stays one: the file that it leads to is replaced. Something that
/// is no regular file (a pipe), or stands for one that is open (`/dev/stdout`), is
/// written directly.
pub struct WholeFile {
    file: BufWriter<File>,
    path: PathBuf,
    new: Option<PathBuf>,
}

impl WholeFile {
    /// Opens the file beside `path`.
    ///
    /// # Errors
    /// If it cannot be made, or `path` is a folder.
    pub fn create(path: &Path) -> Result<Self> {
        let there = fs::metadata(path);
        if there.as_ref().is_ok_and(fs::Metadata::is_dir) || path.file_name().is_none() {
            return Err(Error::io(path)(io::ErrorKind::IsADirectory.into()));
        }
        let open = path.starts_with("/dev") || path.starts_with("/proc");
        let direct = open || there.is_ok_and(|there| !there.is_file());
        let target = fs::canonicalize(path).unwrap_or_else(|_| path.into());
        // Two processes may write the same report: each its own file, the last one stays.
        let tag = format!(".new-{}", std::process::id());
        let new = (!direct).then(|| beside(&target, &tag));
        let file = File::create(new.as_deref().unwrap_or(path)).map_err(Error::io(path))?;
        let path = if direct { path.into() } else { target };
        Ok(Self { file: BufWriter::new(file), path, new })
    }

    /// Syncs the file and gives it its name.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn finish(mut self) -> Result<()> {
        self.file.flush().map_err(Error::io(&self.path))?;
        if let Some(new) = &self.new {
            self.file.get_ref().sync_all().map_err(Error::io(&self.path))?;
            fs::rename(new, &self.path).map_err(Error::io(&self.path))?;
            self.new = None;
        }
        Ok(())
    }
}

impl Write for WholeFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for WholeFile {
    fn drop(&mut self) {
        if let Some(new) = &self.new {
            let _ = fs::remove_file(new); // on the way out of an error, which is reported
        }
    }
}

/// Syncs a file that is written elsewhere.
///
/// # Errors
/// If it cannot be.
pub fn sync(path: &Path) -> Result<()> {
    // Some systems sync only what is open for writing.
    File::options().append(true).open(path).and_then(|f| f.sync_all()).map_err(Error::io(path))
}

/// Makes the names in a folder outlast a power cut, where the system can.
///
/// # Errors
/// If it can and fails.
pub fn sync_dir(dir: &Path) -> Result<()> {
    if cfg!(not(unix)) {
        return Ok(());
    }
    match File::open(dir).and_then(|dir| dir.sync_all()) {
        Err(e) if matches!(e.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => {
            Ok(())
        }
        result => result.map_err(Error::io(dir)),
    }
}

/// Fills a folder beside `dir`, then puts it in the place of `dir`. A folder that a
/// killed program left beside it is taken over, so only one process may do this.
///
/// # Errors
/// What `fill` returns, or the reason why folders cannot be made or renamed; the
/// unfinished folder is removed.
pub fn replace_dir<E: From<Error>>(
    dir: &Path,
    fill: impl FnOnce(&Path) -> std::result::Result<(), E>,
) -> std::result::Result<(), E> {
    if dir.file_name().is_none() {
        let reason = io::Error::new(io::ErrorKind::InvalidInput, "name a folder that can be made");
        return Err(Error::io(dir)(reason).into());
    }
    let (new, old, parent) = (beside(dir, ".new"), beside(dir, ".old"), parent(dir));
    fs::create_dir_all(parent).map_err(Error::io(parent))?;
    let _ = fs::remove_dir_all(&new);
    fs::create_dir(&new).map_err(Error::io(&new))?;
    let result = fill(&new).and_then(|()| {
        let _ = fs::remove_dir_all(&old);
        if dir.exists() {
            fs::rename(dir, &old).map_err(Error::io(dir))?;
        }
        if let Err(source) = fs::rename(&new, dir) {
            let _ = fs::rename(&old, dir); // put the old one back
            return Err(Error::Io { path: dir.into(), source }.into());
        }
        let _ = fs::remove_dir_all(&old);
        Ok(sync_dir(parent)?)
    });
    if result.is_err() {
        let _ = fs::remove_dir_all(&new);
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let name = |e: io::Result<fs::DirEntry>| e.unwrap().file_name().into_string().unwrap();
        let mut names: Vec<String> = fs::read_dir(dir).unwrap().map(name).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_whole_or_not_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rows.csv");
        fs::write(&path, "old").unwrap();
        let mut file = WholeFile::create(&path).unwrap();
        file.write_all(b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"old");
        drop(file);
        assert_eq!(
            (fs::read(&path).unwrap(), names(dir.path())),
            (b"old".to_vec(), vec!["rows.csv".into()])
        );
        write_whole(&path, "new").unwrap();
        assert_eq!(
            (fs::read(&path).unwrap(), names(dir.path())),
            (b"new".to_vec(), vec!["rows.csv".into()])
        );
        assert!(WholeFile::create(dir.path()).is_err());
        assert!(WholeFile::create(&dir.path().join("none/rows.csv")).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn a_link_stays_one() {
        let dir = tempfile::tempdir().unwrap();
        let (link, target) = (dir.path().join("link"), dir.path().join("target"));
        fs::write(&target, "old").unwrap();
        std::os::unix::fs::symlink("target", &link).unwrap();
        write_whole(&link, "new").unwrap();
        assert!(link.is_symlink());
        assert_eq!((fs::read(&target).unwrap(), names(dir.path()).len()), (b"new".to_vec(), 2));
    }

    #[cfg(unix)]
    #[test]
    fn a_device_is_written_directly() {
        write_whole(Path::new("/dev/null"), "x").unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
        let error = read(Path::new("/dev/zero")).unwrap_err().to_string();
        assert_eq!(error, "/dev/zero: not a regular file");
    }

    #[test]
    fn a_folder_is_replaced_whole() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("best");
        // Left behind by a program that was killed.
        fs::create_dir(dir.path().join(".best.new")).unwrap();
        fs::write(dir.path().join(".best.new/half"), "").unwrap();
        let fill = |name: &'static str| {
            move |new: &Path| fs::write(new.join(name), "").map_err(Error::io(new))
        };
        replace_dir(&target, fill("a")).unwrap();
        assert_eq!(names(&target), ["a"]);
        replace_dir(&target, fill("b")).unwrap();
        assert_eq!(names(&target), ["b"]);
        let failed = replace_dir(&target, |_| Err(Error::NotFinite("x".into())));
        assert!(failed.is_err());
        assert_eq!((names(&target), names(dir.path())), (vec!["b".into()], vec!["best".into()]));
    }
}
