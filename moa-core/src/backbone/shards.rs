//! The index of a sharded checkpoint, and what is said when there are no weights.

use std::collections::BTreeMap;
use std::path::{Component, Path};

use super::error::{BackboneError, Result};
use super::folder::Folder;
use super::json::Keys;

/// Tensor to file, from an index; every file must be in the same folder.
pub(super) fn shards(folder: &Folder, index: &str) -> Result<BTreeMap<String, String>> {
    let (path, map) = (folder.file(index), folder.json(index)?);
    let keys = Keys::new(&path, &map);
    let table = keys.table("weight_map")?;
    let table = table.ok_or_else(|| keys.bad("weight_map", "is missing; fetch the index again"))?;
    let mut shards = BTreeMap::new();
    for tensor in table.keys() {
        let file = table.text(tensor)?.unwrap_or_default();
        let mut parts = Path::new(file).components();
        if !matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None)) {
            return Err(table.unsupported(tensor, "shards must be in the folder of the index"));
        }
        if !folder.has(file) {
            return Err(
                table.bad(tensor, format!("is in {file}, which is not there; fetch this shard"))
            );
        }
        shards.insert(tensor.to_owned(), file.to_owned());
    }
    match shards.is_empty() {
        true => Err(keys.bad("weight_map", "names no tensor; fetch the index again")),
        false => Ok(shards),
    }
}

/// Why there are no weights.
pub(super) fn absent(folder: &Folder, target: String) -> BackboneError {
    let pickled = |name: &String| {
        [".bin", ".pt", ".pth", ".ckpt"].iter().any(|end| name.ends_with(end))
            && name != "training_args.bin"
    };
    let path = folder.path().into();
    match folder.names().into_iter().find(pickled) {
        Some(pickle) => BackboneError::Pickle { path, pickle, target },
        None => {
            BackboneError::unusable(path, format!("there is no {target}, nor an index of shards"))
        }
    }
}
