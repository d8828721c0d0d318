//! DomainBed's `seed_hash`: a random seed from the printed form of a tuple.

use md5::{Digest, Md5};

/// One element of a hashed tuple; the kinds that DomainBed hashes.
#[derive(Clone, Debug, PartialEq)]
pub enum Part<'a> {
    /// A Python `int`.
    Int(u64),
    /// A Python `str`.
    Str(&'a str),
    /// A Python `list` of `int`, such as the target environments of a run.
    Ints(&'a [usize]),
}

impl From<u64> for Part<'_> {
    fn from(value: u64) -> Self {
        Self::Int(value)
    }
}

impl From<usize> for Part<'_> {
    fn from(value: usize) -> Self {
        Self::Int(value as u64)
    }
}

impl From<u32> for Part<'_> {
    fn from(value: u32) -> Self {
        Self::Int(value.into())
    }
}

impl<'a> From<&'a str> for Part<'a> {
    fn from(value: &'a str) -> Self {
        Self::Str(value)
    }
}

impl<'a> From<&'a [usize]> for Part<'a> {
    fn from(value: &'a [usize]) -> Self {
        Self::Ints(value)
    }
}

/// `int(md5(str(tuple)).hexdigest(), 16) % 2**31` (`domainbed.lib.misc.seed_hash`).
pub fn seed_hash(parts: &[Part<'_>]) -> u32 {
    let digest = Md5::digest(tuple_repr(parts).as_bytes());
    digest.iter().fold(0u32, |seed, &byte| seed << 8 | u32::from(byte)) & 0x7fff_ffff
}

/// The seed that splits environment `env` in trial `trial_seed`.
pub fn split_seed(trial_seed: u64, env: usize) -> u32 {
    seed_hash(&[trial_seed.into(), env.into()])
}

/// The `--seed` that DomainBed's `sweep.py` gives a job.
pub fn job_seed(
    dataset: &str,
    algorithm: &str,
    test_envs: &[usize],
    hparams_seed: u64,
    trial_seed: u64,
) -> u32 {
    seed_hash(&[
        dataset.into(),
        algorithm.into(),
        test_envs.into(),
        hparams_seed.into(),
        trial_seed.into(),
    ])
}

/// Python's `str` of a tuple.
fn tuple_repr(parts: &[Part<'_>]) -> String {
    let printed: Vec<String> = parts.iter().map(part_repr).collect();
    match printed.as_slice() {
        [only] => format!("({only},)"),
        all => format!("({})", all.join(", ")),
    }
}

fn part_repr(part: &Part<'_>) -> String {
    match part {
        Part::Int(value) => value.to_string(),
        Part::Str(value) => str_repr(value),
        // Debug of a slice of integers is Python's repr of the list
        Part::Ints(values) => format!("{values:?}"),
    }
}

/// Python's `repr` of a string: single quotes unless only single ones are
/// inside. Characters beyond ASCII stay as they are, as the printable ones do.
fn str_repr(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut out = String::from(quote);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == quote => out.extend(['\\', c]),
            c if c.is_ascii_control() => out.push_str(&format!("\\x{:02x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push(quote);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printed_tuples() {
        assert_eq!(tuple_repr(&[]), "()");
        assert_eq!(tuple_repr(&[7u64.into()]), "(7,)");
        assert_eq!(
            tuple_repr(&["PACS".into(), [0usize, 2].as_slice().into(), 3u64.into()]),
            "('PACS', [0, 2], 3)"
        );
    }

    /// Printed by Python 3.11.
    #[test]
    fn printed_strings() {
        assert_eq!(str_repr("it's"), "\"it's\"");
        assert_eq!(str_repr("\"it's\""), "'\"it\\'s\"'");
        assert_eq!(str_repr("a\\b\n\t\r\x01\x7f"), "'a\\\\b\\n\\t\\r\\x01\\x7f'");
    }

    /// `int(md5(b"(0, 0)").hexdigest(), 16) % 2**31`, and so on.
    #[test]
    fn published_seeds() {
        assert_eq!(
            (0..3).map(|env| split_seed(0, env)).collect::<Vec<_>>(),
            [894_182_419, 1_514_274_641, 1_325_548_499]
        );
        assert_eq!(split_seed(2, 5), 941_488_192);
        assert_eq!(job_seed("VLCS", "ERM", &[1, 2], 1, 0), 360_234_358);
        let odd = ["it's \"x\"\n\\".into(), [0usize, 1].as_slice().into(), 3u64.into()];
        assert_eq!(seed_hash(&odd), 150_668_390);
        assert_eq!(seed_hash(&["\u{e9}".into()]), 905_898_750);
    }
}
