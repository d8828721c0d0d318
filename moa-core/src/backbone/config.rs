//! The architecture of a vision transformer, one description for all layouts.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::error::{BackboneError, Result};
use super::kinds::{HeadKind, MlpKind, Pool};
use super::pos_embed::PosResample;

/// A vision transformer in the terms of timm's `VisionTransformer`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VitConfig {
    /// Height and width in pixels that the position table is made for.
    pub image_size: (usize, usize),
    /// Side of a patch in pixels.
    pub patch_size: usize,
    /// Width of a token.
    pub dim: usize,
    /// Number of blocks.
    pub depth: usize,
    /// Number of attention heads.
    pub heads: usize,
    /// Inputs of `mlp.fc2`; `mlp.fc1` has as many outputs, or twice as many with SwiGLU.
    pub mlp_hidden: usize,
    /// The layer between `fc1` and `fc2`.
    pub mlp: MlpKind,
    /// Added to the variance in every layer norm.
    pub norm_eps: f64,
    /// A layer norm in front of the first block (CLIP).
    pub pre_norm: bool,
    /// Whether the patch projection has a bias.
    pub patch_bias: bool,
    /// Whether `attn.qkv` has a bias.
    pub qkv_bias: bool,
    /// Whether both branches of a block are scaled per channel (DINOv2).
    pub layer_scale: bool,
    /// Number of register tokens.
    pub registers: usize,
    /// Rows of the position table in front of those for patches: none, one for the
    /// class token (registers then get no position), or one for every prefix token.
    pub pos_embed_prefix: usize,
    /// How tokens become one feature.
    pub pool: Pool,
    /// How the library of this layout resamples the position table.
    pub pos_resample: PosResample,
    /// The backbone's own classifier, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<HeadKind>,
    /// Width of the space shared with text (CLIP), if there is a projection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub projection_dim: Option<usize>,
}

/// No real model is near this; larger numbers come from damaged files.
const MAX: usize = 1 << 20;

impl VitConfig {
    /// Rows and columns of patches.
    pub fn grid(&self) -> (usize, usize) {
        let side = |pixels: usize| pixels.checked_div(self.patch_size).unwrap_or(0);
        (side(self.image_size.0), side(self.image_size.1))
    }

    /// Tokens in a block: class token, registers, patches.
    pub fn tokens(&self) -> usize {
        let (rows, cols) = self.grid();
        1 + self.registers + rows * cols
    }

    /// Name and shape of every tensor of the transformer, without classifier and
    /// projection. Names are timm's.
    pub fn tensors(&self) -> Vec<(String, Vec<usize>)> {
        let (dim, patch, hidden) = (self.dim, self.patch_size, self.mlp_hidden);
        let (rows, cols) = self.grid();
        let mut all: Vec<(String, Vec<usize>)> = Vec::new();
        let mut add = |name: String, shape: &[usize]| all.push((name, shape.to_vec()));
        add("cls_token".into(), &[1, 1, dim]);
        if self.registers > 0 {
            add("reg_token".into(), &[1, self.registers, dim]);
        }
        add("pos_embed".into(), &[1, self.pos_embed_prefix + rows * cols, dim]);
        add("patch_embed.proj.weight".into(), &[dim, 3, patch, patch]);
        if self.patch_bias {
            add("patch_embed.proj.bias".into(), &[dim]);
        }
        let mut norms = vec![];
        if self.pre_norm {
            norms.push("norm_pre".to_owned());
        }
        let fc1 = if self.mlp == MlpKind::SwiGlu { 2 * hidden } else { hidden };
        for index in 0..self.depth {
            let block = format!("blocks.{index}");
            norms.extend([format!("{block}.norm1"), format!("{block}.norm2")]);
            for (name, out, width, bias) in [
                ("attn.qkv", 3 * dim, dim, self.qkv_bias),
                ("attn.proj", dim, dim, true),
                ("mlp.fc1", fc1, dim, true),
                ("mlp.fc2", dim, hidden, true),
            ] {
                add(format!("{block}.{name}.weight"), &[out, width]);
                if bias {
                    add(format!("{block}.{name}.bias"), &[out]);
                }
            }
            if self.layer_scale {
                add(format!("{block}.ls1.gamma"), &[dim]);
                add(format!("{block}.ls2.gamma"), &[dim]);
            }
        }
        norms.push(if self.pool == Pool::Avg { "fc_norm" } else { "norm" }.to_owned());
        for norm in norms {
            add(format!("{norm}.weight"), &[dim]);
            add(format!("{norm}.bias"), &[dim]);
        }
        all
    }

    /// How many numbers [`VitConfig::tensors`] hold.
    pub fn parameters(&self) -> usize {
        self.tensors().iter().map(|(_, shape)| shape.iter().product::<usize>()).sum()
    }

    /// Inputs of the backbone's own classifier.
    pub fn head_width(&self) -> Option<usize> {
        self.head.map(|head| head.width(self.dim))
    }

    /// Refuses numbers that fit no transformer. Call it on anything read from a
    /// file; `path` is for the message.
    ///
    /// # Errors
    /// Names the first field that cannot be.
    pub fn check(&self, path: &Path) -> Result<()> {
        let fail = |key: &str, reason: String| {
            Err(BackboneError::Key { path: path.into(), key: key.into(), reason })
        };
        let (height, width) = self.image_size;
        for (key, value) in [
            ("image_size", height),
            ("image_size", width),
            ("patch_size", self.patch_size),
            ("dim", self.dim),
            ("depth", self.depth),
            ("heads", self.heads),
            ("mlp_hidden", self.mlp_hidden),
            ("projection_dim", self.projection_dim.unwrap_or(1)),
        ] {
            let max = if key == "depth" { 1000 } else { MAX };
            if !(1..=max).contains(&value) {
                return fail(key, format!("is {value}; it must be within 1 to {max}"));
            }
        }
        if [height, width].iter().any(|side| !side.is_multiple_of(self.patch_size)) {
            let patch = self.patch_size;
            return fail(
                "image_size",
                format!("{height} x {width} is not whole patches of {patch}"),
            );
        }
        if !self.dim.is_multiple_of(self.heads) {
            return fail("heads", format!("= {} does not divide dim = {}", self.heads, self.dim));
        }
        if !(self.norm_eps.is_finite() && self.norm_eps > 0.0) {
            return fail("norm_eps", format!("is {}; it must be above 0", self.norm_eps));
        }
        let (prefix, registers) = (self.pos_embed_prefix, self.registers);
        if registers > MAX || ![0, 1, 1 + registers].contains(&prefix) {
            return fail("pos_embed_prefix", format!("is {prefix} with {registers} registers"));
        }
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Small, but with everything that a checkpoint may have.
    pub(crate) fn full() -> VitConfig {
        VitConfig {
            image_size: (6, 4),
            patch_size: 2,
            dim: 4,
            depth: 2,
            heads: 2,
            mlp_hidden: 8,
            mlp: MlpKind::Gelu,
            norm_eps: 1e-6,
            pre_norm: true,
            patch_bias: true,
            qkv_bias: true,
            layer_scale: true,
            registers: 2,
            pos_embed_prefix: 1,
            pool: Pool::Cls,
            pos_resample: PosResample::TimmAntialias,
            head: Some(HeadKind::Pooled),
            projection_dim: Some(3),
        }
    }

    #[test]
    fn tensors_follow_the_flags() {
        let shape = |config: &VitConfig, name: &str| {
            config.tensors().into_iter().find(|(n, _)| n == name).map(|(_, shape)| shape)
        };
        let mut config = full();
        assert_eq!((config.grid(), config.tokens()), ((3, 2), 9));
        assert_eq!(shape(&config, "pos_embed"), Some(vec![1, 7, 4]));
        assert_eq!(shape(&config, "blocks.1.attn.qkv.weight"), Some(vec![12, 4]));
        assert_eq!(config.tensors().len(), 5 + 4 + 2 * 14);
        config.mlp = MlpKind::SwiGlu;
        config.pool = Pool::Avg;
        config.qkv_bias = false;
        assert_eq!(shape(&config, "blocks.0.mlp.fc1.weight"), Some(vec![16, 4]));
        assert_eq!(shape(&config, "blocks.0.mlp.fc2.weight"), Some(vec![4, 8]));
        assert_eq!(shape(&config, "fc_norm.bias"), Some(vec![4]));
        assert_eq!(
            (shape(&config, "norm.bias"), shape(&config, "blocks.0.attn.qkv.bias")),
            (None, None)
        );
    }

    #[test]
    fn impossible_numbers_are_refused() {
        let cases: [fn(&mut VitConfig); 7] = [
            |c| c.registers = usize::MAX,
            |c| c.patch_size = 0,
            |c| c.heads = 3,
            |c| c.depth = 1 << 40,
            |c| c.norm_eps = f64::NAN,
            |c| c.pos_embed_prefix = 2,
            |c| c.image_size = (7, 4),
        ];
        full().check(Path::new("here")).unwrap();
        for (i, spoil) in cases.iter().enumerate() {
            let mut config = full();
            spoil(&mut config);
            let error = config.check(Path::new("here")).unwrap_err().to_string();
            assert!(error.starts_with("here: `"), "{i}: {error}");
        }
    }

    #[test]
    fn serialised_as_toml() {
        let text = toml::to_string(&full()).unwrap();
        assert!(text.contains("mlp = \"gelu\"") && text.contains("image_size = [6, 4]"), "{text}");
        assert_eq!(toml::from_str::<VitConfig>(&text).unwrap(), full());
        assert!(toml::from_str::<VitConfig>(&(text + "width = 3\n")).is_err());
    }
}
