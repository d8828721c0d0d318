//! Which images: files, folders, globs, a list on standard input.

use anyhow::{Context, Result};
use std::io::BufRead;
use std::path::{Path, PathBuf};

/// File name endings of images that can be decoded.
pub use crate::dataset::scan::EXTENSIONS;

/// Expands arguments to image paths, in the order given; the content of a folder
/// (taken with all folders below it) is sorted.
///
/// A path that exists is itself, `-` reads one path per line from `stdin`, and
/// anything else with `*`, `?` or `[` is a pattern (the shell leaves it alone
/// if it is quoted or too long).
///
/// # Errors
/// If a path does not exist, a pattern or folder gives nothing, or nothing is
/// left at all.
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
            walk(path, &mut images)?;
            anyhow::ensure!(images.len() > before, "{argument}: no images in this folder");
        } else if path.exists() {
            images.push(path.into());
        } else if argument.contains(['*', '?', '[']) {
            let found = glob::glob(argument).with_context(|| format!("{argument}: bad pattern"))?;
            let before = images.len();
            images.extend(found.filter_map(std::result::Result::ok).filter(|p| p.is_file()));
            anyhow::ensure!(images.len() > before, "{argument}: no file fits this pattern");
        } else {
            anyhow::bail!("{argument}: no such file or folder");
        }
    }
    anyhow::ensure!(!images.is_empty(), "no images were given");
    Ok(images)
}

fn walk(dir: &Path, images: &mut Vec<PathBuf>) -> Result<()> {
    let entries = std::fs::read_dir(dir).with_context(|| dir.display().to_string())?;
    let mut paths = Vec::new();
    for entry in entries {
        paths.push(entry.with_context(|| dir.display().to_string())?.path());
    }
    paths.sort();
    for path in paths {
        if path.is_dir() {
            walk(&path, images)?;
        } else if is_image(&path) {
            images.push(path);
        }
    }
    Ok(())
}

fn is_image(path: &Path) -> bool {
    let hidden = path.file_name().is_some_and(|n| n.to_string_lossy().starts_with('.'));
    let ending = path.extension().map(|e| e.to_string_lossy().to_lowercase());
    !hidden && ending.is_some_and(|e| EXTENSIONS.contains(&e.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert!(run(&[at("c.png")], "").unwrap_err().to_string().contains("c.png"));
        assert!(run(&[at("c*.png")], "").is_err());
        assert!(run(&["-".into()], "").is_err());
    }
}
