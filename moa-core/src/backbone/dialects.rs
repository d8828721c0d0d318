//! The names of the six layouts, as tables.
//!
//! A row gives the tensors on disk for a name of ours; `#` is the number of a block.
//! A row without `.weight` or `.bias` stands for both. A name on disk that begins
//! with `/` is outside the vision tower's prefix.

use super::detect::Layout;

/// How the numbers of a tensor lie on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// With the shape that we use; several tensors are stacked along dimension 0.
    Same,
    /// Without leading dimensions of 1.
    Flat,
    /// With rows and columns exchanged.
    Transposed,
}

/// Our name, the names on disk, and how they lie there.
pub(super) struct Row(pub &'static str, pub &'static [&'static str], pub Form);

/// One way to name the tensors of a layout.
pub(super) struct Dialect {
    pub layouts: &'static [Layout],
    /// What may stand in front of all names of the vision tower.
    pub prefixes: &'static [&'static str],
    /// Several lists, because dialects share some.
    pub rows: &'static [&'static [Row]],
    /// Tensors (or, ending in `.`, modules) that take no part in an image's
    /// feature: text towers, mask tokens, and so on.
    pub ignored: &'static [&'static str],
}

const fn same(ours: &'static str, disk: &'static [&'static str]) -> Row {
    Row(ours, disk, Form::Same)
}

const fn flat(ours: &'static str, disk: &'static [&'static str]) -> Row {
    Row(ours, disk, Form::Flat)
}

/// All dialects; of equally fitting ones the first is taken.
pub(super) static DIALECTS: &[Dialect] = &[
    // Names are our own.
    Dialect { layouts: &[Layout::Timm], prefixes: &[""], rows: &[], ignored: &["mask_token"] },
    Dialect {
        layouts: &[Layout::OpenClip],
        prefixes: &["visual."],
        rows: &[OPEN_CLIP],
        ignored: &[
            "/logit_scale",
            "/logit_bias",
            "/positional_embedding",
            "/text_projection",
            "/text_projection.",
            "/token_embedding.",
            "/transformer.",
            "/ln_final.",
            "/text.",
        ],
    },
    Dialect {
        layouts: &[Layout::HfClip],
        prefixes: &["vision_model.", ""],
        rows: &[HF_CLIP],
        ignored: &[
            "embeddings.position_ids",
            "/logit_scale",
            "/text_model.",
            "/text_projection.",
            "/visual_projection.",
        ],
    },
    Dialect {
        layouts: &[Layout::HfVit],
        prefixes: &["vit.", ""],
        rows: &[HF_OUTSIDE_BLOCKS, HF_ATTENTION, HF_VIT],
        ignored: &["pooler.", "embeddings.mask_token"],
    },
    // The names of transformers >= 5.9 in memory, found in files not written by
    // its own `save_pretrained`.
    Dialect {
        layouts: &[Layout::HfVit],
        prefixes: &["vit.", ""],
        rows: &[HF_OUTSIDE_BLOCKS, HF_VIT_MEMORY],
        ignored: &["pooler.", "embeddings.mask_token"],
    },
    Dialect {
        layouts: &[Layout::HfDinov2, Layout::HfDinov2WithRegisters],
        prefixes: &["dinov2.", "dinov2_with_registers.", ""],
        rows: &[HF_OUTSIDE_BLOCKS, HF_ATTENTION, DINOV2_BLOCKS, DINOV2],
        ignored: &["embeddings.mask_token"],
    },
    Dialect {
        layouts: &[Layout::HfDinov2, Layout::HfDinov2WithRegisters],
        prefixes: &["dinov2.", "dinov2_with_registers.", ""],
        rows: &[HF_OUTSIDE_BLOCKS, DINOV2_BLOCKS, DINOV2_MEMORY],
        ignored: &["embeddings.mask_token"],
    },
];

const OPEN_CLIP: &[Row] = &[
    flat("cls_token", &["class_embedding"]),
    flat("pos_embed", &["positional_embedding"]),
    same("patch_embed.proj", &["conv1"]),
    same("norm_pre", &["ln_pre"]),
    same("blocks.#.norm1", &["transformer.resblocks.#.ln_1"]),
    same("blocks.#.attn.qkv.weight", &["transformer.resblocks.#.attn.in_proj_weight"]),
    same("blocks.#.attn.qkv.bias", &["transformer.resblocks.#.attn.in_proj_bias"]),
    same("blocks.#.attn.proj", &["transformer.resblocks.#.attn.out_proj"]),
    same("blocks.#.ls1.gamma", &["transformer.resblocks.#.ls_1.gamma"]),
    same("blocks.#.norm2", &["transformer.resblocks.#.ln_2"]),
    same("blocks.#.mlp.fc1", &["transformer.resblocks.#.mlp.c_fc"]),
    same("blocks.#.mlp.fc2", &["transformer.resblocks.#.mlp.c_proj"]),
    same("blocks.#.ls2.gamma", &["transformer.resblocks.#.ls_2.gamma"]),
    same("norm", &["ln_post"]),
    // `x @ proj`: inputs are rows.
    Row("projection.weight", &["proj"], Form::Transposed),
    // The text tower's blocks are named as those above.
    same("text.tokens", &["token_embedding"]),
    same("text.norm", &["ln_final"]),
    Row("text.projection.weight", &["text_projection"], Form::Transposed),
];

const HF_CLIP: &[Row] = &[
    flat("cls_token", &["embeddings.class_embedding"]),
    flat("pos_embed", &["embeddings.position_embedding.weight"]),
    same("patch_embed.proj", &["embeddings.patch_embedding"]),
    // Spelt so since the first release.
    same("norm_pre", &["pre_layrnorm"]),
    same("blocks.#.norm1", &["encoder.layers.#.layer_norm1"]),
    same(
        "blocks.#.attn.qkv",
        &[
            "encoder.layers.#.self_attn.q_proj",
            "encoder.layers.#.self_attn.k_proj",
            "encoder.layers.#.self_attn.v_proj",
        ],
    ),
    same("blocks.#.attn.proj", &["encoder.layers.#.self_attn.out_proj"]),
    same("blocks.#.norm2", &["encoder.layers.#.layer_norm2"]),
    same("blocks.#.mlp.fc1", &["encoder.layers.#.mlp.fc1"]),
    same("blocks.#.mlp.fc2", &["encoder.layers.#.mlp.fc2"]),
    same("norm", &["post_layernorm"]),
    same("projection.weight", &["/visual_projection.weight"]),
    same("text.tokens", &["embeddings.token_embedding"]),
    same("text.norm", &["final_layer_norm"]),
    same("text.projection.weight", &["/text_projection.weight"]),
];

/// ViT and Dinov2.
const HF_OUTSIDE_BLOCKS: &[Row] = &[
    same("cls_token", &["embeddings.cls_token"]),
    same("reg_token", &["embeddings.register_tokens"]),
    same("pos_embed", &["embeddings.position_embeddings"]),
    same("patch_embed.proj", &["embeddings.patch_embeddings.projection"]),
    same("norm", &["layernorm"]),
    same("head", &["/classifier"]),
];

/// ViT and Dinov2 on disk.
const HF_ATTENTION: &[Row] = &[
    same(
        "blocks.#.attn.qkv",
        &[
            "encoder.layer.#.attention.attention.query",
            "encoder.layer.#.attention.attention.key",
            "encoder.layer.#.attention.attention.value",
        ],
    ),
    same("blocks.#.attn.proj", &["encoder.layer.#.attention.output.dense"]),
];

const HF_VIT: &[Row] = &[
    same("blocks.#.norm1", &["encoder.layer.#.layernorm_before"]),
    same("blocks.#.norm2", &["encoder.layer.#.layernorm_after"]),
    same("blocks.#.mlp.fc1", &["encoder.layer.#.intermediate.dense"]),
    same("blocks.#.mlp.fc2", &["encoder.layer.#.output.dense"]),
];

const HF_VIT_MEMORY: &[Row] = &[
    same("blocks.#.norm1", &["layers.#.layernorm_before"]),
    same(
        "blocks.#.attn.qkv",
        &["layers.#.attention.q_proj", "layers.#.attention.k_proj", "layers.#.attention.v_proj"],
    ),
    same("blocks.#.attn.proj", &["layers.#.attention.o_proj"]),
    same("blocks.#.norm2", &["layers.#.layernorm_after"]),
    same("blocks.#.mlp.fc1", &["layers.#.mlp.fc1"]),
    same("blocks.#.mlp.fc2", &["layers.#.mlp.fc2"]),
];

const DINOV2_BLOCKS: &[Row] = &[
    same("blocks.#.norm1", &["encoder.layer.#.norm1"]),
    same("blocks.#.ls1.gamma", &["encoder.layer.#.layer_scale1.lambda1"]),
    same("blocks.#.norm2", &["encoder.layer.#.norm2"]),
    same("blocks.#.mlp.fc1", &["encoder.layer.#.mlp.fc1"]),
    same("blocks.#.mlp.fc2", &["encoder.layer.#.mlp.fc2"]),
    same("blocks.#.ls2.gamma", &["encoder.layer.#.layer_scale2.lambda1"]),
];

const DINOV2: &[Row] = &[
    same("blocks.#.mlp.swiglu.fc1", &["encoder.layer.#.mlp.weights_in"]),
    same("blocks.#.mlp.swiglu.fc2", &["encoder.layer.#.mlp.weights_out"]),
];

const DINOV2_MEMORY: &[Row] = &[
    same(
        "blocks.#.attn.qkv",
        &[
            "encoder.layer.#.attention.q_proj",
            "encoder.layer.#.attention.k_proj",
            "encoder.layer.#.attention.v_proj",
        ],
    ),
    same("blocks.#.attn.proj", &["encoder.layer.#.attention.o_proj"]),
    same(
        "blocks.#.mlp.swiglu.fc1",
        &["encoder.layer.#.mlp.gate_proj", "encoder.layer.#.mlp.up_proj"],
    ),
    same("blocks.#.mlp.swiglu.fc2", &["encoder.layer.#.mlp.down_proj"]),
];
