//! GPT-2: learned positions, `LayerNorm` before each half, Conv1D weights stored `[in, out]`.
//!
//! | here | checkpoint (`transformer.` optional) |
//! |---|---|
//! | token and position tables | `wte`, `wpe` |
//! | attention norm, q k v fused, output | `h.N.ln_1`, `h.N.attn.c_attn`, `h.N.attn.c_proj` |
//! | mlp norm, up, down | `h.N.ln_2`, `h.N.mlp.c_fc`, `h.N.mlp.c_proj` |
//! | final norm, head | `ln_f`, `lm_head` (or the token table) |

use super::{Architecture, Config, StageSpec, StagedModel, block_count, divided, prefix};
use crate::{Model, ModelError, ModelOutput, WeightSource};
use quantizers::graph::{
    AttentionNode, BlockNode, FeedForwardNode, HeadNode, LinearNode, NormNode, NormPlacement,
    Pattern, Positions, Projection, QkvNode, TensorSpec, TokenInputNode,
};
use serde_json::{Value, json};

/// The family's entry in the registry.
pub(super) struct Gpt2;

impl Architecture for Gpt2 {
    fn name(&self) -> &'static str {
        "gpt2"
    }

    fn summary(&self) -> &'static str {
        "decoders with learned positions and a fused q, k, v projection: GPT-2, DistilGPT-2"
    }

    fn model_types(&self) -> &'static [&'static str] {
        &["gpt2"]
    }

    fn open(
        &self,
        config: &Value,
        weights: &dyn WeightSource,
    ) -> Result<Box<dyn Model>, ModelError> {
        let config = Config::new(config);
        config.only("add_cross_attention", &json!(false))?;
        let base = config.class(&["GPT2LMHeadModel", "GPT2Model"])? == Some("GPT2Model");
        let prefix = prefix("transformer.", "wte.weight", weights);
        let width = count(&config, "n_embd", "hidden_size", 768)?;
        let positions = count(&config, "n_positions", "max_position_embeddings", 1024)?;
        let vocabulary = config.count_or("vocab_size", 50_257)?;
        let epsilon = config.positive_or("layer_norm_epsilon", 1e-5)?;
        let blocks = match (
            config.mentions("n_layer"),
            config.mentions("num_hidden_layers"),
        ) {
            (false, true) => block_count(&config, "num_hidden_layers", weights)?,
            _ => block_count(&config, "n_layer", weights)?,
        };
        let tokens = TensorSpec::new(format!("{prefix}wte.weight"), [vocabulary, width]);
        let mut stages: Vec<Box<dyn StageSpec>> = vec![Box::new(TokenInputNode {
            tokens: tokens.clone(),
            positions: Some(TensorSpec::new(
                format!("{prefix}wpe.weight"),
                [positions, width],
            )),
            token_types: None,
            norm: None,
        })];
        for index in 0..blocks {
            stages.push(Box::new(block(&config, prefix, width, epsilon, index)?));
        }
        let projection = if base {
            None
        } else if config.flag_or("tie_word_embeddings", true)?
            && !weights.contains("lm_head.weight")
        {
            Some(Projection::Tied(tokens))
        } else {
            Some(Projection::Layer(LinearNode::outside(
                "lm_head", vocabulary, width,
            )))
        };
        stages.push(Box::new(HeadNode {
            positions: Positions::All,
            norm: Some(NormNode::layer(format!("{prefix}ln_f"), width, epsilon)),
            pooler: None,
            projection,
        }));
        let output = if base {
            ModelOutput::HiddenStates
        } else {
            ModelOutput::TokenLogits
        };
        let model = StagedModel::new(self.name(), output, stages);
        Ok(Box::new(model.with_text(vocabulary, positions)))
    }
}

/// GPT-2's own key, or the one other families use.
fn count(config: &Config<'_>, own: &str, alias: &str, default: usize) -> Result<usize, ModelError> {
    match config.optional_count(own)? {
        Some(count) => Ok(count),
        None => config.count_or(alias, default),
    }
}

fn block(
    config: &Config<'_>,
    prefix: &str,
    width: usize,
    epsilon: f64,
    index: usize,
) -> Result<BlockNode, ModelError> {
    let heads = count(config, "n_head", "num_attention_heads", 12)?;
    let head_dim = divided(config, "n_head", heads, width, "n_embd")?;
    let inner = config.count_or("n_inner", 4 * width)?;
    let mut scale = 1.0;
    if config.flag_or("scale_attn_weights", true)? {
        scale /= (head_dim as f64).sqrt();
    }
    if config.flag_or("scale_attn_by_inverse_layer_idx", false)? {
        scale /= (index + 1) as f64;
    }
    let block = format!("{prefix}h.{index}");
    let linear = |name: &str, rows, cols, point: &str| {
        LinearNode::in_block(
            format!("{block}.{name}"),
            rows,
            cols,
            format!("{block}.{point}"),
        )
        .with_bias(true)
        .conv1d()
    };
    Ok(BlockNode {
        index,
        attention_norm: NormNode::layer(format!("{block}.ln_1"), width, epsilon),
        attention: AttentionNode {
            qkv: QkvNode::Fused(linear("attn.c_attn", 3 * width, width, "attn_in")),
            output: linear("attn.c_proj", width, width, "o_in"),
            heads,
            kv_heads: heads,
            head_dim,
            pattern: Pattern::Causal,
            scale,
            query_norm: None,
            key_norm: None,
            rope: None,
        },
        mlp_norm: NormNode::layer(format!("{block}.ln_2"), width, epsilon),
        mlp: FeedForwardNode {
            gate: None,
            up: linear("mlp.c_fc", inner, width, "mlp_in"),
            down: linear("mlp.c_proj", width, inner, "down_in"),
            activation: config.activation("activation_function", "gelu_new")?,
        },
        placement: NormPlacement::Before,
    })
}
