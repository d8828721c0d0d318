//! Our names of tensors, and where their numbers are on disk.

use std::collections::{BTreeMap, BTreeSet};

use super::detect::Layout;
use super::dialects::{DIALECTS, Dialect, Form};
use super::kinds::MlpKind;
use super::raw::RawTensor;

/// One tensor of ours and the tensors on disk that it is made of.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Stored {
    /// Its shape here.
    pub shape: Vec<usize>,
    /// Names on disk, in the order in which they are stacked.
    pub pieces: Vec<String>,
    form: Form,
}

impl Stored {
    /// The shape that each piece has on disk.
    pub(crate) fn piece_shape(&self) -> Vec<usize> {
        let mut shape = self.shape.clone();
        match self.form {
            Form::Same => {
                if let Some(rows) = shape.first_mut() {
                    *rows /= self.pieces.len().max(1);
                }
                shape
            }
            Form::Flat => shape.into_iter().skip_while(|&side| side == 1).collect(),
            Form::Transposed => {
                shape.reverse();
                shape
            }
        }
    }

    /// The tensor from its pieces.
    pub(crate) fn join(&self, mut pieces: Vec<RawTensor>) -> RawTensor {
        let data = match pieces.len() {
            1 => pieces.pop().map(|piece| piece.data).unwrap_or_default(),
            _ => pieces.iter().map(|piece| piece.data.as_slice()).collect::<Vec<_>>().concat(),
        };
        let data = match self.form {
            Form::Same | Form::Flat => data,
            Form::Transposed => transpose(&data, self.shape.first().copied().unwrap_or(1)),
        };
        RawTensor { shape: self.shape.clone(), data }
    }

    /// The values of each piece of the tensor, in the order of `pieces`.
    pub(crate) fn split(&self, tensor: &RawTensor) -> Vec<Vec<f32>> {
        if self.form == Form::Transposed {
            let columns = self.shape.last().copied().unwrap_or(1);
            return vec![transpose(&tensor.data, columns)];
        }
        let length = tensor.data.len() / self.pieces.len().max(1);
        tensor.data.chunks(length.max(1)).map(<[f32]>::to_vec).collect()
    }
}

/// `[r, c]` to `[columns = c, r]`, row by row.
fn transpose(data: &[f32], columns: usize) -> Vec<f32> {
    (0..columns)
        .flat_map(|column| data.iter().skip(column).step_by(columns.max(1)).copied())
        .collect()
}

/// The names of one checkpoint.
#[derive(Clone)]
pub(crate) struct NameMap {
    dialect: &'static Dialect,
    prefix: &'static str,
    /// By our names.
    pub tensors: BTreeMap<String, Stored>,
}

impl NameMap {
    fn new(
        dialect: &'static Dialect,
        prefix: &'static str,
        wanted: &[(String, Vec<usize>)],
        mlp: MlpKind,
    ) -> Self {
        let stored = |(name, shape): &(String, Vec<usize>)| {
            let (pieces, form) = dialect.find(name, prefix, mlp);
            (name.clone(), Stored { shape: shape.clone(), pieces, form })
        };
        Self { dialect, prefix, tensors: wanted.iter().map(stored).collect() }
    }

    /// The names of these tensors in every dialect, with every prefix.
    pub(crate) fn every(
        wanted: &[(String, Vec<usize>)],
        mlp: MlpKind,
    ) -> impl Iterator<Item = Self> {
        DIALECTS.iter().flat_map(move |dialect| {
            dialect.prefixes.iter().map(move |prefix| Self::new(dialect, prefix, wanted, mlp))
        })
    }

    /// The layouts that use these names.
    pub(crate) fn layouts(&self) -> &'static [Layout] {
        self.dialect.layouts
    }

    /// The names in a layout: as on disk, or where `in_memory` as the newest transformers
    /// has them in memory; with the prefix of the class that has a head.
    pub(crate) fn in_layout(
        layout: Layout,
        in_memory: bool,
        wanted: &[(String, Vec<usize>)],
        mlp: MlpKind,
    ) -> Option<Self> {
        let mut dialects = DIALECTS.iter().filter(|dialect| dialect.layouts.contains(&layout));
        let dialect = if in_memory { dialects.next_back() } else { dialects.next() }?;
        let own = dialect.layouts.iter().position(|&own| own == layout)?;
        Some(Self::new(dialect, dialect.prefixes.get(own)?, wanted, mlp))
    }

    /// The names of a CLIP checkpoint's text tower; `None` if `have` knows none of them.
    pub(crate) fn text(
        layout: Layout,
        wanted: &[(String, Vec<usize>)],
        have: &dyn Fn(&str) -> bool,
    ) -> Option<Self> {
        let prefixes: &[&'static str] = match layout {
            Layout::OpenClip => &["", "text."],
            _ => &["text_model."],
        };
        let dialect = DIALECTS.iter().find(|dialect| dialect.layouts.contains(&layout))?;
        let maps = prefixes.iter().map(|prefix| Self::new(dialect, prefix, wanted, MlpKind::Gelu));
        let count = |map: &Self| map.pieces().filter(|piece| have(piece)).count();
        maps.max_by_key(count).filter(|map| count(map) > 0)
    }

    /// The dialect and prefix under which most of the wanted tensors are in `have`.
    pub(super) fn choose(
        layout: Layout,
        wanted: &[(String, Vec<usize>)],
        mlp: MlpKind,
        have: &dyn Fn(&str) -> bool,
    ) -> Option<Self> {
        let mut best: Option<(usize, Self)> = None;
        for dialect in DIALECTS.iter().filter(|dialect| dialect.layouts.contains(&layout)) {
            for prefix in dialect.prefixes {
                let map = Self::new(dialect, prefix, wanted, mlp);
                let found = map.pieces().filter(|piece| have(piece)).count();
                if best.as_ref().is_none_or(|(most, _)| found > *most) {
                    best = Some((found, map));
                }
            }
        }
        best.map(|(_, map)| map)
    }

    /// Adds a tensor beside the transformer's own.
    pub(crate) fn add(&mut self, name: &str, shape: Vec<usize>, mlp: MlpKind) {
        let (pieces, form) = self.dialect.find(name, self.prefix, mlp);
        self.tensors.insert(name.into(), Stored { shape, pieces, form });
    }

    /// All names on disk that are read.
    pub(super) fn pieces(&self) -> impl Iterator<Item = &String> {
        self.tensors.values().flat_map(|stored| &stored.pieces)
    }

    /// The names on disk of a tensor that the architecture may not have.
    pub(super) fn would_be(&self, name: &str, mlp: MlpKind) -> Vec<String> {
        self.dialect.find(name, self.prefix, mlp).0
    }

    /// Whether a tensor on disk takes no part in an image's feature.
    pub(crate) fn ignores(&self, name: &str) -> bool {
        self.dialect.ignored.iter().any(|ignored| {
            let full = on_disk(ignored, self.prefix, "", "");
            if full.ends_with('.') { name.starts_with(&full) } else { name == full }
        })
    }

    /// The tensors on disk that belong to nobody.
    pub(super) fn strangers<'a>(&self, have: impl Iterator<Item = &'a String>) -> Vec<&'a String> {
        let read: BTreeSet<&String> = self.pieces().collect();
        have.filter(|name| !read.contains(name) && !self.ignores(name)).collect()
    }
}

impl Dialect {
    /// Names on disk of one of our tensors. Without a row it has our name.
    fn find(&self, name: &str, prefix: &str, mlp: MlpKind) -> (Vec<String>, Form) {
        let mut template: Vec<&str> = name.split('.').collect();
        let mut block = "";
        if let ["blocks", index, ..] = template.as_mut_slice() {
            block = std::mem::replace(index, "#");
        }
        let whole = template.join(".");
        // The SwiGLU of transformers has names of its own.
        let whole = match mlp {
            MlpKind::SwiGlu => whole.replace(".mlp.fc", ".mlp.swiglu.fc"),
            MlpKind::Gelu | MlpKind::QuickGelu => whole,
        };
        let (module, leaf) = whole.rsplit_once('.').unwrap_or((&whole, ""));
        let named = |full: &str| self.rows.iter().copied().flatten().find(|row| row.0 == full);
        let (row, leaf) = match named(&whole) {
            Some(row) => (Some(row), ""),
            None => (named(module), leaf),
        };
        match row {
            Some(row) => {
                let pieces = row.1.iter().map(|disk| on_disk(disk, prefix, block, leaf));
                (pieces.collect(), row.2)
            }
            None => (vec![format!("{prefix}{name}")], Form::Same),
        }
    }
}

/// A name of the tables with prefix, block number and `.weight` or `.bias` in place.
fn on_disk(name: &str, prefix: &str, block: &str, leaf: &str) -> String {
    let name = match name.strip_prefix('/') {
        Some(name) => name.to_owned(),
        None => format!("{prefix}{}", name.replace('#', block)),
    };
    if leaf.is_empty() { name } else { format!("{name}.{leaf}") }
}

#[cfg(test)]
mod tests {
    use super::super::config::tests::full;
    use super::*;

    fn map(dialect: &'static Dialect, prefix: &'static str, mlp: MlpKind) -> NameMap {
        let mut config = full();
        config.mlp = mlp;
        let mut wanted = config.tensors();
        wanted.push(("head.weight".into(), vec![5, 4]));
        wanted.push(("projection.weight".into(), vec![3, 4]));
        NameMap::new(dialect, prefix, &wanted, mlp)
    }

    #[test]
    fn every_dialect_tells_all_names_apart() {
        for dialect in DIALECTS {
            for mlp in [MlpKind::Gelu, MlpKind::SwiGlu] {
                let map = map(dialect, dialect.prefixes[0], mlp);
                let names: BTreeSet<&String> = map.pieces().collect();
                assert_eq!(names.len(), map.pieces().count());
                assert!(map.tensors.values().all(|s| !s.pieces.is_empty()));
            }
        }
    }

    #[test]
    fn values_survive_the_way_to_disk_and_back() {
        for dialect in DIALECTS {
            let map = map(dialect, dialect.prefixes[0], MlpKind::SwiGlu);
            for (name, stored) in &map.tensors {
                let count: usize = stored.shape.iter().product();
                let data = (0..count).map(|v| v as f32).collect();
                let tensor = RawTensor { shape: stored.shape.clone(), data };
                let shape = stored.piece_shape();
                let pieces: Vec<RawTensor> = stored
                    .split(&tensor)
                    .into_iter()
                    .map(|data| RawTensor { shape: shape.clone(), data })
                    .collect();
                assert_eq!(pieces.len(), stored.pieces.len(), "{name}");
                assert!(pieces.iter().all(|p| p.data.len() == shape.iter().product::<usize>()));
                assert_eq!(stored.join(pieces), tensor, "{name}");
            }
        }
    }

    #[test]
    fn names_of_the_libraries() {
        let find = |layout: Layout, nth: usize, name: &str, mlp| {
            let mut dialects = DIALECTS.iter().filter(|d| d.layouts.contains(&layout));
            let dialect = dialects.nth(nth).unwrap();
            dialect.find(name, dialect.prefixes[0], mlp).0.join(" ")
        };
        let gelu = MlpKind::Gelu;
        assert_eq!(find(Layout::Timm, 0, "blocks.3.mlp.fc1.bias", gelu), "blocks.3.mlp.fc1.bias");
        assert_eq!(
            find(Layout::OpenClip, 0, "blocks.11.attn.qkv.weight", gelu),
            "visual.transformer.resblocks.11.attn.in_proj_weight"
        );
        assert_eq!(find(Layout::HfClip, 0, "projection.weight", gelu), "visual_projection.weight");
        assert_eq!(
            find(Layout::HfVit, 0, "blocks.0.attn.qkv.bias", gelu),
            "vit.encoder.layer.0.attention.attention.query.bias \
             vit.encoder.layer.0.attention.attention.key.bias \
             vit.encoder.layer.0.attention.attention.value.bias"
        );
        assert_eq!(
            find(Layout::HfDinov2, 1, "blocks.7.mlp.fc1.weight", MlpKind::SwiGlu),
            "dinov2.encoder.layer.7.mlp.gate_proj.weight dinov2.encoder.layer.7.mlp.up_proj.weight"
        );
        assert_eq!(find(Layout::HfDinov2, 0, "head.bias", gelu), "classifier.bias");
    }

    #[test]
    fn the_open_clip_projection_is_transposed() {
        let map = map(&DIALECTS[1], "visual.", MlpKind::Gelu);
        let stored = &map.tensors["projection.weight"];
        assert_eq!((stored.shape.as_slice(), stored.piece_shape()), (&[3, 4][..], vec![4, 3]));
        let disk = RawTensor { shape: vec![4, 3], data: (0..12).map(|v| v as f32).collect() };
        let ours = stored.join(vec![disk]);
        assert_eq!(&ours.data[..5], [0.0, 3.0, 6.0, 9.0, 1.0]);
    }
}
