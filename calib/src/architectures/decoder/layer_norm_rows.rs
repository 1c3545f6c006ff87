//! Rows of decoders with `LayerNorm` and rotary positions.

use super::flavour::{
    Biases, Count, Derived, Factor, Flag, Flavour, Keys, Mlp, Names, NormStyle, Order, Positions,
    QkNorm, Qkv, Rope, RopeBlocks, Windows, Wiring,
};
use super::rms_rows::LLAMA;
use super::shared::{ALL_BIAS, BEFORE, NO_BIAS, PARALLEL, ROPE};

/// The rows of this file.
pub(super) static ROWS: &[Flavour] = &[
    PHI, GPT_NEOX, OLMO, COHERE, COHERE2, STABLELM, STARCODER2, NEMOTRON,
];

const PHI: Flavour = Flavour {
    model_type: "phi",
    summary: "LayerNorm, halves side by side, partial rotation (Phi-1, Phi-1.5, Phi-2)",
    classes: ["PhiForCausalLM", "PhiModel"],
    names: Names {
        output: "self_attn.dense",
        query_norm: "self_attn.q_layernorm",
        key_norm: "self_attn.k_layernorm",
        up: "mlp.fc1",
        down: "mlp.fc2",
        last_norm: "final_layernorm",
        ..LLAMA.names
    },
    keys: Keys {
        epsilon: ("layer_norm_eps", 1e-5),
        activation: ("hidden_act", "gelu_new"),
        ..LLAMA.keys
    },
    norm: NormStyle::Layer,
    wiring: &[(Flag::Yes, PARALLEL)],
    qk_norm: &[(
        Flag::Key("qk_layernorm", false),
        QkNorm::Head(NormStyle::Layer),
    )],
    biases: Biases {
        head: Flag::Yes,
        ..ALL_BIAS
    },
    mlp: Mlp::Plain,
    positions: Positions::Rope(Rope {
        share: ("partial_rotary_factor", 0.5),
        ..ROPE
    }),
    ..LLAMA
};

const GPT_NEOX: Flavour = Flavour {
    model_type: "gpt_neox",
    summary: "LayerNorm, halves side by side, projections fused head by head (Pythia, GPT-NeoX)",
    classes: ["GPTNeoXForCausalLM", "GPTNeoXModel"],
    names: Names {
        prefix: "gpt_neox.",
        tokens: "embed_in",
        qkv: "attention.query_key_value",
        output: "attention.dense",
        up: "mlp.dense_h_to_4h",
        down: "mlp.dense_4h_to_h",
        last_norm: "final_layer_norm",
        head: "embed_out",
        ..LLAMA.names
    },
    keys: Keys {
        kv_heads: &[(Flag::Yes, Derived::Heads)],
        epsilon: ("layer_norm_eps", 1e-5),
        activation: ("hidden_act", "gelu"),
        ..LLAMA.keys
    },
    norm: NormStyle::Layer,
    wiring: &[
        (
            Flag::Key("use_parallel_residual", true),
            Wiring {
                order: Order::Parallel,
                ..BEFORE
            },
        ),
        (Flag::Yes, BEFORE),
    ],
    qkv: Qkv::ByKeyValueHead,
    biases: Biases {
        qkv: Flag::Key("attention_bias", true),
        output: Flag::Key("attention_bias", true),
        ..ALL_BIAS
    },
    mlp: Mlp::Plain,
    positions: Positions::Rope(Rope {
        theta: ("rotary_emb_base", 10_000.0),
        share: ("rotary_pct", 0.25),
        ..ROPE
    }),
    ..LLAMA
};

const OLMO: Flavour = Flavour {
    model_type: "olmo",
    summary: "as llama, LayerNorm without parameters",
    classes: ["OlmoForCausalLM", "OlmoModel"],
    keys: Keys {
        epsilon: ("", 1e-5),
        ..LLAMA.keys
    },
    norm: NormStyle::LayerBare,
    biases: Biases {
        mlp: Flag::No,
        ..LLAMA.biases
    },
    clip: Some("clip_qkv"),
    ..LLAMA
};

const COHERE: Flavour = Flavour {
    model_type: "cohere",
    summary: "LayerNorm without biases, halves side by side, neighbours rotated, scaled logits",
    classes: ["CohereForCausalLM", "CohereModel"],
    keys: Keys {
        positions: Count(&["max_position_embeddings"], Some(8192)),
        epsilon: ("layer_norm_eps", 1e-5),
        ..LLAMA.keys
    },
    norm: NormStyle::LayerNoBias,
    wiring: &[(Flag::Yes, PARALLEL)],
    qk_norm: &[(
        Flag::Key("use_qk_norm", false),
        QkNorm::Stacked(NormStyle::LayerNoBias),
    )],
    biases: Biases {
        mlp: Flag::No,
        ..LLAMA.biases
    },
    positions: Positions::Rope(Rope {
        interleaved: Flag::Yes,
        theta: ("rope_theta", 500_000.0),
        ..ROPE
    }),
    tied: true,
    logit_scale: Factor::Key("logit_scale", 0.0625),
    ..LLAMA
};

const COHERE2: Flavour = Flavour {
    model_type: "cohere2",
    summary: "as cohere, three of four blocks with a window, the others without rotation",
    classes: ["Cohere2ForCausalLM", "Cohere2Model"],
    qk_norm: &[],
    positions: Positions::Rope(Rope {
        interleaved: Flag::Yes,
        blocks: RopeBlocks::Windowed,
        ..ROPE
    }),
    windows: Windows::Period("sliding_window_pattern", 4, 4096),
    ..COHERE
};

const STABLELM: Flavour = Flavour {
    model_type: "stablelm",
    summary: "as llama, LayerNorm, a quarter of each head rotated",
    classes: ["StableLmForCausalLM", "StableLmModel"],
    names: Names {
        query_norm: "self_attn.q_layernorm",
        key_norm: "self_attn.k_layernorm",
        ..LLAMA.names
    },
    keys: Keys {
        positions: Count(&["max_position_embeddings"], Some(4096)),
        kv_heads: &[(Flag::Yes, Derived::KeyOr("num_key_value_heads", 32))],
        epsilon: ("layer_norm_eps", 1e-5),
        ..LLAMA.keys
    },
    norm: NormStyle::Layer,
    wiring: &[
        (Flag::Key("use_parallel_residual", false), PARALLEL),
        (Flag::Yes, BEFORE),
    ],
    qk_norm: &[(
        Flag::Key("qk_layernorm", false),
        QkNorm::Modules(NormStyle::LayerNoBias, "norms"),
    )],
    biases: Biases {
        qkv: Flag::Key("use_qkv_bias", false),
        ..NO_BIAS
    },
    positions: Positions::Rope(Rope {
        share: ("partial_rotary_factor", 0.25),
        ..ROPE
    }),
    ..LLAMA
};

const STARCODER2: Flavour = Flavour {
    model_type: "starcoder2",
    summary: "LayerNorm, rotary positions, a plain feed-forward half, biases",
    classes: ["Starcoder2ForCausalLM", "Starcoder2Model"],
    names: Names {
        up: "mlp.c_fc",
        down: "mlp.c_proj",
        ..LLAMA.names
    },
    keys: Keys {
        positions: Count(&["max_position_embeddings"], Some(4096)),
        kv_heads: &[(Flag::Yes, Derived::KeyOr("num_key_value_heads", 2))],
        epsilon: ("norm_epsilon", 1e-5),
        activation: ("hidden_act", "gelu_pytorch_tanh"),
        ..LLAMA.keys
    },
    norm: NormStyle::Layer,
    biases: Biases {
        qkv: Flag::Key("use_bias", true),
        output: Flag::Key("use_bias", true),
        mlp: Flag::Key("use_bias", true),
        head: Flag::No,
    },
    mlp: Mlp::Plain,
    windows: Windows::All(None),
    tied: true,
    ..LLAMA
};

const NEMOTRON: Flavour = Flavour {
    model_type: "nemotron",
    summary: "LayerNorm of one plus the weight, squared ReLU, half of each head rotated",
    classes: ["NemotronForCausalLM", "NemotronModel"],
    keys: Keys {
        positions: Count(&["max_position_embeddings"], Some(4096)),
        epsilon: ("norm_eps", 1e-5),
        activation: ("hidden_act", "relu2"),
        ..LLAMA.keys
    },
    norm: NormStyle::LayerOnePlus,
    mlp: Mlp::Plain,
    positions: Positions::Rope(Rope {
        share: ("partial_rotary_factor", 0.5),
        ..ROPE
    }),
    ..LLAMA
};
