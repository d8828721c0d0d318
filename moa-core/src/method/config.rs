//! A method as data, and its check against a backbone.

use super::{Blocks, LinearName, flatten};
use crate::adapter::{AdapterConfig, AdapterKind, Bend, RouterConfig};
use crate::backbone::VitConfig;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The largest rank of an expert, and the widest projection of a router.
const MAX_RANK: usize = 4096;
const MAX_ROUTER_DIM: usize = 16384;

/// Which tensors of the backbone itself train.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trains {
    /// None.
    #[default]
    Nothing,
    /// The biases of the placed linears.
    Biases,
    /// Weights and biases of the placed linears.
    Linears,
    /// Everything.
    Everything,
}

/// What trains besides the head (table `[method]`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Method {
    /// The preset it came from.
    pub name: String,
    /// Which tensors of the backbone train.
    #[serde(default)]
    pub trains: Trains,
    /// `"all"`, `"every-two"`, `"last-two"` or a list: where adapters go (and what
    /// `trains = "biases"` and `"linears"` mean).
    #[serde(default)]
    pub blocks: Blocks,
    /// Which linears of those blocks.
    #[serde(default)]
    pub linears: Vec<LinearName>,
    /// The experts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adapter: Option<AdapterConfig>,
    /// The router; without one there is a single expert.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub router: Option<RouterConfig>,
}

impl Method {
    /// Nothing trains but the head.
    pub fn linear_probe() -> Self {
        Self {
            name: "linear-probe".into(),
            trains: Trains::Nothing,
            blocks: Blocks::All,
            linears: Vec::new(),
            adapter: None,
            router: None,
        }
    }

    /// The preset's name and every value that is not the preset's:
    /// `lora-moa+blocks=all+router.top_k=2`. What a table calls the method.
    pub fn label(&self) -> String {
        let flat = |method: &Method| {
            let mut all = BTreeMap::new();
            if let Ok(table) = toml::Table::try_from(method) {
                flatten("", &table, &mut |key, value| {
                    all.insert(key.to_string(), value.to_string().replace(['"', ' '], ""));
                });
            }
            all
        };
        let preset = super::preset(&self.name).map(|preset| flat(&preset)).unwrap_or_default();
        let mut label = self.name.clone();
        for (key, value) in flat(self) {
            if key != "name" && !preset.is_empty() && preset.get(&key) != Some(&value) {
                label.push_str(&format!("+{key}={value}"));
            }
        }
        label
    }

    /// True if `which` of block `index` is one of the placed linears.
    pub fn places(&self, which: LinearName, index: usize, depth: usize) -> bool {
        self.linears.contains(&which) && self.blocks.contains(index, depth)
    }

    /// True if `which` of block `index` carries an adapter.
    pub fn adapts(&self, which: LinearName, index: usize, depth: usize) -> bool {
        self.adapter.is_some() && self.places(which, index, depth)
    }

    /// Checks the method by itself and against a backbone.
    ///
    /// # Errors
    /// The first thing that does not fit, with what would.
    pub fn check(&self, config: &VitConfig) -> Result<()> {
        let fail = |reason: String| Err(Error::Method { method: self.name.clone(), reason });
        if let Blocks::List(list) = &self.blocks
            && let Some(block) = list.iter().find(|&&b| b >= config.depth)
        {
            return fail(format!("there is no block {block}; the backbone has {}", config.depth));
        }
        let whole =
            self.adapter.is_none() && matches!(self.trains, Trains::Nothing | Trains::Everything);
        if whole && (!self.linears.is_empty() || self.blocks != Blocks::All) {
            return fail("`linears` and `blocks` do not apply: no linear layer is chosen".into());
        }
        let placed =
            self.adapter.is_some() || matches!(self.trains, Trains::Biases | Trains::Linears);
        if placed && (self.linears.is_empty() || self.blocks == Blocks::List(Vec::new())) {
            return fail("`linears` and `blocks` must not be empty".into());
        }
        let Some(adapter) = &self.adapter else {
            return match self.router {
                Some(_) => fail("a router needs `[method.adapter]`".into()),
                None => Ok(()),
            };
        };
        if self.trains != Trains::Nothing {
            return fail("adapters need a frozen backbone: `trains = \"nothing\"`".into());
        }
        if !(1..=255).contains(&adapter.ranks.len())
            || adapter.ranks.iter().any(|r| !(1..=MAX_RANK).contains(r))
        {
            return fail(format!(
                "`adapter.ranks` must hold 1 to 255 numbers from 1 to {MAX_RANK}"
            ));
        }
        if !(-1e6..1e6).contains(&adapter.scale) {
            return fail("`adapter.scale` must be from -1e6 to 1e6".into());
        }
        for (key, p) in [("dropout", adapter.dropout), ("rank_dropout", adapter.rank_dropout)] {
            if !(0.0..1.0).contains(&p) {
                return fail(format!("`adapter.{key}` must be in [0, 1)"));
            }
            if adapter.kind != AdapterKind::Kronecker && p != 0.0 {
                return fail(format!("`adapter.{key}` is for Kronecker experts"));
            }
        }
        if adapter.kind == AdapterKind::Compacter {
            let [r] = adapter.ranks[..] else {
                return fail("a Compacter has one width: `adapter.ranks = [24]`".into());
            };
            if self.router.is_some() {
                return fail(
                    "a Compacter has no experts to route to: leave `[method.router]` out".into(),
                );
            }
            if adapter.t == 0 || r % adapter.t != 0 {
                return fail(format!("`adapter.t` = {} does not divide the width {r}", adapter.t));
            }
        } else if adapter.activation != Bend::default() {
            return fail("`adapter.activation` is for a Compacter".into());
        }
        if matches!(adapter.kind, AdapterKind::Kronecker | AdapterKind::Compacter) {
            for which in &self.linears {
                let (width, out) = which.sizes(config);
                if adapter.t == 0 || width % adapter.t != 0 || out % adapter.t != 0 {
                    let t = adapter.t;
                    return fail(format!("`adapter.t` = {t} does not divide {width} x {out}"));
                }
            }
        }
        match &self.router {
            None if adapter.ranks.len() > 1 => {
                fail("several `adapter.ranks` need `[method.router]`".into())
            }
            Some(r) if r.top_k == 0 || r.top_k > adapter.ranks.len() => {
                fail(format!("`router.top_k` = {} of {} experts", r.top_k, adapter.ranks.len()))
            }
            Some(r) if !(1..=MAX_ROUTER_DIM).contains(&r.dim) => {
                fail(format!("`router.dim` = {} is not from 1 to {MAX_ROUTER_DIM}", r.dim))
            }
            Some(r) if [r.noise, r.aux_weight].iter().any(|v| !(0.0..1e6).contains(v)) => {
                fail("`router.noise` and `router.aux_weight` must be from 0 to 1e6".into())
            }
            Some(r) if r.noise == 0.0 && r.aux_weight > 0.0 => fail(
                "the balance loss divides by the noise: set `router.noise` above 0 or \
                 `router.aux_weight = 0`"
                    .into(),
            ),
            Some(r) if !r.temperature.is_finite() => {
                fail("`router.temperature` is not finite".into())
            }
            _ => Ok(()),
        }
    }
}
