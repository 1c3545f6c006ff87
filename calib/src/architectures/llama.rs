//! Decoders of the Llama family: llama, mistral, qwen2, qwen3.
//!
//! | here | checkpoint |
//! |---|---|
//! | token table | `model.embed_tokens` |
//! | attention norm, q, k, v, o | `model.layers.N.input_layernorm`, `.self_attn.{q,k,v,o}_proj` |
//! | head norms (qwen3) | `model.layers.N.self_attn.{q,k}_norm` |
//! | mlp norm, gate, up, down | `model.layers.N.post_attention_layernorm`, `.mlp.{gate,up,down}_proj` |
//! | final norm, head | `model.norm`, `lm_head` (or the token table) |

use super::rope_parameters::rope;
use super::{Architecture, Config, StageSpec, StagedModel, block_count, divided, prefix};
use crate::{Model, ModelError, ModelOutput, WeightSource};
use quantizers::graph::{
    Activation, AttentionNode, BlockNode, FeedForwardNode, HeadNode, LinearNode, NormNode,
    NormPlacement, Pattern, Positions, Projection, QkvNode, RopeNode, TensorSpec, TokenInputNode,
};
use serde_json::Value;

/// The family's entry in the registry.
pub(super) struct Llama;

/// Classes of `architectures` this family runs; the bare models end after the final norm.
const CLASSES: &[&str] = &[
    "LlamaForCausalLM",
    "MistralForCausalLM",
    "Qwen2ForCausalLM",
    "Qwen3ForCausalLM",
    "LlamaModel",
    "MistralModel",
    "Qwen2Model",
    "Qwen3Model",
];

impl Architecture for Llama {
    fn name(&self) -> &'static str {
        "llama"
    }

    fn summary(&self) -> &'static str {
        "decoders with rotary positions, RMSNorm and a gated MLP: Llama, Mistral, Qwen2, Qwen3"
    }

    fn model_types(&self) -> &'static [&'static str] {
        &["llama", "mistral", "qwen2", "qwen3"]
    }

    fn open(
        &self,
        config: &Value,
        weights: &dyn WeightSource,
    ) -> Result<Box<dyn Model>, ModelError> {
        let shape = Shape::read(Config::new(config), weights)?;
        let mut stages: Vec<Box<dyn StageSpec>> = vec![Box::new(TokenInputNode {
            tokens: shape.token_table(),
            positions: None,
            token_types: None,
            norm: None,
        })];
        for index in 0..shape.patterns.len() {
            stages.push(Box::new(shape.block(index)));
        }
        stages.push(Box::new(HeadNode {
            positions: Positions::All,
            norm: Some(shape.norm(format!("{}norm", shape.prefix))),
            pooler: None,
            projection: shape.head(),
        }));
        let output = match shape.head {
            Head::None => ModelOutput::HiddenStates,
            Head::Own | Head::Tied => ModelOutput::TokenLogits,
        };
        let model = StagedModel::new(self.name(), output, stages);
        Ok(Box::new(
            model.with_text(shape.vocabulary, shape.max_positions),
        ))
    }
}

enum Head {
    None,
    Own,
    Tied,
}

/// Everything config.json says that changes the mathematics.
struct Shape {
    prefix: &'static str,
    width: usize,
    inner: usize,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    vocabulary: usize,
    max_positions: usize,
    epsilon: f64,
    activation: Activation,
    rope: RopeNode,
    /// One per block.
    patterns: Vec<Pattern>,
    biases: Biases,
    head_norms: bool,
    head: Head,
}

/// Which layers add a bias.
struct Biases {
    qkv: bool,
    output: bool,
    mlp: bool,
}

impl Shape {
    fn read(config: Config<'_>, weights: &dyn WeightSource) -> Result<Self, ModelError> {
        let kind = config.text_or("model_type", "llama")?;
        let width = config.count("hidden_size")?;
        let heads = config.count("num_attention_heads")?;
        let kv_heads = match (config.mentions("num_key_value_heads"), kind) {
            (false, "mistral") => 8,
            (false, "qwen2" | "qwen3") => 32,
            _ => config.count_or("num_key_value_heads", heads)?,
        };
        divided(
            &config,
            "num_key_value_heads",
            kv_heads,
            heads,
            "num_attention_heads",
        )?;
        let head_dim = match (config.optional_count("head_dim")?, kind) {
            (Some(head_dim), _) => head_dim,
            (None, "qwen3") => 128,
            (None, _) => divided(&config, "num_attention_heads", heads, width, "hidden_size")?,
        };
        if !head_dim.is_multiple_of(2) {
            return Err(config.error("head_dim", "an even number", &head_dim.to_string()));
        }
        let max_positions = config.count_or("max_position_embeddings", 2048)?;
        let attention_bias =
            matches!(kind, "llama" | "qwen3") && config.flag_or("attention_bias", false)?;
        let blocks = block_count(&config, "num_hidden_layers", weights)?;
        let base = config
            .class(CLASSES)?
            .is_some_and(|class| class.ends_with("Model"));
        // With both tables in the checkpoint the head is its own, as transformers decides it.
        let head = match (base, weights.contains("lm_head.weight")) {
            (true, _) => Head::None,
            (false, false) if config.flag_or("tie_word_embeddings", false)? => Head::Tied,
            (false, _) => Head::Own,
        };
        Ok(Self {
            prefix: prefix("model.", "embed_tokens.weight", weights),
            width,
            inner: config.count("intermediate_size")?,
            heads,
            kv_heads,
            head_dim,
            vocabulary: config.count("vocab_size")?,
            max_positions,
            epsilon: config.positive_or("rms_norm_eps", 1e-6)?,
            activation: config.activation("hidden_act", "silu")?,
            rope: rope(&config, max_positions)?,
            patterns: patterns(&config, kind, blocks)?,
            biases: Biases {
                qkv: kind == "qwen2" || attention_bias,
                output: attention_bias,
                mlp: kind == "llama" && config.flag_or("mlp_bias", false)?,
            },
            head_norms: kind == "qwen3",
            head,
        })
    }

    fn token_table(&self) -> TensorSpec {
        TensorSpec::new(
            format!("{}embed_tokens.weight", self.prefix),
            [self.vocabulary, self.width],
        )
    }

    fn norm(&self, name: String) -> NormNode {
        NormNode::rms(name, self.width, self.epsilon)
    }

    fn head(&self) -> Option<Projection> {
        match self.head {
            Head::None => None,
            Head::Own => Some(Projection::Layer(LinearNode::outside(
                "lm_head",
                self.vocabulary,
                self.width,
            ))),
            Head::Tied => Some(Projection::Tied(self.token_table())),
        }
    }

    fn block(&self, index: usize) -> BlockNode {
        let block = format!("{}layers.{index}", self.prefix);
        let linear = |name: &str, rows, cols, point: &str, bias| {
            LinearNode::in_block(
                format!("{block}.{name}"),
                rows,
                cols,
                format!("{block}.{point}"),
            )
            .with_bias(bias)
        };
        let attention = |name: &str, heads: usize| {
            let name = format!("self_attn.{name}");
            linear(
                &name,
                heads * self.head_dim,
                self.width,
                "attn_in",
                self.biases.qkv,
            )
        };
        let head_norm = |name: &str| {
            let name = format!("{block}.self_attn.{name}");
            self.head_norms
                .then(|| NormNode::rms(name, self.head_dim, self.epsilon))
        };
        BlockNode {
            index,
            attention_norm: self.norm(format!("{block}.input_layernorm")),
            attention: AttentionNode {
                qkv: QkvNode::Separate {
                    query: attention("q_proj", self.heads),
                    key: attention("k_proj", self.kv_heads),
                    value: attention("v_proj", self.kv_heads),
                },
                output: linear(
                    "self_attn.o_proj",
                    self.width,
                    self.heads * self.head_dim,
                    "o_in",
                    self.biases.output,
                ),
                heads: self.heads,
                kv_heads: self.kv_heads,
                head_dim: self.head_dim,
                pattern: self.patterns[index],
                scale: (self.head_dim as f64).sqrt().recip(),
                query_norm: head_norm("q_norm"),
                key_norm: head_norm("k_norm"),
                rope: Some(self.rope),
            },
            mlp_norm: self.norm(format!("{block}.post_attention_layernorm")),
            mlp: FeedForwardNode {
                gate: Some(linear(
                    "mlp.gate_proj",
                    self.inner,
                    self.width,
                    "mlp_in",
                    self.biases.mlp,
                )),
                up: linear(
                    "mlp.up_proj",
                    self.inner,
                    self.width,
                    "mlp_in",
                    self.biases.mlp,
                ),
                down: linear(
                    "mlp.down_proj",
                    self.width,
                    self.inner,
                    "down_in",
                    self.biases.mlp,
                ),
                activation: self.activation,
            },
            placement: NormPlacement::Before,
        }
    }
}

/// Who sees whom, block by block.
fn patterns(config: &Config<'_>, kind: &str, blocks: usize) -> Result<Vec<Pattern>, ModelError> {
    // The window of a class whose file does not mention it.
    let window = || match config.get("sliding_window") {
        None if config.mentions("sliding_window") => Ok(None),
        _ => config.count_or("sliding_window", 4096).map(Some),
    };
    let sliding = |window: Option<usize>| {
        window.map_or(Pattern::Causal, |window| Pattern::Sliding { window })
    };
    match kind {
        "mistral" => Ok(vec![sliding(window()?); blocks]),
        "qwen2" | "qwen3" => {
            let window = if config.flag_or("use_sliding_window", false)? {
                window()?
            } else {
                None
            };
            if let Some(types) = config.get("layer_types") {
                return layer_types(config, types, blocks, window);
            }
            let full = config.whole_or("max_window_layers", 28)?.min(blocks);
            let mut patterns = vec![Pattern::Causal; full];
            patterns.resize(blocks, sliding(window));
            Ok(patterns)
        }
        _ => Ok(vec![Pattern::Causal; blocks]),
    }
}

fn layer_types(
    config: &Config<'_>,
    types: &Value,
    blocks: usize,
    window: Option<usize>,
) -> Result<Vec<Pattern>, ModelError> {
    let names = types.as_array().map_or(&[][..], Vec::as_slice);
    if names.len() != blocks {
        return Err(config.refuse("layer_types", &format!("a list of {blocks} names"), types));
    }
    names
        .iter()
        .map(|name| match (name.as_str(), window) {
            (Some("full_attention"), _) => Ok(Pattern::Causal),
            (Some("sliding_attention"), Some(window)) => Ok(Pattern::Sliding { window }),
            (Some("sliding_attention"), None) => Err(config.refuse(
                "layer_types",
                "`full_attention` while no `sliding_window` is in use",
                name,
            )),
            _ => Err(config.refuse(
                "layer_types",
                "`full_attention` or `sliding_attention`",
                name,
            )),
        })
        .collect()
}
