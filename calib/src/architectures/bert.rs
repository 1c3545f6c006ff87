//! BERT encoders, with a sequence classifier or without.
//!
//! | here | checkpoint (`bert.` optional) |
//! |---|---|
//! | tables, norm | `embeddings.{word,position,token_type}_embeddings`, `embeddings.LayerNorm` |
//! | q, k, v | `encoder.layer.N.attention.self.{query,key,value}` |
//! | output, attention norm | `encoder.layer.N.attention.output.{dense,LayerNorm}` |
//! | up, down, mlp norm | `encoder.layer.N.intermediate.dense`, `.output.{dense,LayerNorm}` |
//! | pooler, classifier | `pooler.dense`, `classifier` (no prefix) |
//!
//! Parameters of a `LayerNorm` may be called `gamma` and `beta`. Every token is of type 0. Without a classifier the last block's output is the result, and a
//! pooler in the checkpoint goes unused.

use super::{Architecture, Config, StageSpec, StagedModel, block_count, divided, prefix};
use crate::{Model, ModelError, ModelOutput, WeightSource};
use quantizers::graph::{
    AttentionNode, BlockNode, FeedForwardNode, HeadNode, HeadTransform, LinearNode, MlpNode,
    NormNode, NormPlacement, Pattern, Positions, Projection, QkvNode, TensorSpec, TokenInputNode,
};
use serde_json::{Value, json};

/// The family's entry in the registry.
pub(super) struct Bert;

const CLASSIFIER: &str = "BertForSequenceClassification";

/// Classes of `architectures` this family runs; of the pretraining ones it runs the encoder.
const CLASSES: &[&str] = &[
    CLASSIFIER,
    "BertModel",
    "BertForMaskedLM",
    "BertForPreTraining",
];

impl Architecture for Bert {
    fn name(&self) -> &'static str {
        "bert"
    }

    fn summary(&self) -> &'static str {
        "encoders with learned positions and LayerNorm after each residual: BERT, MiniLM"
    }

    fn model_types(&self) -> &[&'static str] {
        &["bert"]
    }

    fn open(
        &self,
        config: &Value,
        weights: &dyn WeightSource,
    ) -> Result<Box<dyn Model>, ModelError> {
        let config = Config::new(config);
        config.only("position_embedding_type", &json!("absolute"))?;
        config.only("is_decoder", &json!(false))?;
        config.only("add_cross_attention", &json!(false))?;
        config.only("pruned_heads", &json!({}))?;
        let class = config.class(CLASSES)?;
        let classifies = match class {
            Some(class) => class == CLASSIFIER,
            None => weights.contains("classifier.weight"),
        };
        let prefix = prefix("bert.", "embeddings.word_embeddings.weight", weights);
        let width = config.count("hidden_size")?;
        let vocabulary = config.count("vocab_size")?;
        let positions = config.count_or("max_position_embeddings", 512)?;
        let norms = Norms {
            width,
            epsilon: config.positive_or("layer_norm_eps", 1e-12)?,
            greek: weights.contains(&format!("{prefix}embeddings.LayerNorm.gamma")),
        };
        let table = |name: &str, rows: usize| {
            TensorSpec::new(
                format!("{prefix}embeddings.{name}_embeddings.weight"),
                [rows, width],
            )
        };
        let mut stages: Vec<Box<dyn StageSpec>> = vec![Box::new(TokenInputNode {
            positions: Some(table("position", positions)),
            token_types: Some(table("token_type", config.count_or("type_vocab_size", 2)?)),
            norm: Some(norms.named(format!("{prefix}embeddings.LayerNorm"))),
            ..TokenInputNode::new(table("word", vocabulary))
        })];
        for index in 0..block_count(&config, "num_hidden_layers", None, weights)? {
            stages.push(Box::new(block(&config, prefix, norms, index)?));
        }
        if classifies {
            let pooler = LinearNode::outside(format!("{prefix}pooler.dense"), width, width);
            let classifier = LinearNode::outside("classifier", config.classes()?, width);
            stages.push(Box::new(HeadNode {
                positions: Positions::First,
                transform: Some(HeadTransform::tanh(pooler.with_bias(true))),
                ..HeadNode::new(None, Some(Projection::Layer(classifier.with_bias(true))))
            }));
        }
        let output = if classifies {
            ModelOutput::ClassLogits
        } else {
            ModelOutput::HiddenStates
        };
        let model = StagedModel::new(self.name(), output, stages);
        Ok(Box::new(model.with_text(vocabulary, positions)))
    }
}

/// What all normalisations of one model share.
#[derive(Clone, Copy)]
struct Norms {
    width: usize,
    epsilon: f64,
    /// Parameters named as by TensorFlow (`bert-base-uncased` still has them).
    greek: bool,
}

impl Norms {
    fn named(self, name: String) -> NormNode {
        NormNode::layer(name, self.width, self.epsilon).greek(self.greek)
    }
}

fn block(
    config: &Config<'_>,
    prefix: &str,
    norms: Norms,
    index: usize,
) -> Result<BlockNode, ModelError> {
    let width = norms.width;
    let heads = config.count("num_attention_heads")?;
    let head_dim = divided(config, "num_attention_heads", heads, width, "hidden_size")?;
    let inner = config.count("intermediate_size")?;
    let block = format!("{prefix}encoder.layer.{index}");
    let linear = |name: &str, rows, cols, point: &str| {
        LinearNode::in_block(
            format!("{block}.{name}"),
            rows,
            cols,
            format!("{block}.{point}"),
        )
        .with_bias(true)
    };
    let qkv = QkvNode::Separate {
        query: linear("attention.self.query", width, width, "attn_in"),
        key: linear("attention.self.key", width, width, "attn_in"),
        value: linear("attention.self.value", width, width, "attn_in"),
    };
    let output = linear("attention.output.dense", width, width, "o_in");
    Ok(BlockNode::new(
        index,
        norms.named(format!("{block}.attention.output.LayerNorm")),
        AttentionNode::new(qkv, output, heads, head_dim, Pattern::Full),
        norms.named(format!("{block}.output.LayerNorm")),
        MlpNode::Dense(FeedForwardNode::plain(
            linear("intermediate.dense", inner, width, "mlp_in"),
            linear("output.dense", width, inner, "down_in"),
            config.activation("hidden_act", "gelu")?,
        )),
        NormPlacement::AfterResidual,
    ))
}
