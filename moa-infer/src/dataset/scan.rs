//! Listing folders in the order of torchvision's `ImageFolder`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::error::DatasetError;

/// The kinds of image that are read; letter case does not matter.
pub const EXTENSIONS: [&str; 6] = ["jpg", "jpeg", "png", "webp", "bmp", "gif"];

/// Kinds that `ImageFolder` would list too, and that are not decoded here.
const FOREIGN: [&str; 4] = ["ppm", "pgm", "tif", "tiff"];

/// A folder within a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Folder {
    pub(super) name: String,
    pub(super) path: PathBuf,
}

/// The images below a class folder.
#[derive(Debug, Default)]
pub(super) struct Images {
    /// In order.
    pub(super) paths: Vec<PathBuf>,
    /// Number of images of other kinds, which are left out.
    pub(super) foreign: usize,
}

/// The entries of one folder, each kind sorted by name.
struct Listing {
    folders: Vec<Folder>,
    files: Vec<Folder>,
    foreign: usize,
}

/// The folders in `dir`, sorted by name (code points, as Python sorts them).
/// Hidden ones and those that zip programs leave behind are passed over.
pub(super) fn folders(dir: &Path) -> Result<Vec<Folder>, DatasetError> {
    Ok(list(dir)?.folders)
}

/// Whether `dir` holds nothing at all.
pub(super) fn is_empty(dir: &Path) -> Result<bool, DatasetError> {
    Ok(fs::read_dir(dir).map_err(|e| unreadable(dir, e))?.next().is_none())
}

/// All images below `dir` in the order of `make_dataset`: `sorted(os.walk(dir))`,
/// which compares whole folder paths as text, and sorted names within a folder.
pub(super) fn images(dir: &Path) -> Result<Images, DatasetError> {
    let mut listings = Vec::new();
    walk(dir, String::new(), &mut Vec::new(), &mut listings)?;
    listings.sort_by(|(a, _), (b, _)| a.cmp(b));
    let mut images = Images::default();
    for (_, listing) in listings {
        images.paths.extend(listing.files.into_iter().map(|file| file.path));
        images.foreign += listing.foreign;
    }
    Ok(images)
}

/// Lists `dir` and all below. `path` is its path below the class folder, with
/// `/` between names; `above` holds the real paths of the folders around it,
/// against links that lead back up.
fn walk(
    dir: &Path,
    path: String,
    above: &mut Vec<PathBuf>,
    out: &mut Vec<(String, Listing)>,
) -> Result<(), DatasetError> {
    let real = fs::canonicalize(dir).map_err(|e| unreadable(dir, e))?;
    if above.contains(&real) {
        return Ok(());
    }
    let listing = list(dir)?;
    above.push(real);
    for folder in &listing.folders {
        walk(&folder.path, format!("{path}/{}", folder.name), above, out)?;
    }
    above.pop();
    out.push((path, listing));
    Ok(())
}

fn list(dir: &Path) -> Result<Listing, DatasetError> {
    let mut listing = Listing { folders: Vec::new(), files: Vec::new(), foreign: 0 };
    for entry in fs::read_dir(dir).map_err(|e| unreadable(dir, e))? {
        let entry = entry.map_err(|e| unreadable(dir, e))?;
        let (name, path) = (entry.file_name(), entry.path());
        let lossy = name.to_string_lossy();
        if lossy.starts_with('.') || lossy == "__MACOSX" {
            continue;
        }
        let kind = entry.file_type().map_err(|e| unreadable(&path, e))?;
        let is_folder = kind.is_dir() || (kind.is_symlink() && path.is_dir());
        let extension = lossy.rsplit_once('.').map(|(_, e)| e.to_ascii_lowercase());
        let has = |kinds: &[&str]| extension.as_deref().is_some_and(|e| kinds.contains(&e));
        if !is_folder && !has(&EXTENSIONS) {
            listing.foreign += usize::from(has(&FOREIGN));
            continue;
        }
        let Some(name) = name.to_str().map(str::to_owned) else {
            return Err(DatasetError::NotUtf8 { path });
        };
        let kept = if is_folder { &mut listing.folders } else { &mut listing.files };
        kept.push(Folder { name, path });
    }
    listing.folders.sort_by(|a, b| a.name.cmp(&b.name));
    listing.files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(listing)
}

fn unreadable(path: &Path, source: io::Error) -> DatasetError {
    DatasetError::Unreadable { path: path.to_owned(), source }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn tree(files: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for file in files {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        dir
    }

    fn below(dir: &Path) -> Vec<String> {
        let paths = images(dir).unwrap().paths;
        let shown = |p: &PathBuf| p.strip_prefix(dir).unwrap().to_str().unwrap().to_owned();
        paths.iter().map(shown).collect()
    }

    /// `sorted(os.walk(...))`: "a-b" lies between "a" and "a/b".
    #[test]
    fn order_of_os_walk() {
        let dir =
            tree(&["z.png", "a/b/1.png", "a-b/2.png", "a/3.png", "B/4.png", "10.png", "9.png"]);
        let wanted = ["10.png", "9.png", "z.png", "B/4.png", "a/3.png", "a-b/2.png", "a/b/1.png"];
        assert_eq!(below(dir.path()), wanted);
    }

    #[test]
    fn kinds() {
        let dir =
            tree(&["a.JPG", "b.jpeg", "c.Gif", "d.txt", "e.tiff", "f", ".g.png", "h.png.part"]);
        assert_eq!(below(dir.path()), ["a.JPG", "b.jpeg", "c.Gif"]);
        assert_eq!(images(dir.path()).unwrap().foreign, 1);
    }

    #[test]
    fn hidden_folders() {
        let dir = tree(&[".git/a.png", "__MACOSX/a.png", "b/a.png", "a.png"]);
        let names: Vec<String> = folders(dir.path()).unwrap().into_iter().map(|f| f.name).collect();
        assert_eq!(names, ["b"]);
    }

    #[cfg(unix)]
    #[test]
    fn links() {
        use std::os::unix::fs::symlink;
        let dir = tree(&["a/1.png", "b/2.png"]);
        symlink("../b", dir.path().join("a/linked")).unwrap();
        symlink("..", dir.path().join("a/up")).unwrap();
        assert_eq!(below(&dir.path().join("a")), ["1.png", "linked/2.png", "up/b/2.png"]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn names_that_are_not_utf8() {
        use std::os::unix::ffi::OsStrExt;
        let dir = tree(&[]);
        let name = |bytes: &'static [u8]| dir.path().join(std::ffi::OsStr::from_bytes(bytes));
        fs::write(name(b"caf\xe9.txt"), "").unwrap();
        assert!(below(dir.path()).is_empty());
        fs::write(name(b"caf\xe9.png"), "").unwrap();
        let error = images(dir.path()).unwrap_err().to_string();
        assert!(error.ends_with("caf\u{fffd}.png is not valid UTF-8: rename it"), "{error}");
    }
}
