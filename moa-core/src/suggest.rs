//! "Did you mean ...?": the known name nearest to a mistyped one.

/// The candidate nearest to `word`, if any is near enough to be what was meant.
///
/// Near is a Damerau-Levenshtein distance (insertions, deletions,
/// substitutions, swaps of neighbours; letter case is ignored) of at most a
/// third of the length of `word`, or 1, as long as a letter is left in common. The first of equally near
/// candidates is returned. Failing that, a candidate that is the only one to
/// begin with `word` (three letters or more) counts as meant.
///
/// ```
/// use moa_core::suggest::nearest;
/// assert_eq!(nearest("cartoons", &["art_painting", "cartoon"]), Some("cartoon"));
/// assert_eq!(nearest("art", &["art_painting", "cartoon"]), Some("art_painting"));
/// assert_eq!(nearest("mnist", &["art_painting", "cartoon"]), None);
/// ```
pub fn nearest<'a, S>(word: &str, candidates: impl IntoIterator<Item = &'a S>) -> Option<&'a str>
where
    S: AsRef<str> + ?Sized + 'a,
{
    let word: Vec<char> = word.to_lowercase().chars().collect();
    let limit = (word.len() / 3).max(1);
    let mut best: Option<(usize, &'a str)> = None;
    let mut prefixed = Vec::new();
    for candidate in candidates {
        let candidate = candidate.as_ref();
        let letters: Vec<char> = candidate.to_lowercase().chars().collect();
        let distance = damerau_levenshtein(&word, &letters);
        if distance <= limit
            && distance < word.len()
            && best.is_none_or(|(least, _)| distance < least)
        {
            best = Some((distance, candidate));
        }
        if word.len() >= 3 && letters.starts_with(&word) {
            prefixed.push(candidate);
        }
    }
    match (best, prefixed.as_slice()) {
        (Some((_, candidate)), _) => Some(candidate),
        (None, [only]) => Some(only),
        (None, _) => None,
    }
}

/// Optimal string alignment distance, three rows at a time.
fn damerau_levenshtein(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for (i, &letter) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, &other) in b.iter().enumerate() {
            let mut cost = (row[j] + 1).min(above[j + 1] + 1);
            cost = cost.min(above[j] + usize::from(letter != other));
            if i > 0 && j > 0 && letter == b[j - 1] && a[i - 1] == other {
                cost = cost.min(before[j - 1] + 1);
            }
            row.push(cost);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn distance(a: &str, b: &str) -> usize {
        let letters = |s: &str| s.chars().collect::<Vec<_>>();
        damerau_levenshtein(&letters(a), &letters(b))
    }

    #[test]
    fn distances() {
        assert_eq!(distance("", ""), 0);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("steps", "setps"), 1);
        assert_eq!(distance("ca", "abc"), 3);
    }

    #[test]
    fn near_words() {
        let known = ["train.steps", "train.seed", "optim.lr"];
        assert_eq!(nearest("train.setps", &known), Some("train.steps"));
        assert_eq!(nearest("OPTIM.LR", &known), Some("optim.lr"));
        assert_eq!(nearest("optim.rl", known.iter()), Some("optim.lr"));
        assert_eq!(nearest("swad.r", &known), None);
        assert_eq!((nearest("3", &["1"]), nearest("a1", &["a2"])), (None, Some("a2")));
    }

    #[test]
    fn first_of_equals_and_unique_beginnings() {
        assert_eq!(nearest("lora2", &["lora1", "lora3"]), Some("lora1"));
        assert_eq!(nearest("kad", &["lora", "kadaptation"]), Some("kadaptation"));
        assert_eq!(nearest("kad", &["kadaptation-moa", "kadaptation"]), None);
        assert_eq!(nearest("", &["lora"]), None);
        assert_eq!(nearest("lora", &[] as &[&str]), None);
        let owned = vec![String::from("Real World")];
        assert_eq!(nearest("real world", &owned), Some("Real World"));
    }
}
