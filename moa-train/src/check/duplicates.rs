//! The same picture twice.

use serde::Serialize;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// How bad it is, worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// In two environments: what is left out was seen in training.
    Environments,
    /// In two classes of one environment: one of them is wrong.
    Classes,
    /// In one class: it counts twice, and may be in training and validation.
    Same,
}

/// Two files with the same pixels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Duplicate {
    /// Where they are in relation to each other.
    pub kind: Kind,
    /// The one.
    pub path: PathBuf,
    /// The other, listed later.
    pub again: PathBuf,
}

/// What was seen: the first place of each picture.
#[derive(Default)]
pub(super) struct Seen(HashMap<[u8; 32], (usize, usize, PathBuf)>);

impl Seen {
    /// The earlier file with the same pixels, if there is one.
    pub(super) fn again(
        &mut self,
        hash: [u8; 32],
        (env, class, path): (usize, usize, &Path),
    ) -> Option<Duplicate> {
        let Some((first_env, first_class, first)) = self.0.get(&hash) else {
            self.0.insert(hash, (env, class, path.to_owned()));
            return None;
        };
        let kind = match (*first_env == env, *first_class == class) {
            (false, _) => Kind::Environments,
            (true, false) => Kind::Classes,
            (true, true) => Kind::Same,
        };
        Some(Duplicate { kind, path: first.clone(), again: path.to_owned() })
    }
}
