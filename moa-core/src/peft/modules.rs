//! The names under which PEFT knows the layers and tensors of a backbone.

use crate::backbone::{Backbone, NameMap, VitConfig};
use std::collections::BTreeMap;

/// Where a tensor of a foreign model lies in ours: `index` of the equal parts into
/// which ours is cut along its rows.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Piece {
    /// Our name.
    pub ours: String,
    pub index: usize,
    /// The shape of the part.
    pub shape: Vec<usize>,
}

/// A layer that an adapter can sit in.
#[derive(Clone, Debug)]
pub(super) struct Module {
    /// What `target_modules` is compared with.
    pub path: String,
    /// What the names of its tensors begin with.
    pub key: String,
    /// Its weight and bias in [`Names::pieces`].
    pub weight: String,
    pub bias: String,
    /// Linear, or else a convolution or part of a fused attention.
    pub linear: bool,
    /// How often PEFT adds the adapter: merging a fused attention, which its forward pass
    /// does too, it adds the one of `out_proj` twice (`MultiheadAttention.merge`, 0.21.2).
    pub times: f64,
}

/// The names of one layout, for one backbone.
pub(super) struct Names {
    pub map: NameMap,
    pub modules: Vec<Module>,
    /// Every tensor, by its foreign name.
    pub pieces: BTreeMap<String, Piece>,
}

/// Our layers that are layers to PEFT too.
const LAYERS: &[&str] =
    &["attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2", "patch_embed.proj", "head", "projection"];

/// open_clip's `nn.MultiheadAttention`: one target for both products.
const IN_PROJ: &str = ".attn.in_proj_weight";
const OUT_PROJ: &str = ".attn.out_proj.weight";

impl Names {
    /// The names in every layout that there is.
    pub(super) fn every(backbone: &Backbone) -> impl Iterator<Item = Self> {
        let config = &backbone.config;
        let maps: Vec<NameMap> = NameMap::every(&config.tensors(), config.mlp).collect();
        maps.into_iter().map(|map| Self::new(map, config, backbone.classes.unwrap_or(0)))
    }

    /// The names of `map`, which has the transformer's tensors, with those of a head of
    /// `classes` outputs, if the layout has one, and of CLIP's projection.
    pub(super) fn new(mut map: NameMap, config: &VitConfig, classes: usize) -> Self {
        if let Some(kind) = map.layouts().first().and_then(|layout| layout.classifier()) {
            map.add("head.weight", vec![classes, kind.width(config.dim)], config.mlp);
            map.add("head.bias", vec![classes], config.mlp);
        }
        if let Some(width) = config.projection_dim {
            map.add("projection.weight", vec![width, config.dim], config.mlp);
        }
        let (mut modules, mut pieces) = (Vec::new(), BTreeMap::new());
        for (ours, stored) in &map.tensors {
            for (index, name) in stored.pieces.iter().enumerate() {
                let piece = Piece { ours: ours.clone(), index, shape: stored.piece_shape() };
                pieces.insert(name.clone(), piece);
                let layer = ours
                    .strip_suffix(".weight")
                    .is_some_and(|ours| LAYERS.iter().any(|layer| ours.ends_with(layer)));
                if layer && let Some(module) = Module::of_weight(name, stored.shape.len() == 2) {
                    modules.push(module);
                }
            }
        }
        Self { map, modules, pieces }
    }
}

impl Module {
    /// The module of a weight; none if the weight is a bare parameter.
    fn of_weight(weight: &str, linear: bool) -> Option<Self> {
        if let Some(block) = weight.strip_suffix(IN_PROJ) {
            let (path, weight) = (format!("{block}.attn"), weight.into());
            let bias = format!("{path}.in_proj_bias");
            return Some(Self { key: path.clone(), path, weight, bias, linear: false, times: 1.0 });
        }
        if let Some(block) = weight.strip_suffix(OUT_PROJ) {
            let path = format!("{block}.attn");
            let (key, bias) =
                (format!("{path}.base_layer.out_proj"), format!("{path}.out_proj.bias"));
            return Some(Self {
                path,
                key,
                weight: weight.into(),
                bias,
                linear: false,
                times: 2.0,
            });
        }
        let path = weight.strip_suffix(".weight")?;
        Some(Self::named(path, linear))
    }

    /// A module whose tensors have its own name.
    pub(super) fn named(path: &str, linear: bool) -> Self {
        let (weight, bias) = (format!("{path}.weight"), format!("{path}.bias"));
        Self { path: path.into(), key: path.into(), weight, bias, linear, times: 1.0 }
    }
}
