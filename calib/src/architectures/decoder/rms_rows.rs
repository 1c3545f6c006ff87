//! Rows of decoders with `RMSNorm`.

use super::flavour::{
    Biases, Count, Derived, Factor, Flag, Flavour, HeadWidth, Keys, LocalRope, Mlp, Names,
    NormStyle, Positions, QkNorm, Qkv, Rope, RopeBlocks, Windows, Wiring,
};
use super::shared::{AFTER, AROUND, ATTENTION_BIAS, BEFORE, NO_BIAS, ROPE};

/// The rows of this file.
pub(super) static ROWS: &[Flavour] = &[
    LLAMA, MISTRAL, MINISTRAL, QWEN2, QWEN3, GEMMA, GEMMA2, GEMMA3, PHI3, OLMO2, OLMO3, GRANITE,
    SMOLLM3, GLM, GLM4, EXAONE4, SEED_OSS, HUNYUAN, ARCEE,
];

pub(super) const LLAMA: Flavour = Flavour {
    model_type: "llama",
    summary: "rotary positions, RMSNorm before each half, a gated feed-forward half",
    classes: ["LlamaForCausalLM", "LlamaModel"],
    names: Names {
        prefix: "model.",
        tokens: "embed_tokens",
        positions: "",
        embedding_norm: "",
        blocks: "layers",
        query: "self_attn.q_proj",
        key: "self_attn.k_proj",
        value: "self_attn.v_proj",
        qkv: "",
        output: "self_attn.o_proj",
        query_norm: "self_attn.q_norm",
        key_norm: "self_attn.k_norm",
        gate: "mlp.gate_proj",
        up: "mlp.up_proj",
        down: "mlp.down_proj",
        last_norm: "norm",
        head: "lm_head",
    },
    keys: Keys {
        width: Count(&["hidden_size"], None),
        blocks: Count(&["num_hidden_layers"], None),
        heads: Count(&["num_attention_heads"], None),
        vocabulary: Count(&["vocab_size"], None),
        positions: Count(&["max_position_embeddings"], Some(2048)),
        inner: ("intermediate_size", None),
        kv_heads: &[(Flag::Yes, Derived::Key("num_key_value_heads"))],
        epsilon: ("rms_norm_eps", 1e-6),
        activation: ("hidden_act", "silu"),
        only: &[],
    },
    norm: NormStyle::Rms,
    wiring: &[(Flag::Yes, BEFORE)],
    qkv: Qkv::Separate,
    head_dim: HeadWidth::Divided,
    qk_norm: &[],
    biases: Biases {
        qkv: ATTENTION_BIAS,
        output: ATTENTION_BIAS,
        mlp: Flag::Key("mlp_bias", false),
        head: Flag::No,
    },
    mlp: Mlp::Gated,
    transposed: false,
    positions: Positions::Rope(ROPE),
    windows: Windows::None,
    last_norm: Flag::Yes,
    tied: false,
    word_width: None,
    embedding_scale: Factor::One,
    attention_scale: Factor::InverseRootHead,
    residual_scale: Factor::One,
    logit_scale: Factor::One,
    score_cap: None,
    logit_cap: None,
    clip: None,
    sinks: "",
    latent: false,
    experts: None,
};

const MISTRAL: Flavour = Flavour {
    model_type: "mistral",
    summary: "as llama, with a sliding window",
    classes: ["MistralForCausalLM", "MistralModel"],
    keys: Keys {
        kv_heads: &[(Flag::Yes, Derived::KeyOr("num_key_value_heads", 8))],
        ..LLAMA.keys
    },
    biases: NO_BIAS,
    windows: Windows::All(Some(4096)),
    ..LLAMA
};

const MINISTRAL: Flavour = Flavour {
    model_type: "ministral",
    summary: "as mistral, with windows block by block",
    classes: ["MinistralForCausalLM", "MinistralModel"],
    windows: Windows::Types(4096),
    ..MISTRAL
};

pub(super) const QWEN2: Flavour = Flavour {
    model_type: "qwen2",
    summary: "as llama, with biases on queries, keys and values",
    classes: ["Qwen2ForCausalLM", "Qwen2Model"],
    keys: Keys {
        kv_heads: &[(Flag::Yes, Derived::KeyOr("num_key_value_heads", 32))],
        ..LLAMA.keys
    },
    biases: Biases {
        qkv: Flag::Yes,
        ..NO_BIAS
    },
    windows: Windows::Qwen,
    ..LLAMA
};

pub(super) const QWEN3: Flavour = Flavour {
    model_type: "qwen3",
    summary: "as llama, with normalised query and key heads",
    classes: ["Qwen3ForCausalLM", "Qwen3Model"],
    head_dim: HeadWidth::Or(128),
    qk_norm: &[(Flag::Yes, QkNorm::Head(NormStyle::Rms))],
    biases: Biases {
        qkv: ATTENTION_BIAS,
        output: ATTENTION_BIAS,
        ..NO_BIAS
    },
    ..QWEN2
};

/// The factor on token vectors is the root of the width, which transformers rounds to the type the model runs
/// in; here that is f32.
const GEMMA: Flavour = Flavour {
    model_type: "gemma",
    summary: "RMSNorm of one plus the weight, scaled token vectors, wide heads",
    classes: ["GemmaForCausalLM", "GemmaModel"],
    keys: Keys {
        kv_heads: &[(Flag::Yes, Derived::KeyOr("num_key_value_heads", 16))],
        activation: ("hidden_act", "gelu_pytorch_tanh"),
        only: &[("use_bidirectional_attention", false)],
        ..LLAMA.keys
    },
    norm: NormStyle::RmsOnePlus,
    head_dim: HeadWidth::Or(256),
    biases: Biases {
        mlp: Flag::No,
        ..LLAMA.biases
    },
    tied: true,
    embedding_scale: Factor::RootWidth,
    ..LLAMA
};

const GEMMA2: Flavour = Flavour {
    model_type: "gemma2",
    summary: "as gemma, norms around each half, capped scores and logits, every other block with a window",
    classes: ["Gemma2ForCausalLM", "Gemma2Model"],
    keys: Keys {
        kv_heads: &[(Flag::Yes, Derived::KeyOr("num_key_value_heads", 4))],
        activation: ("hidden_activation", "gelu_pytorch_tanh"),
        ..GEMMA.keys
    },
    wiring: &[(Flag::Yes, AROUND)],
    windows: Windows::Period("", 2, 4096),
    attention_scale: Factor::InverseRoot("query_pre_attn_scalar", 256.0),
    score_cap: Some(("attn_logit_softcapping", 50.0)),
    logit_cap: Some(("final_logit_softcapping", 30.0)),
    ..GEMMA
};

const GEMMA3: Flavour = Flavour {
    model_type: "gemma3_text",
    summary: "as gemma2, normalised heads, two rotary bases, five of six blocks with a window",
    classes: ["Gemma3ForCausalLM", "Gemma3TextModel"],
    qk_norm: &[(Flag::Yes, QkNorm::Head(NormStyle::RmsOnePlus))],
    positions: Positions::Rope(Rope {
        theta: ("rope_theta", 1e6),
        local: Some(LocalRope {
            theta: ("rope_local_base_freq", 10_000.0),
        }),
        ..ROPE
    }),
    windows: Windows::Period("sliding_window_pattern", 6, 4096),
    // Absent unless the file has them, other than in gemma2.
    score_cap: Some(("attn_logit_softcapping", f64::INFINITY)),
    logit_cap: Some(("final_logit_softcapping", f64::INFINITY)),
    ..GEMMA2
};

const PHI3: Flavour = Flavour {
    model_type: "phi3",
    summary: "as llama, with fused projections and LongRoPE (Phi-3, Phi-3.5, Phi-4)",
    classes: ["Phi3ForCausalLM", "Phi3Model"],
    names: Names {
        qkv: "self_attn.qkv_proj",
        up: "mlp.gate_up_proj",
        ..LLAMA.names
    },
    keys: Keys {
        positions: Count(&["max_position_embeddings"], Some(4096)),
        epsilon: ("rms_norm_eps", 1e-5),
        ..LLAMA.keys
    },
    qkv: Qkv::Concatenated,
    biases: NO_BIAS,
    mlp: Mlp::FusedGate,
    positions: Positions::Rope(Rope {
        yarn_is_long: true,
        ..ROPE
    }),
    windows: Windows::All(None),
    ..LLAMA
};

const OLMO2: Flavour = Flavour {
    model_type: "olmo2",
    summary: "RMSNorm after each half, queries and keys normalised over all heads",
    classes: ["Olmo2ForCausalLM", "Olmo2Model"],
    keys: Keys {
        epsilon: ("rms_norm_eps", 1e-5),
        ..LLAMA.keys
    },
    norm: NormStyle::Rms,
    wiring: &[(Flag::Yes, AFTER)],
    qk_norm: &[(Flag::Yes, QkNorm::Joint(NormStyle::Rms))],
    biases: Biases {
        mlp: Flag::No,
        ..LLAMA.biases
    },
    ..LLAMA
};

const OLMO3: Flavour = Flavour {
    model_type: "olmo3",
    summary: "as olmo2, three of four blocks with a window and unscaled rotation",
    classes: ["Olmo3ForCausalLM", "Olmo3Model"],
    positions: Positions::Rope(Rope {
        theta: ("rope_theta", 500_000.0),
        local: Some(LocalRope { theta: ("", 0.0) }),
        ..ROPE
    }),
    windows: Windows::Period("", 4, 4096),
    ..OLMO2
};

pub(super) const GRANITE: Flavour = Flavour {
    model_type: "granite",
    summary: "as llama, with multipliers on token vectors, scores, residuals and logits",
    classes: ["GraniteForCausalLM", "GraniteModel"],
    embedding_scale: Factor::Key("embedding_multiplier", 1.0),
    attention_scale: Factor::Key("attention_multiplier", 1.0),
    residual_scale: Factor::Key("residual_multiplier", 1.0),
    logit_scale: Factor::Inverse("logits_scaling", 1.0),
    ..LLAMA
};

const SMOLLM3: Flavour = Flavour {
    model_type: "smollm3",
    summary: "as llama, every fourth block without rotation",
    classes: ["SmolLM3ForCausalLM", "SmolLM3Model"],
    keys: Keys {
        positions: Count(&["max_position_embeddings"], Some(32_768)),
        kv_heads: &[(Flag::Yes, Derived::KeyOr("num_key_value_heads", 4))],
        ..LLAMA.keys
    },
    positions: Positions::Rope(Rope {
        theta: ("rope_theta", 2e6),
        blocks: RopeBlocks::Listed,
        ..ROPE
    }),
    windows: Windows::Unrotated,
    tied: true,
    ..LLAMA
};

const GLM: Flavour = Flavour {
    model_type: "glm",
    summary: "as llama, fused gate, neighbours of half a head rotated",
    classes: ["GlmForCausalLM", "GlmModel"],
    names: Names {
        up: "mlp.gate_up_proj",
        ..LLAMA.names
    },
    keys: Keys {
        positions: Count(&["max_position_embeddings"], Some(131_072)),
        kv_heads: &[(Flag::Yes, Derived::KeyOr("num_key_value_heads", 2))],
        epsilon: ("rms_norm_eps", 1.5625e-7),
        ..LLAMA.keys
    },
    head_dim: HeadWidth::Or(128),
    biases: Biases {
        qkv: Flag::Key("attention_bias", true),
        ..NO_BIAS
    },
    mlp: Mlp::FusedGate,
    positions: Positions::Rope(Rope {
        interleaved: Flag::Yes,
        share: ("partial_rotary_factor", 0.5),
        ..ROPE
    }),
    ..LLAMA
};

const GLM4: Flavour = Flavour {
    model_type: "glm4",
    summary: "as glm, norms around each half",
    classes: ["Glm4ForCausalLM", "Glm4Model"],
    wiring: &[(
        Flag::Yes,
        Wiring {
            attention_output: "post_self_attn_layernorm",
            mlp_output: "post_mlp_layernorm",
            ..BEFORE
        },
    )],
    ..GLM
};

const EXAONE4: Flavour = Flavour {
    model_type: "exaone4",
    summary: "RMSNorm after each half, normalised heads, blocks without a window unrotated",
    classes: ["Exaone4ForCausalLM", "Exaone4Model"],
    keys: Keys {
        kv_heads: &[(Flag::Yes, Derived::KeyOr("num_key_value_heads", 32))],
        epsilon: ("rms_norm_eps", 1e-5),
        ..LLAMA.keys
    },
    wiring: &[(Flag::Yes, AFTER)],
    qk_norm: &[(Flag::Yes, QkNorm::Head(NormStyle::Rms))],
    biases: NO_BIAS,
    positions: Positions::Rope(Rope {
        blocks: RopeBlocks::WindowedIfAny,
        ..ROPE
    }),
    windows: Windows::Period("sliding_window_pattern", 4, 4096),
    ..LLAMA
};

const SEED_OSS: Flavour = Flavour {
    model_type: "seed_oss",
    summary: "as llama, with biases on queries, keys and values and heads of a width of their own",
    classes: ["SeedOssForCausalLM", "SeedOssModel"],
    keys: Keys {
        positions: Count(&["max_position_embeddings"], Some(524_288)),
        kv_heads: &[(Flag::Yes, Derived::KeyOr("num_key_value_heads", 8))],
        ..LLAMA.keys
    },
    head_dim: HeadWidth::Or(128),
    biases: Biases {
        qkv: Flag::Key("attention_bias", true),
        output: Flag::Key("attention_out_bias", false),
        ..LLAMA.biases
    },
    ..LLAMA
};

const HUNYUAN: Flavour = Flavour {
    model_type: "hunyuan_v1_dense",
    summary: "as llama, heads normalised after the rotation",
    classes: ["HunYuanDenseV1ForCausalLM", "HunYuanDenseV1Model"],
    names: Names {
        query_norm: "self_attn.query_layernorm",
        key_norm: "self_attn.key_layernorm",
        ..LLAMA.names
    },
    keys: Keys {
        epsilon: ("rms_norm_eps", 1e-5),
        ..LLAMA.keys
    },
    qk_norm: &[(Flag::Yes, QkNorm::HeadAfterRope(NormStyle::Rms))],
    biases: Biases {
        mlp: Flag::No,
        ..LLAMA.biases
    },
    ..LLAMA
};

const ARCEE: Flavour = Flavour {
    model_type: "arcee",
    summary: "as llama, a squared ReLU without a gate",
    classes: ["ArceeForCausalLM", "ArceeModel"],
    keys: Keys {
        positions: Count(&["max_position_embeddings"], Some(4096)),
        epsilon: ("rms_norm_eps", 1e-5),
        activation: ("hidden_act", "relu2"),
        ..LLAMA.keys
    },
    mlp: Mlp::Plain,
    ..LLAMA
};
