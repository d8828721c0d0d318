//! Names of files that somebody else chose.

/// Names that Windows keeps for devices.
const DEVICES: [&str; 6] = ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"];
/// The same, with a digit from 1 to 9 behind.
const NUMBERED: [&str; 2] = ["COM", "LPT"];
/// Longest part of a path that file systems take, in bytes.
const LONGEST: usize = 255;

/// True if a path inside a repository can be written on every system: [`is_inside`], and of
/// letters that POSIX and Windows allow.
pub fn is_safe(path: &str) -> bool {
    is_inside(path) && !path.contains(['<', '>', ':', '"', '|', '?', '*'])
}

/// True if a path inside a repository is one inside a folder, too, on every system: relative,
/// without `..`, and no other name for a folder, a device or another file.
pub fn is_inside(path: &str) -> bool {
    !path.is_empty() && path.len() <= 1024 && !has_drive(path) && path.split('/').all(is_plain)
}

fn is_plain(part: &str) -> bool {
    !part.is_empty()
        && part.len() <= LONGEST
        && part != "."
        && part != ".."
        && !part.chars().any(|c| c.is_control() || c == '\\')
        && !part.ends_with(['.', ' '])
        && !is_device(part)
}

/// `C:`, absolute or relative to the folder that is open there.
fn has_drive(path: &str) -> bool {
    matches!(path.as_bytes(), [letter, b':', ..] if letter.is_ascii_alphabetic())
}

/// Whatever the ending, and in any case.
fn is_device(part: &str) -> bool {
    let stem = part.split('.').next().unwrap_or(part).trim_end().to_uppercase();
    let numbered = |name: &str| {
        stem.strip_prefix(name).is_some_and(|n| {
            matches!(n, "1" | "2" | "3" | "4" | "5" | "6" | "7" | "8" | "9" | "¹" | "²" | "³")
        })
    };
    DEVICES.contains(&stem.as_str()) || NUMBERED.into_iter().any(numbered)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_relative_names() {
        for good in
            ["model.safetensors", "a/b/c.json", ".gitattributes", "ünï.txt", "con_fig", "com0"]
        {
            assert!(is_safe(good), "{good}");
        }
        for odd in ["a?b", "a*", "a<b", "a|b", "logs/12:30:00.txt"] {
            assert!(is_inside(odd) && !is_safe(odd), "{odd}");
        }
        for bad in [
            "",
            "/etc/passwd",
            "../x",
            "a/../../x",
            "a//b",
            "./a",
            "a/",
            r"C:\x",
            "C:/x",
            r"a\b",
            "a\0b",
            "a\nb",
            "nul",
            "NUL.txt",
            "a/COM1",
            "lpt9.json",
            "con .x",
            "x.",
            "x ",
            "conin$",
        ] {
            assert!(!is_inside(bad) && !is_safe(bad), "{bad:?}");
        }
        assert!(!is_safe(&"a".repeat(256)) && !is_safe(&"a/".repeat(600)));
    }
}
