//! Names, shapes and initial values of adapter tensors.
//!
//! The names are those of the checkpoint; `prefix` is the adapted layer, say
//! `blocks.0.attn.qkv`. Initial values follow the reference code of the paper
//! (`lora_util.py`).

use super::{AdapterConfig, AdapterKind, RouterConfig, RouterKind};
use candle_core::{Device, Result, Tensor};
use moa_kernels::rng::{Key, Purpose};

/// How a tensor starts.
#[derive(Clone, Debug, PartialEq)]
pub enum Init {
    /// All zeros.
    Zeros,
    /// One value everywhere.
    Constant(f64),
    /// Uniform in `[-bound, bound)`.
    Uniform(f64),
    /// Normal with this standard deviation.
    Normal(f64),
    /// The backbone's own value.
    Pretrained,
}

impl Init {
    /// Draws a tensor of the CPU in `f64`; the numbers depend only on `seed` and `name`.
    ///
    /// # Errors
    /// Only if memory runs out.
    pub fn draw(&self, name: &str, shape: &[usize], seed: u64) -> Result<Tensor> {
        let mut draws = Key::new(seed, Purpose::Init, 0).draws(name_hash(name));
        let count = shape.iter().product();
        let values: Vec<f64> = (0..count)
            .map(|_| match self {
                Init::Zeros | Init::Pretrained => 0.0,
                Init::Constant(value) => *value,
                Init::Uniform(bound) => draws.uniform(-bound, *bound),
                Init::Normal(std) => draws.normal() * std,
            })
            .collect();
        Tensor::from_vec(values, shape, &Device::Cpu)
    }
}

/// FNV-1a, 64 bits.
fn name_hash(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ b as u64).wrapping_mul(0x100_0000_01b3))
}

/// A tensor's name, shape and start.
pub type Spec = (String, Vec<usize>, Init);

/// The tensors of one adapted layer of `width` inputs and `out` outputs.
pub fn tensors(
    prefix: &str,
    (width, out): (usize, usize),
    adapter: &AdapterConfig,
    router: Option<&RouterConfig>,
) -> Vec<Spec> {
    let mut list: Vec<Spec> = Vec::new();
    let mut add = |name: String, shape: Vec<usize>, init: Init| {
        list.push((format!("{prefix}.{name}"), shape, init));
    };
    if let Some(router) = router {
        let uniform = Init::Uniform(1.0 / (width as f64).sqrt());
        match router.kind {
            RouterKind::Linear => {
                add("router.weight".into(), vec![adapter.ranks.len(), width], uniform)
            }
            RouterKind::Cosine => {
                add("router.proj.weight".into(), vec![router.dim, width], uniform.clone());
                if router.bias {
                    add("router.proj.bias".into(), vec![router.dim], uniform);
                }
                let sim = vec![router.dim, adapter.ranks.len()];
                add("router.sim".into(), sim, Init::Normal(0.01));
                add("router.temperature".into(), vec![1], Init::Constant(router.temperature));
            }
        }
    }
    // Xavier-uniform with gain sqrt(2), slice by slice.
    let bound = |sum: usize| Init::Uniform((2.0 * 6.0 / sum as f64).sqrt());
    if adapter.kind == AdapterKind::Compacter {
        let (t, r) = (adapter.t, adapter.ranks[0]);
        for (part, width, out) in [("down", out, r), ("up", r, out)] {
            add(format!("compacter.{part}.left"), vec![t, width / t, 1], bound(width / t + 1));
            add(format!("compacter.{part}.right"), vec![t, 1, out / t], bound(1 + out / t));
            if adapter.bias {
                add(format!("compacter.{part}.bias"), vec![out], Init::Zeros);
            }
        }
        return list;
    }
    for (e, &r) in adapter.ranks.iter().enumerate() {
        match adapter.kind {
            AdapterKind::Compacter => {}
            AdapterKind::Lora => {
                let std = 1.0 / r as f64;
                add(format!("experts.{e}.down"), vec![r, width], Init::Normal(std));
                add(format!("experts.{e}.up"), vec![out, r], Init::Zeros);
            }
            AdapterKind::Kronecker => {
                let (t, a, b) = (adapter.t, width / adapter.t, out / adapter.t);
                add(format!("experts.{e}.left"), vec![t, a, r], bound(a + r));
                add(format!("experts.{e}.right"), vec![t, r, b], bound(r + b));
            }
        }
    }
    if adapter.bias {
        add("adapter_bias".into(), vec![out], Init::Zeros);
    }
    list
}

/// The outer Kronecker factors, of which the whole network has one set.
pub fn shared_tensors(adapter: &AdapterConfig) -> Vec<Spec> {
    let t = adapter.t;
    match adapter.kind {
        AdapterKind::Lora => Vec::new(),
        // As Compacter's own program begins.
        AdapterKind::Compacter => {
            vec![("shared.rule".into(), vec![t, t, t], Init::Normal(1e-4))]
        }
        AdapterKind::Kronecker => vec![
            ("shared.left".into(), vec![t, t, 1], Init::Uniform(0.01)),
            ("shared.right".into(), vec![t, 1, t], Init::Uniform(0.01)),
        ],
    }
}
