//! Vision transformers, with an image classifier or without.
//!
//! | here | checkpoint (`vit.` optional) |
//! |---|---|
//! | patches | `embeddings.patch_embeddings.projection` |
//! | class token, positions | `embeddings.cls_token`, `embeddings.position_embeddings` |
//! | attention norm, q, k, v | `encoder.layer.N.layernorm_before`, `.attention.attention.{query,key,value}` |
//! | output | `encoder.layer.N.attention.output.dense` |
//! | mlp norm, up, down | `encoder.layer.N.layernorm_after`, `.intermediate.dense`, `.output.dense` |
//! | final norm, classifier | `layernorm`, `classifier` (no prefix) |
//!
//! Without a classifier the final norm's output is the result, and a pooler goes unused.

use super::{Architecture, Config, StageSpec, StagedModel, block_count, divided, prefix};
use crate::{Model, ModelError, ModelOutput, WeightSource};
use quantizers::graph::{
    AttentionNode, BlockNode, FeedForwardNode, HeadNode, LinearNode, MlpNode, NormNode,
    NormPlacement, PatchInputNode, Pattern, Positions, Projection, QkvNode, TensorSpec,
};
use serde_json::Value;

/// The family's entry in the registry.
pub(super) struct Vit;

const CLASSIFIER: &str = "ViTForImageClassification";

/// Longest side of an image that is believed.
const LONGEST_SIDE: usize = 1 << 16;

impl Architecture for Vit {
    fn name(&self) -> &'static str {
        "vit"
    }

    fn summary(&self) -> &'static str {
        "vision transformers over square patches with a class token: ViT, DeiT-style checkpoints"
    }

    fn model_types(&self) -> &[&'static str] {
        &["vit"]
    }

    fn open(
        &self,
        config: &Value,
        weights: &dyn WeightSource,
    ) -> Result<Box<dyn Model>, ModelError> {
        let config = Config::new(config);
        let classifies = match config.class(&[CLASSIFIER, "ViTModel"])? {
            Some(class) => class == CLASSIFIER,
            None => weights.contains("classifier.weight"),
        };
        let prefix = prefix("vit.", "embeddings.cls_token", weights);
        let width = config.count("hidden_size")?;
        let epsilon = config.positive_or("layer_norm_eps", 1e-12)?;
        let mut stages: Vec<Box<dyn StageSpec>> = vec![Box::new(patches(&config, prefix, width)?)];
        for index in 0..block_count(&config, "num_hidden_layers", None, weights)? {
            stages.push(Box::new(block(&config, prefix, width, epsilon, index)?));
        }
        let projection = if classifies {
            let classifier = LinearNode::outside("classifier", config.classes()?, width);
            Some(Projection::Layer(classifier.with_bias(true)))
        } else {
            None
        };
        stages.push(Box::new(HeadNode {
            positions: if classifies {
                Positions::First
            } else {
                Positions::All
            },
            ..HeadNode::new(
                Some(NormNode::layer(
                    format!("{prefix}layernorm"),
                    width,
                    epsilon,
                )),
                projection,
            )
        }));
        let output = if classifies {
            ModelOutput::ClassLogits
        } else {
            ModelOutput::HiddenStates
        };
        Ok(Box::new(StagedModel::new(self.name(), output, stages)))
    }
}

fn patches(config: &Config<'_>, prefix: &str, width: usize) -> Result<PatchInputNode, ModelError> {
    let channels = config.count_or("num_channels", 3)?;
    let patch = config.count_or("patch_size", 16)?;
    let side = config.count_or("image_size", 224)?;
    if side > LONGEST_SIDE {
        let expected = format!("at most {LONGEST_SIDE}");
        return Err(config.error("image_size", &expected, &side.to_string()));
    }
    let per_side = divided(config, "patch_size", patch, side, "image_size")?;
    let name = |name: &str| format!("{prefix}embeddings.{name}");
    Ok(PatchInputNode {
        projection: TensorSpec::new(
            name("patch_embeddings.projection.weight"),
            [width, channels, patch, patch],
        ),
        bias: TensorSpec::new(name("patch_embeddings.projection.bias"), [width]),
        class_token: TensorSpec::new(name("cls_token"), [1, 1, width]),
        positions: TensorSpec::new(
            name("position_embeddings"),
            [1, 1 + per_side * per_side, width],
        ),
        image: [channels, side, side],
    })
}

fn block(
    config: &Config<'_>,
    prefix: &str,
    width: usize,
    epsilon: f64,
    index: usize,
) -> Result<BlockNode, ModelError> {
    let heads = config.count("num_attention_heads")?;
    let head_dim = divided(config, "num_attention_heads", heads, width, "hidden_size")?;
    let inner = config.count("intermediate_size")?;
    let qkv_bias = config.flag_or("qkv_bias", true)?;
    let block = format!("{prefix}encoder.layer.{index}");
    let linear = |name: &str, rows, cols, point: &str, bias| {
        LinearNode::in_block(
            format!("{block}.{name}"),
            rows,
            cols,
            format!("{block}.{point}"),
        )
        .with_bias(bias)
    };
    let query = |name: &str| {
        let name = format!("attention.attention.{name}");
        linear(&name, width, width, "attn_in", qkv_bias)
    };
    let qkv = QkvNode::Separate {
        query: query("query"),
        key: query("key"),
        value: query("value"),
    };
    let output = linear("attention.output.dense", width, width, "o_in", true);
    Ok(BlockNode::new(
        index,
        NormNode::layer(format!("{block}.layernorm_before"), width, epsilon),
        AttentionNode::new(qkv, output, heads, head_dim, Pattern::Full),
        NormNode::layer(format!("{block}.layernorm_after"), width, epsilon),
        MlpNode::Dense(FeedForwardNode::plain(
            linear("intermediate.dense", inner, width, "mlp_in", true),
            linear("output.dense", width, inner, "down_in", true),
            config.activation("hidden_act", "gelu")?,
        )),
        NormPlacement::Before,
    ))
}
