//! The table: one row a model type.

use super::flavour::{
    After, At, BlockNames, Ending, Flavour, Inner, Input, Last, Offsets, Patches, Positions,
    Scales, Sizes,
};

const SAID: Sizes = Sizes {
    width: None,
    inner: None,
    blocks: None,
    heads: None,
    vocabulary: None,
    positions: None,
};

const BASE: Sizes = Sizes {
    width: Some(768),
    inner: Some(3072),
    blocks: Some(12),
    heads: Some(12),
    vocabulary: None,
    positions: None,
};

const PATCHES: Patches = Patches {
    projection: "embeddings.patch_embeddings.projection",
    bias: true,
    tokens: &["embeddings.cls_token"],
    flat_tokens: false,
    registers: "",
    norm: "",
    side: 16,
};

const VIT_BLOCK: BlockNames = BlockNames {
    norms: ["layernorm_before", "layernorm_after"],
    query: "attention.attention.query",
    key: "attention.attention.key",
    value: "attention.attention.value",
    output: "attention.output.dense",
    up: "intermediate.dense",
    down: "output.dense",
};

const CLIP_BLOCK: BlockNames = BlockNames {
    norms: ["layer_norm1", "layer_norm2"],
    query: "self_attn.q_proj",
    key: "self_attn.k_proj",
    value: "self_attn.v_proj",
    output: "self_attn.out_proj",
    up: "mlp.fc1",
    down: "mlp.fc2",
};

/// All positions through the last norm.
const STATES: Ending = Ending {
    class: "ViTModel",
    only_if: None,
    at: At::All,
    norm: "layernorm",
    after: After::Nothing,
    last: Last::Nothing,
};

/// The class token to a classifier.
const CLASSES: Ending = Ending {
    class: "ViTForImageClassification",
    at: At::First,
    last: Last::Classifier("classifier"),
    ..STATES
};

const VIT: Flavour = Flavour {
    model_type: "vit",
    summary: "vision transformer over square patches with a class token, with a classifier or without",
    integer_only: true,
    prefix: "vit.",
    input: Input::Patches(PATCHES),
    positions: Positions::Stacked("embeddings.position_embeddings"),
    blocks: "encoder.layer",
    block: VIT_BLOCK,
    sizes: SAID,
    inner: Inner::Key,
    epsilon: 1e-12,
    activation: "gelu",
    causal: false,
    qkv_bias: true,
    key_bias: true,
    scales: Scales::None,
    offsets: None,
    endings: &[CLASSES, STATES],
};

const DEIT: Flavour = Flavour {
    model_type: "deit",
    summary: "ViT with a distillation token beside the class token, with one classifier or two",
    prefix: "deit.",
    input: Input::Patches(Patches {
        tokens: &["embeddings.cls_token", "embeddings.distillation_token"],
        ..PATCHES
    }),
    endings: &[
        Ending {
            class: "DeiTForImageClassificationWithTeacher",
            at: At::All,
            last: Last::Classifiers(&["cls_classifier", "distillation_classifier"]),
            ..CLASSES
        },
        Ending {
            class: "DeiTForImageClassification",
            ..CLASSES
        },
        Ending {
            class: "DeiTModel",
            ..STATES
        },
    ],
    ..VIT
};

const DINO_CLASSES: Ending = Ending {
    class: "Dinov2ForImageClassification",
    at: At::All,
    after: After::FirstAndMeanOfPatches,
    ..CLASSES
};

const DINOV2: Flavour = Flavour {
    model_type: "dinov2",
    summary: "ViT with a factor per channel on each half, plain or gated feed-forward halves",
    integer_only: false,
    prefix: "dinov2.",
    input: Input::Patches(Patches {
        side: 14,
        ..PATCHES
    }),
    block: BlockNames {
        norms: ["norm1", "norm2"],
        up: "mlp.fc1",
        down: "mlp.fc2",
        ..VIT_BLOCK
    },
    inner: Inner::Ratio(["mlp.weights_in", "mlp.weights_out"]),
    epsilon: 1e-6,
    scales: Scales::Always(["layer_scale1.lambda1", "layer_scale2.lambda1"]),
    endings: &[
        DINO_CLASSES,
        Ending {
            class: "Dinov2Model",
            ..STATES
        },
    ],
    ..VIT
};

const DINOV2_WITH_REGISTERS: Flavour = Flavour {
    model_type: "dinov2_with_registers",
    summary: "dinov2 with register tokens between the class token and the patches",
    prefix: "dinov2_with_registers.",
    input: Input::Patches(Patches {
        registers: "embeddings.register_tokens",
        ..PATCHES
    }),
    endings: &[
        Ending {
            class: "Dinov2WithRegistersForImageClassification",
            ..DINO_CLASSES
        },
        Ending {
            class: "Dinov2WithRegistersModel",
            ..STATES
        },
    ],
    ..DINOV2
};

/// Of endings that are for models with mean pooling.
const MEAN_POOLING: Option<(&str, bool, bool)> = Some(("use_mean_pooling", true, true));

const BEIT: Flavour = Flavour {
    model_type: "beit",
    summary: "ViT with relative position biases on attention scores and a factor per channel on each half",
    integer_only: false,
    prefix: "beit.",
    positions: Positions::StackedIf(
        "use_absolute_position_embeddings",
        "embeddings.position_embeddings",
    ),
    key_bias: false,
    qkv_bias: false,
    scales: Scales::IfAbove("layer_scale_init_value", 0.1, ["lambda_1", "lambda_2"]),
    offsets: Some(Offsets {
        own: (
            "use_relative_position_bias",
            "attention.attention.relative_position_bias.relative_position_bias_table",
        ),
        shared: (
            "use_shared_relative_position_bias",
            "encoder.relative_position_bias.relative_position_bias_table",
        ),
    }),
    endings: &[
        Ending {
            class: "BeitForImageClassification",
            only_if: MEAN_POOLING,
            at: At::MeanOfPatches,
            norm: "pooler.layernorm",
            ..CLASSES
        },
        Ending {
            class: "BeitForImageClassification",
            ..CLASSES
        },
        Ending {
            class: "BeitModel",
            only_if: MEAN_POOLING,
            norm: "",
            ..STATES
        },
        Ending {
            class: "BeitModel",
            ..STATES
        },
    ],
    ..VIT
};

pub(super) const CLIP_VISION: Flavour = Flavour {
    model_type: "clip_vision_model",
    summary: "the image tower of CLIP: an embedding of the class token, projected or not",
    integer_only: false,
    prefix: "vision_model.",
    input: Input::Patches(Patches {
        projection: "embeddings.patch_embedding",
        bias: false,
        tokens: &["embeddings.class_embedding"],
        flat_tokens: true,
        registers: "",
        norm: "pre_layrnorm",
        side: 32,
    }),
    positions: Positions::Table("embeddings.position_embedding.weight"),
    blocks: "encoder.layers",
    block: CLIP_BLOCK,
    sizes: BASE,
    epsilon: 1e-5,
    activation: "quick_gelu",
    qkv_bias: false,
    endings: &[
        Ending {
            class: "CLIPVisionModelWithProjection",
            at: At::First,
            norm: "post_layernorm",
            last: Last::Projection("visual_projection", "projection_dim"),
            ..STATES
        },
        Ending {
            class: "CLIPForImageClassification",
            at: At::MeanOfPatches,
            norm: "",
            ..CLASSES
        },
        Ending {
            class: "CLIPVisionModel",
            at: At::First,
            norm: "post_layernorm",
            ..STATES
        },
    ],
    ..VIT
};

pub(super) const CLIP_TEXT: Flavour = Flavour {
    model_type: "clip_text_model",
    summary: "the text tower of CLIP: causal, its embedding is that of the end-of-text token",
    integer_only: false,
    prefix: "text_model.",
    input: Input::Tokens,
    sizes: Sizes {
        width: Some(512),
        inner: Some(2048),
        heads: Some(8),
        vocabulary: Some(49_408),
        positions: Some(77),
        ..BASE
    },
    causal: true,
    endings: &[
        Ending {
            class: "CLIPTextModelWithProjection",
            at: At::Last,
            norm: "final_layer_norm",
            last: Last::Projection("text_projection", "projection_dim"),
            ..STATES
        },
        Ending {
            class: "CLIPTextModel",
            norm: "final_layer_norm",
            ..STATES
        },
    ],
    ..CLIP_VISION
};

pub(super) const SIGLIP_VISION: Flavour = Flavour {
    model_type: "siglip_vision_model",
    summary: "the image tower of SigLIP: its embedding is attention of a learned query over the patches",
    integer_only: false,
    input: Input::Patches(Patches {
        projection: "embeddings.patch_embedding",
        tokens: &[],
        ..PATCHES
    }),
    epsilon: 1e-6,
    activation: "gelu_pytorch_tanh",
    endings: &[
        Ending {
            class: "SiglipForImageClassification",
            at: At::All,
            norm: "post_layernorm",
            after: After::MeanOfPatches,
            ..CLASSES
        },
        Ending {
            class: "SiglipVisionModel",
            only_if: Some(("vision_use_head", true, true)),
            norm: "post_layernorm",
            after: After::Probe("head"),
            ..STATES
        },
        Ending {
            class: "SiglipVisionModel",
            norm: "post_layernorm",
            ..STATES
        },
    ],
    ..CLIP_VISION
};

pub(super) const SIGLIP_TEXT: Flavour = Flavour {
    model_type: "siglip_text_model",
    summary: "the text tower of SigLIP: its embedding is that of the last token",
    integer_only: false,
    sizes: Sizes {
        vocabulary: Some(32_000),
        positions: Some(64),
        ..BASE
    },
    epsilon: 1e-6,
    activation: "gelu_pytorch_tanh",
    causal: false,
    endings: &[Ending {
        class: "SiglipTextModel",
        at: At::Last,
        norm: "final_layer_norm",
        last: Last::Head("head", "projection_size"),
        ..STATES
    }],
    ..CLIP_TEXT
};

/// Every row.
pub(crate) static FLAVOURS: &[Flavour] = &[
    VIT,
    DEIT,
    DINOV2,
    DINOV2_WITH_REGISTERS,
    BEIT,
    CLIP_VISION,
    CLIP_TEXT,
    SIGLIP_VISION,
    SIGLIP_TEXT,
];
