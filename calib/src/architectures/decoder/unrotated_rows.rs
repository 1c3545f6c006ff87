//! Rows of decoders from before rotary positions were common, and their relatives.

use super::flavour::{
    Biases, Count, Derived, Factor, Flag, Flavour, Keys, Mlp, Names, NormStyle, Order, Positions,
    Qkv, Rope, Slopes, Wiring,
};
use super::rms_rows::LLAMA;
use super::shared::{ALL_BIAS, BEFORE, NO_BIAS, PARALLEL, ROPE};

/// The rows of this file.
pub(super) static ROWS: &[Flavour] = &[FALCON, OPT, BLOOM, GPTJ, MPT, GPT2];

const FALCON: Flavour = Flavour {
    model_type: "falcon",
    summary: "LayerNorm, one or few key-value heads, halves side by side",
    classes: ["FalconForCausalLM", "FalconModel"],
    names: Names {
        prefix: "transformer.",
        tokens: "word_embeddings",
        blocks: "h",
        qkv: "self_attention.query_key_value",
        output: "self_attention.dense",
        up: "mlp.dense_h_to_4h",
        down: "mlp.dense_4h_to_h",
        last_norm: "ln_f",
        ..LLAMA.names
    },
    keys: Keys {
        inner: ("ffn_hidden_size", Some(4)),
        kv_heads: &[
            (
                Flag::Key("new_decoder_architecture", false),
                Derived::Key("num_kv_heads"),
            ),
            (Flag::Key("multi_query", true), Derived::Fixed(1)),
            (Flag::Yes, Derived::Heads),
        ],
        epsilon: ("layer_norm_epsilon", 1e-5),
        activation: ("activation", "gelu"),
        ..LLAMA.keys
    },
    norm: NormStyle::Layer,
    wiring: &[
        (
            Flag::All(&[
                Flag::Key("new_decoder_architecture", false),
                Flag::Key("parallel_attn", true),
                Flag::Count("num_ln_in_parallel_attn", 2, 2),
            ]),
            Wiring {
                attention: "ln_attn",
                mlp: "ln_mlp",
                ..PARALLEL
            },
        ),
        (Flag::Key("parallel_attn", true), PARALLEL),
        (Flag::Yes, BEFORE),
    ],
    qkv: Qkv::ByKeyValueHead,
    biases: Biases {
        qkv: Flag::Key("bias", false),
        output: Flag::Key("bias", false),
        mlp: Flag::Key("bias", false),
        head: Flag::No,
    },
    mlp: Mlp::Plain,
    positions: Positions::SlopesIf(Flag::Key("alibi", false), Slopes::RoundedAndScaled, ROPE),
    tied: true,
    ..LLAMA
};

const OPT: Flavour = Flavour {
    model_type: "opt",
    summary: "LayerNorm, learned positions from row 2 on, ReLU",
    classes: ["OPTForCausalLM", "OPTModel"],
    names: Names {
        prefix: "model.decoder.",
        positions: "embed_positions",
        output: "self_attn.out_proj",
        up: "fc1",
        down: "fc2",
        last_norm: "final_layer_norm",
        ..LLAMA.names
    },
    keys: Keys {
        inner: ("ffn_dim", None),
        kv_heads: &[(Flag::Yes, Derived::Heads)],
        epsilon: ("", 1e-5),
        activation: ("activation_function", "relu"),
        only: &[("layer_norm_elementwise_affine", true)],
        ..LLAMA.keys
    },
    norm: NormStyle::Layer,
    wiring: &[
        (
            Flag::Key("do_layer_norm_before", true),
            Wiring {
                attention: "self_attn_layer_norm",
                mlp: "final_layer_norm",
                ..BEFORE
            },
        ),
        (
            Flag::Yes,
            Wiring {
                order: Order::AfterResidual,
                attention: "self_attn_layer_norm",
                mlp: "final_layer_norm",
                ..BEFORE
            },
        ),
    ],
    biases: Biases {
        qkv: Flag::Key("enable_bias", true),
        output: Flag::Key("enable_bias", true),
        mlp: Flag::Key("enable_bias", true),
        head: Flag::No,
    },
    mlp: Mlp::Plain,
    positions: Positions::Table(2),
    last_norm: Flag::All(&[
        Flag::Key("do_layer_norm_before", true),
        Flag::Not("_remove_final_layer_norm", false),
    ]),
    tied: true,
    word_width: Some(("word_embed_proj_dim", ["project_in", "project_out"])),
    ..LLAMA
};

const BLOOM: Flavour = Flavour {
    model_type: "bloom",
    summary: "LayerNorm, ALiBi, projections fused head by head, normalised token vectors",
    classes: ["BloomForCausalLM", "BloomModel"],
    names: Names {
        embedding_norm: "word_embeddings_layernorm",
        ..FALCON.names
    },
    keys: Keys {
        width: Count(&["hidden_size", "n_embed"], None),
        blocks: Count(&["n_layer", "num_hidden_layers"], None),
        heads: Count(&["n_head", "num_attention_heads"], None),
        inner: ("", Some(4)),
        kv_heads: &[(Flag::Yes, Derived::Heads)],
        activation: ("", "gelu_new"),
        only: &[("apply_residual_connection_post_layernorm", false)],
        ..FALCON.keys
    },
    wiring: &[(Flag::Yes, BEFORE)],
    biases: ALL_BIAS,
    positions: Positions::Slopes(Slopes::Plain),
    ..FALCON
};

const GPTJ: Flavour = Flavour {
    model_type: "gptj",
    summary: "LayerNorm, halves side by side, neighbours of the first channels rotated",
    classes: ["GPTJForCausalLM", "GPTJModel"],
    names: Names {
        prefix: "transformer.",
        tokens: "wte",
        blocks: "h",
        query: "attn.q_proj",
        key: "attn.k_proj",
        value: "attn.v_proj",
        output: "attn.out_proj",
        up: "mlp.fc_in",
        down: "mlp.fc_out",
        last_norm: "ln_f",
        ..LLAMA.names
    },
    keys: Keys {
        vocabulary: Count(&["vocab_size"], Some(50_400)),
        ..GPT2.keys
    },
    norm: NormStyle::Layer,
    wiring: &[(
        Flag::Yes,
        Wiring {
            attention: "ln_1",
            ..PARALLEL
        },
    )],
    biases: Biases {
        mlp: Flag::Yes,
        head: Flag::Yes,
        ..NO_BIAS
    },
    mlp: Mlp::Plain,
    positions: Positions::Rope(Rope {
        interleaved: Flag::Yes,
        channels: Some("rotary_dim"),
        ..ROPE
    }),
    ..LLAMA
};

const MPT: Flavour = Flavour {
    model_type: "mpt",
    summary: "LayerNorm without biases, ALiBi, fused projections",
    classes: ["MptForCausalLM", "MptModel"],
    names: Names {
        prefix: "transformer.",
        tokens: "wte",
        blocks: "blocks",
        qkv: "attn.Wqkv",
        output: "attn.out_proj",
        up: "ffn.up_proj",
        down: "ffn.down_proj",
        last_norm: "norm_f",
        ..LLAMA.names
    },
    keys: Keys {
        width: Count(&["d_model", "hidden_size"], Some(2048)),
        blocks: Count(&["n_layers", "num_hidden_layers"], Some(24)),
        heads: Count(&["n_heads", "num_attention_heads"], Some(16)),
        vocabulary: Count(&["vocab_size"], Some(50_368)),
        positions: Count(&["max_seq_len"], Some(2048)),
        inner: ("", Some(4)),
        kv_heads: &[(Flag::Yes, Derived::Heads)],
        epsilon: ("layer_norm_epsilon", 1e-5),
        activation: ("", "gelu"),
        only: &[("attn_config.alibi", true), ("attn_config.qk_ln", false)],
    },
    norm: NormStyle::LayerNoBias,
    wiring: &[(
        Flag::Yes,
        Wiring {
            attention: "norm_1",
            mlp: "norm_2",
            ..BEFORE
        },
    )],
    qkv: Qkv::Concatenated,
    biases: NO_BIAS,
    mlp: Mlp::Plain,
    positions: Positions::Slopes(Slopes::HigherPower),
    tied: true,
    attention_scale: Factor::KeyOrInverseRootHead("attn_config.softmax_scale"),
    clip: Some("attn_config.clip_qkv"),
    ..LLAMA
};

const GPT2: Flavour = Flavour {
    model_type: "gpt2",
    summary: "LayerNorm, learned positions, a fused projection, weights stored [in, out] (GPT-2)",
    classes: ["GPT2LMHeadModel", "GPT2Model"],
    names: Names {
        prefix: "transformer.",
        tokens: "wte",
        positions: "wpe",
        blocks: "h",
        qkv: "attn.c_attn",
        output: "attn.c_proj",
        up: "mlp.c_fc",
        down: "mlp.c_proj",
        last_norm: "ln_f",
        ..LLAMA.names
    },
    keys: Keys {
        width: Count(&["n_embd", "hidden_size"], Some(768)),
        blocks: Count(&["n_layer", "num_hidden_layers"], Some(12)),
        heads: Count(&["n_head", "num_attention_heads"], Some(12)),
        vocabulary: Count(&["vocab_size"], Some(50_257)),
        positions: Count(&["n_positions", "max_position_embeddings"], Some(1024)),
        inner: ("n_inner", Some(4)),
        kv_heads: &[(Flag::Yes, Derived::Heads)],
        epsilon: ("layer_norm_epsilon", 1e-5),
        activation: ("activation_function", "gelu_new"),
        only: &[("add_cross_attention", false)],
    },
    norm: NormStyle::Layer,
    wiring: &[(
        Flag::Yes,
        Wiring {
            attention: "ln_1",
            mlp: "ln_2",
            ..BEFORE
        },
    )],
    qkv: Qkv::Concatenated,
    biases: ALL_BIAS,
    mlp: Mlp::Plain,
    transposed: true,
    positions: Positions::Table(0),
    tied: true,
    attention_scale: Factor::ByBlock,
    ..LLAMA
};
