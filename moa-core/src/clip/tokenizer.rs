//! The byte-pair encoding of CLIP.

use crate::error::{Error, Result};
use flate2::read::MultiGzDecoder;
use serde_json::{Map, Value, json};
use std::io::Read;
use std::path::{Path, PathBuf};
use tokenizers::Tokenizer;

/// Texts to ids: Unicode NFC, lower case, white space joined; the rules of transformers'
/// fast tokenizer. (open_clip also repairs texts that were decoded wrongly and resolves
/// HTML entities, which prompts do not have.)
pub struct TextTokenizer {
    inner: Tokenizer,
    start: u32,
    end: u32,
}

/// Files that hold a tokenizer, in the order in which a folder is searched.
const FILES: [&str; 3] =
    ["tokenizer.json", "bpe_simple_vocab_16e6.txt.gz", "bpe_simple_vocab_16e6.txt"];

/// What begins and ends a text, by transformers and by open_clip.
const MARKS: [(&str, &str); 2] =
    [("<|startoftext|>", "<|endoftext|>"), ("<start_of_text>", "<end_of_text>")];

/// Pairs that OpenAI's vocabulary uses of those in its file.
const MERGES: usize = 49152 - 256 - 2;

/// The most bytes that a vocabulary unpacks to.
const MAX_BYTES: u64 = 64 << 20;

impl TextTokenizer {
    /// The tokenizer of a checkpoint's folder.
    ///
    /// # Errors
    /// If there is none, or it cannot be read.
    pub fn in_folder(dir: &Path) -> Result<Self> {
        let found: Option<PathBuf> = FILES.iter().map(|n| dir.join(n)).find(|p| p.is_file());
        match found {
            Some(path) => Self::open(&path),
            None => {
                let reason = format!(
                    "holds no tokenizer: put CLIP's {} or {} there, or name the file",
                    FILES[0], FILES[1]
                );
                Err(Error::adapter(dir, reason))
            }
        }
    }

    /// A `tokenizer.json`, or OpenAI's list of pairs, `.txt` or `.txt.gz`.
    ///
    /// # Errors
    /// If it cannot be read, or is no tokenizer of CLIP.
    pub fn open(path: &Path) -> Result<Self> {
        let bytes = crate::files::read(path)?;
        let fail = |reason: String| Error::adapter(path, reason);
        let json = match path.extension().and_then(|e| e.to_str()) {
            Some("json") => bytes,
            _ => {
                let mut text = String::new();
                let read = match bytes.starts_with(&[0x1f, 0x8b]) {
                    true => MultiGzDecoder::new(&*bytes).take(MAX_BYTES).read_to_string(&mut text),
                    false => (&*bytes).read_to_string(&mut text),
                };
                read.map_err(|e| fail(format!("not a list of pairs: {e}")))?;
                let tokenizer = from_pairs(&text).map_err(fail)?;
                serde_json::to_vec(&tokenizer).map_err(|e| fail(e.to_string()))?
            }
        };
        let inner = Tokenizer::from_bytes(json);
        let mut inner = inner.map_err(|e| fail(format!("not a tokenizer: {e}")))?;
        inner.with_padding(None);
        inner.with_truncation(None).map_err(|e| fail(e.to_string()))?;
        let id = |name: &str| inner.token_to_id(name);
        let marks = MARKS.iter().find_map(|(start, end)| Some((id(start)?, id(end)?)));
        let (start, end) = marks.ok_or_else(|| {
            fail(format!("not a tokenizer of CLIP: it has no token {}", MARKS[0].0))
        })?;
        Ok(Self { inner, start, end })
    }

    /// The ids of a text, at most `context` with the two marks; what is too long is cut.
    ///
    /// # Errors
    /// If the tokenizer fails.
    pub fn encode(&self, text: &str, context: usize) -> Result<Vec<u32>> {
        let encoding = self.inner.encode_fast(text, false);
        let encoding = encoding.map_err(|e| Error::adapter(text, e.to_string()))?;
        let inside = encoding.get_ids().iter().take(context.saturating_sub(2));
        Ok([self.start].iter().chain(inside).chain([&self.end]).copied().collect())
    }
}

/// The content of a `tokenizer.json` from OpenAI's list of pairs: one line of comment, then
/// a pair a line.
fn from_pairs(text: &str) -> std::result::Result<Value, String> {
    let mut vocab: Vec<String> = characters().map(String::from).collect();
    vocab.extend(characters().map(|c| format!("{c}</w>")));
    let mut merges = Vec::new();
    for (number, line) in text.lines().enumerate().skip(1).take(MERGES) {
        let (left, right) =
            line.split_once(' ').ok_or_else(|| format!("line {} is not a pair", number + 1))?;
        vocab.push(format!("{left}{right}"));
        merges.push(json!([left, right]));
    }
    let (start, end) = MARKS[0];
    let special = |id: usize, text: &str| {
        json!({"id": id, "content": text, "single_word": false, "lstrip": false, "rstrip": false,
               "normalized": false, "special": true})
    };
    let added = [special(vocab.len(), start), special(vocab.len() + 1, end)];
    vocab.extend([start.into(), end.into()]);
    let ids: Map<String, Value> =
        vocab.into_iter().enumerate().map(|(id, token)| (token, json!(id))).collect();
    let words = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";
    Ok(json!({
        "version": "1.0",
        "added_tokens": added,
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "NFC"},
            {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "},
            {"type": "Lowercase"},
        ]},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": words}, "behavior": "Removed", "invert": true},
            {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        ]},
        "model": {
            "type": "BPE", "unk_token": end, "continuing_subword_prefix": "",
            "end_of_word_suffix": "</w>", "fuse_unk": false, "vocab": ids, "merges": merges,
        },
    }))
}

/// The characters that stand for bytes, in the order of their ids: those that can be
/// printed first, then others for the rest (GPT-2's `bytes_to_unicode`).
fn characters() -> impl Iterator<Item = char> {
    let printed = ['!'..='~', '¡'..='¬', '®'..='ÿ'];
    printed.into_iter().flatten().chain(('\u{100}'..).take(68))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_become_words() {
        assert_eq!(characters().count(), 256);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bpe_simple_vocab_16e6.txt");
        std::fs::write(&path, "#version\nd o\ndo g</w>\n").unwrap();
        let tokenizer = TextTokenizer::in_folder(dir.path()).unwrap();
        // 512 characters, two pairs, two marks.
        let (start, end) = (514, 515);
        assert_eq!(tokenizer.encode("  DOG\n", 77).unwrap(), [start, 513, end]);
        let (d, o) = (u32::from(b'd' - b'!'), u32::from(b'o' - b'!') + 256);
        assert_eq!(tokenizer.encode("do d", 77).unwrap(), [start, d, o, d + 256, end]);
        assert_eq!(tokenizer.encode("dog dog dog", 4).unwrap(), [start, 513, 513, end]);
        assert_eq!(tokenizer.encode("", 77).unwrap(), [start, end]);
        std::fs::write(&path, "#version\nd o\nxyz\n").unwrap();
        let error = TextTokenizer::open(&path).err().unwrap().to_string();
        assert!(error.contains("line 3 is not a pair"), "{error}");
        let error = TextTokenizer::in_folder(&dir.path().join("x")).err().unwrap().to_string();
        assert!(error.contains("tokenizer.json"), "{error}");
    }
}
