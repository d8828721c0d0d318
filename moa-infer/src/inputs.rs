//! Which images: files, folders, globs, a list on standard input.

use crate::exit::note;
use anyhow::{Context, Result};
use std::io::BufRead;
use std::path::{Path, PathBuf};

/// File name endings of images that can be decoded.
pub use crate::dataset::scan::EXTENSIONS;

/// Expands arguments to image paths, in the order given; the content of a folder
/// (taken with all folders below it) is sorted.
///
/// `-` reads one path per line from `stdin`; what does not exist and has `*`, `?`
/// or `[` in it is a pattern (the shell leaves it alone if it is quoted or too
/// long); everything else is a path, whether it can be read or not.
///
/// # Errors
/// If a pattern or folder gives nothing, or nothing is left at all.
pub fn expand(arguments: &[String], stdin: impl BufRead) -> Result<Vec<PathBuf>> {
    let mut images = Vec::new();
    let mut stdin = Some(stdin);
    for argument in arguments {
        let path = Path::new(argument);
        if argument == "-" {
            let lines = stdin.take().context("`-` can be given once")?.lines();
            for line in lines {
                let line = line.context("standard input")?;
                images.extend((!line.trim().is_empty()).then(|| PathBuf::from(line.trim_end())));
            }
        } else if path.is_dir() {
            let before = images.len();
            let mut foreign = 0;
            walk(path, &mut Vec::new(), &mut images, &mut foreign)?;
            if foreign > 0 {
                note(format_args!("{argument}: passed over {foreign} file(s) of other kinds"));
            }
            anyhow::ensure!(
                images.len() > before,
                "{argument}: no image in this folder ({})",
                EXTENSIONS.join(", ")
            );
        } else if !path.exists() && argument.contains(['*', '?', '[']) {
            let found = glob::glob(argument).with_context(|| format!("{argument}: bad pattern"))?;
            let before = images.len();
            images.extend(found.filter_map(std::result::Result::ok).filter(|p| p.is_file()));
            anyhow::ensure!(images.len() > before, "{argument}: no file fits this pattern");
        } else {
            images.push(path.into());
        }
    }
    anyhow::ensure!(!images.is_empty(), "no images were given");
    Ok(images)
}

/// Lists `dir` and all below, hidden ones left out; `above` holds the real paths of
/// the folders around it, against links that lead back up.
fn walk(
    dir: &Path,
    above: &mut Vec<PathBuf>,
    images: &mut Vec<PathBuf>,
    foreign: &mut usize,
) -> Result<()> {
    let real = dir.canonicalize().with_context(|| dir.display().to_string())?;
    if above.contains(&real) {
        return Ok(());
    }
    above.push(real);
    let entries = std::fs::read_dir(dir).with_context(|| dir.display().to_string())?;
    let mut paths = Vec::new();
    for entry in entries {
        paths.push(entry.with_context(|| dir.display().to_string())?.path());
    }
    paths.sort();
    let hidden =
        |path: &Path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
    for path in paths.into_iter().filter(|path| !hidden(path)) {
        if path.is_dir() {
            walk(&path, above, images, foreign)?;
        } else if is_image(&path) {
            images.push(path);
        } else {
            *foreign += 1;
        }
    }
    above.pop();
    Ok(())
}

fn is_image(path: &Path) -> bool {
    let ending = path.extension().map(|e| e.to_string_lossy().to_lowercase());
    ending.is_some_and(|e| EXTENSIONS.contains(&e.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn links_that_lead_back_end() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a.png"), "").unwrap();
        std::os::unix::fs::symlink(".", dir.path().join("self")).unwrap();
        let folder = dir.path().display().to_string();
        assert_eq!(expand(&[folder], "".as_bytes()).unwrap().len(), 1);
    }

    #[test]
    fn files_folders_patterns_and_lists() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["b/2.PNG", "b/1.jpg", "a.jpeg", "notes.txt", "b/.hidden.png"] {
            std::fs::create_dir_all(dir.path().join(name).parent().unwrap()).unwrap();
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        let at = |name: &str| dir.path().join(name).display().to_string();
        let run = |args: &[String], list: &str| expand(args, list.as_bytes());
        let names = |found: Vec<PathBuf>| -> Vec<String> {
            let strip = |p: &PathBuf| p.strip_prefix(dir.path()).unwrap().display().to_string();
            found.iter().map(strip).collect()
        };
        let folder = [dir.path().display().to_string()];
        assert_eq!(names(run(&folder, "").unwrap()), ["a.jpeg", "b/1.jpg", "b/2.PNG"]);
        assert_eq!(names(run(&[at("b/*.jpg")], "").unwrap()), ["b/1.jpg"]);
        assert_eq!(
            names(run(&["-".into()], &format!("{}\n\n", at("a.jpeg"))).unwrap()),
            ["a.jpeg"]
        );
        assert_eq!(names(run(&[at("notes.txt")], "").unwrap()), ["notes.txt"]);
        // What is not there is an image that cannot be read, as in a list.
        assert_eq!(names(run(&[at("c.png")], "").unwrap()), ["c.png"]);
        assert!(run(&[at("c*.png")], "").is_err());
        assert!(run(&["-".into()], "").is_err());
    }
}
