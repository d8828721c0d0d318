//! The architectures of timm's `vision_transformer.py` and `deit.py` that have a
//! class token, a learned position table and plain blocks, from timm 1.0.31.

use super::kinds::MlpKind;

/// Name, image size, patch size, widths, and what else sets it apart.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arch(pub &'static str, pub usize, pub usize, pub Size, pub Family);

/// Widths and numbers of a transformer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    pub dim: usize,
    pub depth: usize,
    pub heads: usize,
    /// Outputs of `mlp.fc1` per channel.
    pub mlp_ratio: f64,
}

/// Traits of a family of models.
#[derive(Clone, Copy, Debug)]
pub(super) struct Family {
    pub mlp: MlpKind,
    pub norm_eps: f64,
    /// Then the patch projection has no bias.
    pub pre_norm: bool,
    pub qkv_bias: bool,
    pub layer_scale: bool,
    pub registers: usize,
    /// The position table has rows for patches only.
    pub no_embed_class: bool,
    /// Average pooling unless the checkpoint says otherwise.
    pub averaged: bool,
}

const fn size(dim: usize, depth: usize, heads: usize, mlp_ratio: f64) -> Size {
    Size { dim, depth, heads, mlp_ratio }
}

const TEST: Size = size(64, 6, 2, 3.0);
const XSMALL: Size = size(256, 10, 4, 4.0);
const TINY: Size = size(192, 12, 3, 4.0);
const SMALL: Size = size(384, 12, 6, 4.0);
const SMALL_36: Size = size(384, 36, 6, 4.0);
const MEDIUM: Size = size(512, 12, 8, 4.0);
const BETWIXT: Size = size(640, 12, 10, 4.0);
const BASE: Size = size(768, 12, 12, 4.0);
const PLUS: Size = size(896, 12, 14, 4.0);
const LARGE: Size = size(1024, 24, 16, 4.0);
const SO400M: Size = size(1152, 27, 16, 4304.0 / 1152.0);
const HUGE: Size = size(1280, 32, 16, 4.0);
const GIANT: Size = size(1408, 40, 16, 48.0 / 11.0);
const GIGANTIC: Size = size(1664, 48, 16, 64.0 / 13.0);
const DINOV2_GIANT: Size = size(1536, 40, 24, 2.66667 * 2.0);

const PLAIN: Family = Family {
    mlp: MlpKind::Gelu,
    norm_eps: 1e-6,
    pre_norm: false,
    qkv_bias: true,
    layer_scale: false,
    registers: 0,
    no_embed_class: false,
    averaged: false,
};
const AVERAGED: Family = Family { averaged: true, ..PLAIN };
const NO_QKV_BIAS: Family = Family { qkv_bias: false, ..PLAIN };
const NO_EMBED_CLASS: Family = Family { no_embed_class: true, ..PLAIN };
const CLIP: Family = Family { norm_eps: 1e-5, pre_norm: true, ..PLAIN };
const CLIP_QUICK: Family = Family { mlp: MlpKind::QuickGelu, ..CLIP };
const SCALED: Family = Family { layer_scale: true, ..PLAIN };
const DEIT3: Family = Family { no_embed_class: true, ..SCALED };
const REG1: Family = Family { registers: 1, ..DEIT3 };
const REG4: Family = Family { registers: 4, ..DEIT3 };
const DINOV2_SWIGLU: Family = Family { mlp: MlpKind::SwiGlu, ..SCALED };
const REG1_SWIGLU: Family = Family { mlp: MlpKind::SwiGlu, ..REG1 };
const REG4_SWIGLU: Family = Family { mlp: MlpKind::SwiGlu, ..REG4 };

/// All of them, by name.
pub(super) static ARCHS: &[Arch] = &[
    Arch("deit3_base_patch16_224", 224, 16, BASE, DEIT3),
    Arch("deit3_base_patch16_384", 384, 16, BASE, DEIT3),
    Arch("deit3_huge_patch14_224", 224, 14, HUGE, DEIT3),
    Arch("deit3_large_patch16_224", 224, 16, LARGE, DEIT3),
    Arch("deit3_large_patch16_384", 384, 16, LARGE, DEIT3),
    Arch("deit3_medium_patch16_224", 224, 16, MEDIUM, DEIT3),
    Arch("deit3_small_patch16_224", 224, 16, SMALL, DEIT3),
    Arch("deit3_small_patch16_384", 384, 16, SMALL, DEIT3),
    Arch("deit_base_patch16_224", 224, 16, BASE, PLAIN),
    Arch("deit_base_patch16_384", 384, 16, BASE, PLAIN),
    Arch("deit_small_patch16_224", 224, 16, SMALL, PLAIN),
    Arch("deit_tiny_patch16_224", 224, 16, TINY, PLAIN),
    Arch("eva_large_patch14_196", 196, 14, LARGE, AVERAGED),
    Arch("eva_large_patch14_336", 336, 14, LARGE, AVERAGED),
    Arch("flexivit_base", 240, 16, BASE, NO_EMBED_CLASS),
    Arch("flexivit_large", 240, 16, LARGE, NO_EMBED_CLASS),
    Arch("flexivit_small", 240, 16, SMALL, NO_EMBED_CLASS),
    Arch("test_vit", 160, 16, TEST, PLAIN),
    Arch("vit_base_patch8_224", 224, 8, BASE, PLAIN),
    Arch("vit_base_patch14_dinov2", 518, 14, BASE, SCALED),
    Arch("vit_base_patch14_reg1_tipsv2", 448, 14, BASE, REG1),
    Arch("vit_base_patch14_reg4_dinov2", 518, 14, BASE, REG4),
    Arch("vit_base_patch16_224", 224, 16, BASE, PLAIN),
    Arch("vit_base_patch16_224_miil", 224, 16, BASE, NO_QKV_BIAS),
    Arch("vit_base_patch16_384", 384, 16, BASE, PLAIN),
    Arch("vit_base_patch16_clip_224", 224, 16, BASE, CLIP),
    Arch("vit_base_patch16_clip_384", 384, 16, BASE, CLIP),
    Arch("vit_base_patch16_clip_quickgelu_224", 224, 16, BASE, CLIP_QUICK),
    Arch("vit_base_patch16_plus_240", 240, 16, PLUS, SCALED),
    Arch("vit_base_patch16_plus_clip_240", 240, 16, PLUS, CLIP),
    Arch("vit_base_patch32_224", 224, 32, BASE, PLAIN),
    Arch("vit_base_patch32_384", 384, 32, BASE, PLAIN),
    Arch("vit_base_patch32_clip_224", 224, 32, BASE, CLIP),
    Arch("vit_base_patch32_clip_256", 256, 32, BASE, CLIP),
    Arch("vit_base_patch32_clip_384", 384, 32, BASE, CLIP),
    Arch("vit_base_patch32_clip_448", 448, 32, BASE, CLIP),
    Arch("vit_base_patch32_clip_quickgelu_224", 224, 32, BASE, CLIP_QUICK),
    Arch("vit_base_patch32_plus_256", 256, 32, PLUS, SCALED),
    Arch("vit_betwixt_patch32_clip_224", 224, 32, BETWIXT, CLIP),
    Arch("vit_giant_patch14_224", 224, 14, GIANT, PLAIN),
    Arch("vit_giant_patch14_clip_224", 224, 14, GIANT, CLIP),
    Arch("vit_giant_patch14_dinov2", 518, 14, DINOV2_GIANT, DINOV2_SWIGLU),
    Arch("vit_giant_patch14_reg1_tipsv2", 448, 14, DINOV2_GIANT, REG1_SWIGLU),
    Arch("vit_giant_patch14_reg4_dinov2", 518, 14, DINOV2_GIANT, REG4_SWIGLU),
    Arch("vit_gigantic_patch14_224", 224, 14, GIGANTIC, PLAIN),
    Arch("vit_gigantic_patch14_clip_224", 224, 14, GIGANTIC, CLIP),
    Arch("vit_gigantic_patch14_clip_378", 378, 14, GIGANTIC, CLIP),
    Arch("vit_gigantic_patch14_clip_quickgelu_224", 224, 14, GIGANTIC, CLIP_QUICK),
    Arch("vit_huge_patch14_224", 224, 14, HUGE, PLAIN),
    Arch("vit_huge_patch14_clip_224", 224, 14, HUGE, CLIP),
    Arch("vit_huge_patch14_clip_336", 336, 14, HUGE, CLIP),
    Arch("vit_huge_patch14_clip_378", 378, 14, HUGE, CLIP),
    Arch("vit_huge_patch14_clip_quickgelu_224", 224, 14, HUGE, CLIP_QUICK),
    Arch("vit_huge_patch14_clip_quickgelu_378", 378, 14, HUGE, CLIP_QUICK),
    Arch("vit_large_patch14_224", 224, 14, LARGE, PLAIN),
    Arch("vit_large_patch14_clip_224", 224, 14, LARGE, CLIP),
    Arch("vit_large_patch14_clip_336", 336, 14, LARGE, CLIP),
    Arch("vit_large_patch14_clip_quickgelu_224", 224, 14, LARGE, CLIP_QUICK),
    Arch("vit_large_patch14_clip_quickgelu_336", 336, 14, LARGE, CLIP_QUICK),
    Arch("vit_large_patch14_dinov2", 518, 14, LARGE, SCALED),
    Arch("vit_large_patch14_reg1_tipsv2", 448, 14, LARGE, REG1),
    Arch("vit_large_patch14_reg4_dinov2", 518, 14, LARGE, REG4),
    Arch("vit_large_patch16_224", 224, 16, LARGE, PLAIN),
    Arch("vit_large_patch16_384", 384, 16, LARGE, PLAIN),
    Arch("vit_large_patch32_224", 224, 32, LARGE, PLAIN),
    Arch("vit_large_patch32_384", 384, 32, LARGE, PLAIN),
    Arch("vit_medium_patch16_clip_224", 224, 16, MEDIUM, CLIP),
    Arch("vit_medium_patch32_clip_224", 224, 32, MEDIUM, CLIP),
    Arch("vit_small_patch8_224", 224, 8, SMALL, PLAIN),
    Arch("vit_small_patch14_dinov2", 518, 14, SMALL, SCALED),
    Arch("vit_small_patch14_reg4_dinov2", 518, 14, SMALL, REG4),
    Arch("vit_small_patch16_36x1_224", 224, 16, SMALL_36, SCALED),
    Arch("vit_small_patch16_224", 224, 16, SMALL, PLAIN),
    Arch("vit_small_patch16_384", 384, 16, SMALL, PLAIN),
    Arch("vit_small_patch32_224", 224, 32, SMALL, PLAIN),
    Arch("vit_small_patch32_384", 384, 32, SMALL, PLAIN),
    Arch("vit_so400m_patch14_reg1_tipsv2", 448, 14, SO400M, REG1),
    Arch("vit_tiny_patch16_224", 224, 16, TINY, PLAIN),
    Arch("vit_tiny_patch16_384", 384, 16, TINY, PLAIN),
    Arch("vit_xsmall_patch16_clip_224", 224, 16, XSMALL, CLIP),
];
