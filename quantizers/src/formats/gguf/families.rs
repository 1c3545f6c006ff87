//! What GGUF calls the tensors and the settings of a model, and what its `config.json` calls them.
//!
//! Names and what the converter does to values are those of `convert_hf_to_gguf.py` and `gguf.constants` of the
//! ggml project. Adding a family is a row of [`FAMILIES`].

use serde_json::{Value, json};

/// A family of models.
#[derive(Debug)]
pub(crate) struct Family {
    /// `general.architecture`.
    pub(crate) architecture: &'static str,
    pub(crate) model_type: &'static str,
    /// The class that `architectures` names.
    pub(crate) class: &'static str,
    /// Modules there and here; `*` is the number of a block.
    pub(crate) names: &'static [&'static [(&'static str, &'static str)]],
    /// Settings there, after the architecture and a dot, and here.
    pub(crate) settings: &'static [&'static [(&'static str, &'static str)]],
    /// Settings that files do not have because they are the same for all of the family.
    pub(crate) constants: fn() -> Value,
    /// The two halves of each rotated pair of queries and keys lie side by side there.
    pub(crate) pairs_rotated: bool,
    /// What is added to the weights of norms there.
    pub(crate) norm_offset: f32,
    /// Matrices of blocks lie as `[in, out]` here.
    pub(crate) transposed: bool,
}

/// Names that most decoders share.
const NAMES: &[(&str, &str)] = &[
    ("token_embd", "model.embed_tokens"),
    ("output_norm", "model.norm"),
    ("output", "lm_head"),
    ("blk.*.attn_norm", "model.layers.*.input_layernorm"),
    ("blk.*.attn_q", "model.layers.*.self_attn.q_proj"),
    ("blk.*.attn_k", "model.layers.*.self_attn.k_proj"),
    ("blk.*.attn_v", "model.layers.*.self_attn.v_proj"),
    ("blk.*.attn_q_norm", "model.layers.*.self_attn.q_norm"),
    ("blk.*.attn_k_norm", "model.layers.*.self_attn.k_norm"),
    ("blk.*.attn_output", "model.layers.*.self_attn.o_proj"),
    ("blk.*.ffn_gate", "model.layers.*.mlp.gate_proj"),
    ("blk.*.ffn_up", "model.layers.*.mlp.up_proj"),
    ("blk.*.ffn_down", "model.layers.*.mlp.down_proj"),
];
/// The norm before the feed-forward part.
const TWO_NORMS: &[(&str, &str)] = &[("blk.*.ffn_norm", "model.layers.*.post_attention_layernorm")];
/// Norms before and after both parts of a block.
const FOUR_NORMS: &[(&str, &str)] = &[
    (
        "blk.*.post_attention_norm",
        "model.layers.*.post_attention_layernorm",
    ),
    ("blk.*.ffn_norm", "model.layers.*.pre_feedforward_layernorm"),
    (
        "blk.*.post_ffw_norm",
        "model.layers.*.post_feedforward_layernorm",
    ),
];
/// Fused projections, which come before the names they replace.
const FUSED: &[(&str, &str)] = &[
    ("blk.*.attn_qkv", "model.layers.*.self_attn.qkv_proj"),
    ("blk.*.ffn_up", "model.layers.*.mlp.gate_up_proj"),
];
const GPT2_NAMES: &[(&str, &str)] = &[
    ("token_embd", "transformer.wte"),
    ("position_embd", "transformer.wpe"),
    ("output_norm", "transformer.ln_f"),
    ("output", "lm_head"),
    ("blk.*.attn_norm", "transformer.h.*.ln_1"),
    ("blk.*.attn_qkv", "transformer.h.*.attn.c_attn"),
    ("blk.*.attn_output", "transformer.h.*.attn.c_proj"),
    ("blk.*.ffn_norm", "transformer.h.*.ln_2"),
    ("blk.*.ffn_up", "transformer.h.*.mlp.c_fc"),
    ("blk.*.ffn_down", "transformer.h.*.mlp.c_proj"),
];

/// Settings that most decoders share.
const SETTINGS: &[(&str, &str)] = &[
    ("context_length", "max_position_embeddings"),
    ("embedding_length", "hidden_size"),
    ("block_count", "num_hidden_layers"),
    ("feed_forward_length", "intermediate_size"),
    ("attention.head_count", "num_attention_heads"),
    ("attention.layer_norm_rms_epsilon", "rms_norm_eps"),
];
const GPT2_SETTINGS: &[(&str, &str)] = &[
    ("context_length", "n_positions"),
    ("embedding_length", "n_embd"),
    ("block_count", "n_layer"),
    ("feed_forward_length", "n_inner"),
    ("attention.head_count", "n_head"),
    ("attention.layer_norm_epsilon", "layer_norm_epsilon"),
];
const SOFT_CAPS: &[(&str, &str)] = &[
    ("attn_logit_softcapping", "attn_logit_softcapping"),
    ("final_logit_softcapping", "final_logit_softcapping"),
];

/// The tanh form, which their converter takes for granted.
fn gemma() -> Value {
    json!({ "hidden_activation": "gelu_pytorch_tanh", "hidden_act": "gelu_pytorch_tanh" })
}

fn silu() -> Value {
    json!({ "hidden_act": "silu" })
}

fn gpt2() -> Value {
    json!({ "activation_function": "gelu_new" })
}

/// What most rows have in common.
const DECODER: Family = Family {
    architecture: "",
    model_type: "",
    class: "",
    names: &[TWO_NORMS, NAMES],
    settings: &[SETTINGS],
    constants: silu,
    pairs_rotated: false,
    norm_offset: 0.0,
    transposed: false,
};

/// Every family that is read.
pub(crate) static FAMILIES: &[Family] = &[
    Family {
        architecture: "llama",
        model_type: "llama",
        class: "LlamaForCausalLM",
        pairs_rotated: true,
        ..DECODER
    },
    Family {
        architecture: "mistral",
        model_type: "mistral",
        class: "MistralForCausalLM",
        pairs_rotated: true,
        ..DECODER
    },
    Family {
        architecture: "qwen2",
        model_type: "qwen2",
        class: "Qwen2ForCausalLM",
        ..DECODER
    },
    Family {
        architecture: "qwen3",
        model_type: "qwen3",
        class: "Qwen3ForCausalLM",
        ..DECODER
    },
    Family {
        architecture: "phi3",
        model_type: "phi3",
        class: "Phi3ForCausalLM",
        names: &[FUSED, TWO_NORMS, NAMES],
        ..DECODER
    },
    Family {
        architecture: "gemma",
        model_type: "gemma",
        class: "GemmaForCausalLM",
        constants: gemma,
        norm_offset: 1.0,
        ..DECODER
    },
    Family {
        architecture: "gemma2",
        model_type: "gemma2",
        class: "Gemma2ForCausalLM",
        names: &[FOUR_NORMS, NAMES],
        settings: &[SETTINGS, SOFT_CAPS],
        constants: gemma,
        norm_offset: 1.0,
        ..DECODER
    },
    Family {
        architecture: "gemma3",
        model_type: "gemma3_text",
        class: "Gemma3ForCausalLM",
        names: &[FOUR_NORMS, NAMES],
        settings: &[SETTINGS, SOFT_CAPS],
        constants: gemma,
        norm_offset: 1.0,
        ..DECODER
    },
    Family {
        architecture: "gpt2",
        model_type: "gpt2",
        class: "GPT2LMHeadModel",
        names: &[GPT2_NAMES],
        settings: &[GPT2_SETTINGS],
        constants: gpt2,
        transposed: true,
        ..DECODER
    },
];

/// The family whose files name `architecture`.
pub(crate) fn find(architecture: &str) -> Result<&'static Family, String> {
    let mut known = FAMILIES.iter();
    let found = known.find(|family| family.architecture == architecture);
    found.ok_or_else(|| {
        let names: Vec<&str> = FAMILIES.iter().map(|family| family.architecture).collect();
        format!(
            "general.architecture: expected one of {}, found `{architecture}`",
            names.join(", ")
        )
    })
}

impl Family {
    /// The name here of the tensor `name`; nothing where the model has no place for it.
    pub(crate) fn tensor_name(&self, name: &str) -> Option<String> {
        let (module, part) = name.rsplit_once('.')?;
        let (pattern, block) = match module
            .strip_prefix("blk.")
            .and_then(|rest| rest.split_once('.'))
        {
            Some((block, rest)) if block.bytes().all(|byte| byte.is_ascii_digit()) => {
                (format!("blk.*.{rest}"), block)
            }
            _ => (module.to_owned(), ""),
        };
        let mut all = self.names.iter().flat_map(|names| names.iter());
        let (_, here) = all.find(|(there, _)| *there == pattern)?;
        Some(format!("{}.{part}", here.replace('*', block)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_blocks_keep_their_number_and_fused_ones_come_first() {
        let name = |family: &str, name: &str| find(family).unwrap().tensor_name(name);
        let of = |text: &str| Some(text.to_owned());
        assert_eq!(
            name("llama", "blk.17.attn_q.weight"),
            of("model.layers.17.self_attn.q_proj.weight")
        );
        assert_eq!(
            name("qwen2", "blk.0.attn_k.bias"),
            of("model.layers.0.self_attn.k_proj.bias")
        );
        assert_eq!(
            name("phi3", "blk.2.ffn_up.weight"),
            of("model.layers.2.mlp.gate_up_proj.weight")
        );
        assert_eq!(
            name("gemma3", "blk.1.ffn_norm.weight"),
            of("model.layers.1.pre_feedforward_layernorm.weight")
        );
        assert_eq!(
            name("gpt2", "blk.1.ffn_down.bias"),
            of("transformer.h.1.mlp.c_proj.bias")
        );
        assert_eq!(name("llama", "blk.x.attn_q.weight"), None);
        assert_eq!(name("llama", "blk.0.ffn_gate_exps.weight"), None);
        assert!(find("mamba").unwrap_err().contains("found `mamba`"));
    }
}
