//! Rows of decoders with experts.

use super::expert_columns::{Experts, Scores, Shared, Sparse, Storage};
use super::flavour::{
    Biases, Count, Derived, Factor, Flag, Flavour, HeadWidth, Keys, Names, NormStyle, Positions,
    QkNorm, Rope, Windows,
};
use super::rms_rows::{GRANITE, LLAMA, QWEN2, QWEN3};
use super::shared::{ATTENTION_BIAS, NO_BIAS, ROPE};

/// The rows of this file.
pub(super) static ROWS: &[Flavour] = &[
    MIXTRAL,
    QWEN2_MOE,
    QWEN3_MOE,
    OLMOE,
    GRANITE_MOE,
    PHIMOE,
    GPT_OSS,
    DEEPSEEK_V2,
    DEEPSEEK_V3,
];

const ONE_BY_ONE: Storage = Storage::OneByOne("mlp.experts", ["gate_proj", "up_proj", "down_proj"]);

const MIXTRAL_EXPERTS: Experts = Experts {
    sparse: Sparse::All,
    count: Count(&["num_local_experts"], Some(8)),
    chosen: Count(&["num_experts_per_tok"], Some(2)),
    inner: "",
    router: "block_sparse_moe.gate",
    router_bias: false,
    scores: Scores::Softmax,
    normalised: Flag::Yes,
    scale: Factor::One,
    correction: "",
    group_best: 0,
    grouped: Flag::No,
    storage: Storage::OneByOne("block_sparse_moe.experts", ["w1", "w3", "w2"]),
    shared: None,
};

const MIXTRAL: Flavour = Flavour {
    model_type: "mixtral",
    summary: "as mistral, experts in every block",
    classes: ["MixtralForCausalLM", "MixtralModel"],
    keys: Keys {
        positions: Count(&["max_position_embeddings"], Some(131_072)),
        kv_heads: &[(Flag::Yes, Derived::KeyOr("num_key_value_heads", 8))],
        epsilon: ("rms_norm_eps", 1e-5),
        ..LLAMA.keys
    },
    biases: NO_BIAS,
    positions: Positions::Rope(Rope {
        theta: ("rope_theta", 1e6),
        ..ROPE
    }),
    windows: Windows::All(None),
    experts: Some(&MIXTRAL_EXPERTS),
    ..LLAMA
};

const QWEN2_EXPERTS: Experts = Experts {
    sparse: Sparse::Stepped,
    count: Count(&["num_experts", "num_local_experts"], Some(60)),
    chosen: Count(&["num_experts_per_tok"], Some(4)),
    inner: "moe_intermediate_size",
    router: "mlp.gate",
    normalised: Flag::Key("norm_topk_prob", false),
    storage: ONE_BY_ONE,
    shared: Some(Shared {
        name: "mlp.shared_expert",
        inner: ("shared_expert_intermediate_size", false),
        gate: "mlp.shared_expert_gate",
    }),
    ..MIXTRAL_EXPERTS
};

const QWEN2_MOE: Flavour = Flavour {
    model_type: "qwen2_moe",
    summary: "as qwen2, experts and one gated network for all tokens",
    classes: ["Qwen2MoeForCausalLM", "Qwen2MoeModel"],
    keys: Keys {
        kv_heads: &[(Flag::Yes, Derived::KeyOr("num_key_value_heads", 16))],
        ..QWEN2.keys
    },
    biases: Biases {
        qkv: Flag::Key("qkv_bias", true),
        ..NO_BIAS
    },
    experts: Some(&QWEN2_EXPERTS),
    ..QWEN2
};

const QWEN3_MOE: Flavour = Flavour {
    model_type: "qwen3_moe",
    summary: "as qwen3, with experts",
    classes: ["Qwen3MoeForCausalLM", "Qwen3MoeModel"],
    keys: Keys {
        kv_heads: &[(Flag::Yes, Derived::KeyOr("num_key_value_heads", 4))],
        ..QWEN3.keys
    },
    head_dim: HeadWidth::Divided,
    windows: Windows::AllIf("use_sliding_window", 4096),
    experts: Some(&Experts {
        count: Count(&["num_experts", "num_local_experts"], Some(128)),
        chosen: Count(&["num_experts_per_tok"], Some(8)),
        shared: None,
        ..QWEN2_EXPERTS
    }),
    ..QWEN3
};

const OLMOE: Flavour = Flavour {
    model_type: "olmoe",
    summary: "as llama, queries and keys normalised over all heads, experts",
    classes: ["OlmoeForCausalLM", "OlmoeModel"],
    keys: Keys {
        positions: Count(&["max_position_embeddings"], Some(4096)),
        epsilon: ("rms_norm_eps", 1e-5),
        ..LLAMA.keys
    },
    qk_norm: &[(Flag::Yes, QkNorm::Joint(NormStyle::Rms))],
    biases: Biases {
        mlp: Flag::No,
        ..LLAMA.biases
    },
    clip: Some("clip_qkv"),
    experts: Some(&Experts {
        sparse: Sparse::All,
        count: Count(&["num_experts", "num_local_experts"], Some(64)),
        chosen: Count(&["num_experts_per_tok"], Some(8)),
        inner: "",
        shared: None,
        ..QWEN2_EXPERTS
    }),
    ..LLAMA
};

const GRANITE_MOE: Flavour = Flavour {
    model_type: "granitemoe",
    summary: "as granite, with experts stored in one tensor",
    classes: ["GraniteMoeForCausalLM", "GraniteMoeModel"],
    biases: Biases {
        mlp: Flag::No,
        ..LLAMA.biases
    },
    experts: Some(&Experts {
        router: "block_sparse_moe.router.layer",
        scores: Scores::SoftmaxOfChosen,
        normalised: Flag::No,
        storage: Storage::Stacked {
            modules: &[
                "block_sparse_moe.input_linear",
                "block_sparse_moe.output_linear",
            ],
            transposed: false,
            bias: false,
            alternating: false,
        },
        ..MIXTRAL_EXPERTS
    }),
    ..GRANITE
};

const PHIMOE: Flavour = Flavour {
    model_type: "phimoe",
    summary: "LayerNorm, biases, experts chosen one after the other (Phi-3.5-MoE)",
    classes: ["PhimoeForCausalLM", "PhimoeModel"],
    norm: NormStyle::Layer,
    biases: Biases {
        head: Flag::Key("lm_head_bias", false),
        ..LLAMA.biases
    },
    experts: Some(&Experts {
        count: Count(&["num_local_experts"], Some(16)),
        scores: Scores::SparseMixer("router_jitter_noise", 0.01),
        normalised: Flag::No,
        ..MIXTRAL_EXPERTS
    }),
    ..MIXTRAL
};

const GPT_OSS: Flavour = Flavour {
    model_type: "gpt_oss",
    summary: "attention sinks, every other block with a window, clamped experts stored in one tensor",
    classes: ["GptOssForCausalLM", "GptOssModel"],
    keys: Keys {
        positions: Count(&["max_position_embeddings"], Some(131_072)),
        kv_heads: &[(Flag::Yes, Derived::KeyOr("num_key_value_heads", 8))],
        epsilon: ("rms_norm_eps", 1e-5),
        ..LLAMA.keys
    },
    head_dim: HeadWidth::Or(64),
    biases: Biases {
        qkv: Flag::Key("attention_bias", true),
        output: Flag::Key("attention_bias", true),
        ..NO_BIAS
    },
    positions: Positions::Rope(Rope {
        theta: ("rope_theta", 150_000.0),
        ..ROPE
    }),
    windows: Windows::Period("", 2, 128),
    sinks: "self_attn.sinks",
    experts: Some(&Experts {
        count: Count(&["num_local_experts"], Some(128)),
        chosen: Count(&["num_experts_per_tok"], Some(4)),
        router: "mlp.router",
        router_bias: true,
        scores: Scores::SoftmaxOfChosen,
        normalised: Flag::No,
        storage: Storage::Stacked {
            modules: &["mlp.experts.gate_up_proj", "mlp.experts.down_proj"],
            transposed: true,
            bias: true,
            alternating: true,
        },
        ..MIXTRAL_EXPERTS
    }),
    ..LLAMA
};

const DEEPSEEK_EXPERTS: Experts = Experts {
    sparse: Sparse::From("first_k_dense_replace", 0),
    count: Count(&["n_routed_experts"], Some(64)),
    chosen: Count(&["num_experts_per_tok"], None),
    inner: "moe_intermediate_size",
    router: "mlp.gate",
    normalised: Flag::No,
    scale: Factor::Key("routed_scaling_factor", 1.0),
    group_best: 1,
    grouped: Flag::Text("topk_method", "group_limited_greedy"),
    storage: ONE_BY_ONE,
    shared: Some(Shared {
        name: "mlp.shared_experts",
        inner: ("n_shared_experts", true),
        gate: "",
    }),
    ..MIXTRAL_EXPERTS
};

const DEEPSEEK_V2: Flavour = Flavour {
    model_type: "deepseek_v2",
    summary: "latent attention, experts and one network for all tokens",
    classes: ["DeepseekV2ForCausalLM", "DeepseekV2Model"],
    names: Names {
        query: "self_attn.q_proj",
        ..LLAMA.names
    },
    biases: Biases {
        qkv: ATTENTION_BIAS,
        output: ATTENTION_BIAS,
        ..LLAMA.biases
    },
    positions: Positions::Rope(Rope {
        interleaved: Flag::Yes,
        ..ROPE
    }),
    latent: true,
    experts: Some(&DEEPSEEK_EXPERTS),
    ..LLAMA
};

const DEEPSEEK_V3: Flavour = Flavour {
    model_type: "deepseek_v3",
    summary: "as deepseek_v2, experts by groups with corrected scores (DeepSeek-V3, R1)",
    classes: ["DeepseekV3ForCausalLM", "DeepseekV3Model"],
    keys: Keys {
        positions: Count(&["max_position_embeddings"], Some(4096)),
        ..LLAMA.keys
    },
    biases: Biases {
        mlp: Flag::No,
        ..DEEPSEEK_V2.biases
    },
    positions: Positions::Rope(Rope {
        interleaved: Flag::Key("rope_interleave", true),
        ..ROPE
    }),
    experts: Some(&Experts {
        sparse: Sparse::From("first_k_dense_replace", 3),
        count: Count(&["n_routed_experts"], Some(256)),
        chosen: Count(&["num_experts_per_tok"], Some(8)),
        scores: Scores::Sigmoid,
        normalised: Flag::Key("norm_topk_prob", true),
        scale: Factor::Key("routed_scaling_factor", 2.5),
        correction: "e_score_correction_bias",
        group_best: 2,
        grouped: Flag::Yes,
        ..DEEPSEEK_EXPERTS
    }),
    ..DEEPSEEK_V2
};
