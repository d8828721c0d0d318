//! Names of files that somebody else chose.

/// Names that Windows keeps for devices.
const DEVICES: [&str; 4] = ["CON", "PRN", "AUX", "NUL"];
/// The same, with a digit from 1 to 9 behind.
const NUMBERED: [&str; 2] = ["COM", "LPT"];
/// Longest part of a path that file systems take, in bytes.
const LONGEST: usize = 255;

/// True if a path inside a repository is one inside a folder, too, on every system: relative,
/// without `..`, and of names that POSIX and Windows allow.
pub fn is_safe(path: &str) -> bool {
    !path.is_empty() && path.len() <= 1024 && path.split('/').all(is_safe_part)
}

fn is_safe_part(part: &str) -> bool {
    let forbidden = |c: char| c.is_control() || r#"<>:"\|?*"#.contains(c);
    !part.is_empty()
        && part.len() <= LONGEST
        && part != "."
        && part != ".."
        && !part.chars().any(forbidden)
        && !part.ends_with(['.', ' '])
        && !is_device(part)
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
            "a?b",
            "a*",
            "a<b",
            "a|b",
        ] {
            assert!(!is_safe(bad), "{bad:?}");
        }
        assert!(!is_safe(&"a".repeat(256)) && !is_safe(&"a/".repeat(600)));
    }
}
