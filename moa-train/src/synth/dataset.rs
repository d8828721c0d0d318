//! The demonstration set as a folder of PNG files.

use super::{Family, classes, draw, styles};
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder};
use moa_core::files::replace_dir;
use moa_kernels::rng::{Key, Purpose};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Says by which parameters a folder was made; not an image folder itself.
const MARKER: &str = "synth.txt";

/// Goes up whenever the same parameters give other pictures.
const VERSION: u32 = 1;

/// Why the set could not be written.
#[derive(Debug, thiserror::Error)]
pub enum SynthError {
    /// Something else is in the folder, which must not be lost.
    #[error("{0}: holds files that are not part of a generated set; name a new or an empty folder")]
    Foreign(PathBuf),
    /// Writing failed.
    #[error("{path}: cannot be written ({source}); check the folder's permissions and free space")]
    Io {
        /// What was being written.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// The encoder failed, for sizes that PNG cannot hold.
    #[error("{path}: cannot be encoded as PNG ({source}); choose a size from 1 to 4096")]
    Png {
        /// What was being written.
        path: PathBuf,
        /// What went wrong.
        source: image::ImageError,
    },
    /// The folder could not be put in its place.
    #[error(transparent)]
    Folder(Box<moa_core::Error>),
}

impl From<moa_core::Error> for SynthError {
    fn from(error: moa_core::Error) -> Self {
        Self::Folder(Box::new(error))
    }
}

/// What [`write_dataset`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Pictures in the folder.
    pub images: usize,
    /// Whether they were there already, from the same parameters.
    pub reused: bool,
}

/// Writes [`Family::Demo`] as `dir/<style>/<class>/<nnn>.png`: `per_class`
/// pictures of `size * size` pixels for every style and class.
///
/// A folder made by the same parameters is left as it is; one made by others is
/// replaced. The files are written to a folder beside `dir` that is renamed at
/// the end, so an interrupted call leaves no half-made set.
///
/// # Errors
/// [`SynthError::Foreign`] when `dir` holds anything but a generated set, else
/// [`SynthError::Io`] or [`SynthError::Png`] naming the file.
pub fn write_dataset(
    dir: &Path,
    seed: u64,
    per_class: usize,
    size: u32,
) -> Result<Summary, SynthError> {
    let (styles, classes) = (styles(Family::Demo), classes(Family::Demo));
    let images = styles.len() * classes.len() * per_class;
    let marker = format!("version {VERSION}\nseed {seed}\nper_class {per_class}\nsize {size}\n");
    if fs::read(dir.join(MARKER)).is_ok_and(|found| found == marker.as_bytes()) {
        return Ok(Summary { images, reused: true });
    }
    check_replaceable(dir)?;
    let key = Key::new(seed, Purpose::Drawing, 0);
    replace_dir(dir, |new| {
        for (style, style_name) in styles.iter().enumerate() {
            for (class, class_name) in classes.iter().enumerate() {
                let folder = new.join(style_name).join(class_name);
                fs::create_dir_all(&folder).map_err(io_error(&folder))?;
                for n in 0..per_class {
                    let path = folder.join(format!("{n:03}.png"));
                    let index = picture_index(Family::Demo, style, class, n);
                    let picture = draw(Family::Demo, style, class, size, &mut key.draws(index));
                    save(&path, &picture.data, size)?;
                }
            }
        }
        let path = new.join(MARKER);
        fs::write(&path, marker).map_err(io_error(&path))
    })?;
    Ok(Summary { images, reused: false })
}

/// The place of a picture among all draws: unique for every family, style,
/// class and number, and unchanged when classes or styles are added.
fn picture_index(family: Family, style: usize, class: usize, n: usize) -> u64 {
    (family as u64) << 62 | (style as u64) << 52 | (class as u64) << 40 | n as u64
}

fn save(path: &Path, data: &[u8], size: u32) -> Result<(), SynthError> {
    let file = fs::File::create(path).map_err(io_error(path))?;
    // Fixed settings: the defaults of a later version would change the bytes.
    PngEncoder::new_with_quality(io::BufWriter::new(file), CompressionType::Fast, FilterType::Sub)
        .write_image(data, size, size, ExtendedColorType::Rgb8)
        .map_err(|source| SynthError::Png { path: path.to_owned(), source })
}

/// A missing or empty folder, or one with nothing but an earlier set.
fn check_replaceable(dir: &Path) -> Result<(), SynthError> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(io_error(dir))?,
    };
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry.map_err(io_error(dir))?.file_name());
    }
    let marked = names.iter().any(|name| name == MARKER);
    let ours = |name: &std::ffi::OsString| {
        name == MARKER || styles(Family::Demo).iter().any(|style| name == style)
    };
    if names.is_empty() || (marked && names.iter().all(ours)) {
        return Ok(());
    }
    Err(SynthError::Foreign(dir.to_owned()))
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> SynthError {
    let path = path.to_owned();
    move |source| SynthError::Io { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
        let mut found = Vec::new();
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                found.extend(files(&path));
            } else {
                found.push((path.clone(), fs::read(path).unwrap()));
            }
        }
        found.sort();
        found
    }

    #[test]
    fn writes_once_and_replaces_only_its_own() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("set");
        let made = write_dataset(&dir, 1, 2, 16).unwrap();
        assert_eq!(made, Summary { images: 56, reused: false });
        let first = files(&dir);
        assert_eq!(first.len(), 57);
        assert!(dir.join("sketch/giraffe/001.png").is_file());
        assert!(write_dataset(&dir, 1, 2, 16).unwrap().reused);
        assert!(!write_dataset(&dir, 2, 1, 16).unwrap().reused);
        assert_eq!(files(&dir).len(), 29);
        assert!(!write_dataset(&dir, 1, 2, 16).unwrap().reused);
        assert_eq!(files(&dir), first);
        fs::write(dir.join("notes.txt"), "mine").unwrap();
        assert!(matches!(write_dataset(&dir, 3, 1, 16), Err(SynthError::Foreign(_))));
        // Nothing is left beside it.
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
    }

    #[test]
    fn files_hold_the_pictures_drawn() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("set");
        write_dataset(&dir, 9, 2, 20).unwrap();
        let read = image::open(dir.join("cartoon/fish/001.png")).unwrap().into_rgb8();
        let index = picture_index(Family::Demo, 1, 2, 1);
        let key = Key::new(9, Purpose::Drawing, 0);
        assert_eq!(read.into_raw(), draw(Family::Demo, 1, 2, 20, &mut key.draws(index)).data);
    }

    #[test]
    fn a_failure_names_the_file_and_leaves_nothing() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("set");
        let error = write_dataset(&dir, 1, 1, 0).unwrap_err().to_string();
        assert!(error.contains("000.png") && error.contains("size"), "{error}");
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    }
}
