//! Lines that Python's `json` wrote.

use std::borrow::Cow;

/// Python writes `NaN`, `Infinity` and `-Infinity`, which JSON does not know;
/// outside of strings they become `null`.
pub(super) fn without_nan(line: &str) -> Cow<'_, str> {
    if !line.contains("NaN") && !line.contains("Infinity") {
        return line.into();
    }
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(c) = rest.chars().next() {
        let token = ["NaN", "-Infinity", "Infinity"].into_iter().find(|t| rest.starts_with(t));
        let taken = match (token, c) {
            (Some(token), _) => {
                out.push_str("null");
                rest = &rest[token.len()..];
                continue;
            }
            (None, '"') => string_length(rest),
            (None, c) => c.len_utf8(),
        };
        let (copied, after) = rest.split_at(taken);
        out.push_str(copied);
        rest = after;
    }
    out.into()
}

/// Bytes of the JSON string that `text` begins with, quotes included.
fn string_length(text: &str) -> usize {
    let mut escaped = false;
    for (i, c) in text.char_indices().skip(1) {
        match c {
            '"' if !escaped => return i + 1,
            c => escaped = c == '\\' && !escaped,
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_python() {
        assert_eq!(
            without_nan(r#"{"NaN\"\\": NaN, "a": [-Infinity, Infinity], "Infinity": 1}"#),
            r#"{"NaN\"\\": null, "a": [null, null], "Infinity": 1}"#
        );
        assert!(matches!(without_nan("{}"), Cow::Borrowed(_)));
        assert_eq!(without_nan("[NaN, \"\u{e9}\"]"), "[null, \"\u{e9}\"]");
        assert_eq!(without_nan(r#"NaN "cut \"#), r#"null "cut \"#);
    }
}
