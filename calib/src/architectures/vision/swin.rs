//! Swin: blocks whose attention stays within windows, at resolutions that halve.
//!
//! | here | checkpoint (`swin.` optional) |
//! |---|---|
//! | patches, their norm | `embeddings.patch_embeddings.projection`, `embeddings.norm` |
//! | attention norm, q, k, v | `encoder.layers.L.blocks.N.layernorm_before`, `.attention.self.{query,key,value}` |
//! | position biases, output | `.attention.self.relative_position_bias_table`, `.attention.output.dense` |
//! | mlp norm, up, down | `.layernorm_after`, `.intermediate.dense`, `.output.dense` |
//! | merging of patches | `encoder.layers.L.downsample.{norm,reduction}` |
//! | final norm, classifier | `layernorm`, `classifier` (no prefix) |

use super::super::{
    Abilities, Architecture, Config, InputKind, StageSpec, StagedModel, divided, prefix,
};
use super::tower::image;
use crate::layers::merging::MergingSpec;
use crate::{Model, ModelError, ModelOutput, WeightSource};
use quantizers::graph::{
    Activation, AttentionNode, BlockNode, DistanceNode, FeedForwardNode, HeadNode, LinearNode,
    MlpNode, NormNode, NormPlacement, PatchInputNode, Pattern, Pooling, PositionBiasNode,
    Projection, QkvNode, TensorSpec, WindowsNode,
};
use serde_json::Value;

/// The family's entry in the registry.
pub(crate) struct Swin;

const CLASSIFIER: &str = "SwinForImageClassification";

/// Epsilon of the norms that do not read `layer_norm_eps`.
const FIXED_EPSILON: f64 = 1e-5;

/// What all blocks of one resolution share.
struct Level<'a> {
    config: Config<'a>,
    /// Module name, with the prefix.
    name: String,
    width: usize,
    heads: usize,
    inner: usize,
    grid: [usize; 2],
    window: usize,
    epsilon: f64,
    activation: Activation,
    qkv_bias: bool,
}

impl Architecture for Swin {
    fn name(&self) -> &'static str {
        "swin"
    }

    fn summary(&self) -> &'static str {
        "vision transformer with shifted windows at four resolutions, with a classifier or without"
    }

    fn model_types(&self) -> &[&'static str] {
        &["swin"]
    }

    fn abilities(&self) -> Abilities {
        Abilities {
            outputs: &[ModelOutput::ClassLogits, ModelOutput::HiddenStates],
            takes: InputKind::Images,
            calibrates: true,
            integer_only: false,
            layer: "swin.encoder.layers.N.blocks.N.attention.output.dense".to_owned(),
        }
    }

    fn open(
        &self,
        config: &Value,
        weights: &dyn WeightSource,
    ) -> Result<Box<dyn Model>, ModelError> {
        let config = Config::new(config);
        let classifies = match config.class(&[CLASSIFIER, "SwinModel"])? {
            Some(class) => class == CLASSIFIER,
            None => weights.contains("classifier.weight"),
        };
        let prefix = prefix(
            "swin.",
            "embeddings.patch_embeddings.projection.weight",
            weights,
        );
        let input = patches(&config, prefix)?;
        let mut grid = input.grid();
        let mut width = input.projection.shape[0];
        let depths = config.counts("depths")?;
        let heads = config.counts("num_heads")?;
        if heads.len() != depths.len() {
            let expected = format!("{} numbers, as many as `depths`", depths.len());
            return Err(config.error("num_heads", &expected, &heads.len().to_string()));
        }
        let epsilon = config.positive_or("layer_norm_eps", FIXED_EPSILON)?;
        let mut stages: Vec<Box<dyn StageSpec>> = vec![Box::new(input)];
        let mut index = 0;
        for (position, (&depth, &heads)) in depths.iter().zip(&heads).enumerate() {
            let level = Level {
                config,
                name: format!("{prefix}encoder.layers.{position}"),
                width,
                heads,
                inner: config.ratio_of("mlp_ratio", 4.0, width)?,
                grid,
                window: config.count_or("window_size", 7)?,
                epsilon,
                activation: config.activation("hidden_act", "gelu")?,
                qkv_bias: config.flag_or("qkv_bias", true)?,
            };
            for block in 0..depth {
                stages.push(Box::new(level.block(block, index)?));
                index += 1;
            }
            if position + 1 < depths.len() {
                stages.push(Box::new(level.merging(position)?));
                (width, grid) = (2 * width, grid.map(|side| side / 2));
            }
        }
        let norm = NormNode::layer(format!("{prefix}layernorm"), width, epsilon);
        let (projection, pooling) = if classifies {
            let classifier = LinearNode::outside("classifier", config.classes()?, width);
            let projection = Projection::Layer(classifier.with_bias(true));
            (Some(projection), Some(Pooling::MeanFrom(0)))
        } else {
            (None, None)
        };
        stages.push(Box::new(HeadNode {
            pooling,
            ..HeadNode::new(Some(norm), projection)
        }));
        let output = if classifies {
            ModelOutput::ClassLogits
        } else {
            ModelOutput::HiddenStates
        };
        Ok(Box::new(StagedModel::new(self.name(), output, stages)))
    }
}

fn patches(config: &Config<'_>, prefix: &str) -> Result<PatchInputNode, ModelError> {
    let width = config.count_or("embed_dim", 96)?;
    let image = image(config)?;
    let patch = config.count_or("patch_size", 4)?;
    divided(config, "patch_size", patch, image[1], "image_size")?;
    let name = |name: &str| format!("{prefix}embeddings.{name}");
    let mut input = PatchInputNode::new(
        TensorSpec::new(
            name("patch_embeddings.projection.weight"),
            [width, image[0], patch, patch],
        ),
        TensorSpec::new(name("patch_embeddings.projection.bias"), [width]),
        image,
    );
    input.patch_norm = Some(NormNode::layer(name("norm"), width, FIXED_EPSILON));
    if config.flag_or("use_absolute_embeddings", false)? {
        let shape = [1, input.patches(), width];
        input.positions = Some(TensorSpec::new(name("position_embeddings"), shape));
    }
    Ok(input)
}

impl Level<'_> {
    /// The windows of every other block are moved by half their side, unless one window is all there is.
    fn windows(&self, block: usize) -> Result<WindowsNode, ModelError> {
        let [side, _] = self.grid;
        let (side, shift) = if side <= self.window {
            (side, 0)
        } else {
            let half = self.window / 2;
            (self.window, if block.is_multiple_of(2) { 0 } else { half })
        };
        if side != self.window {
            // The table of biases is as large as `window_size` says.
            let expected = format!("at most the {side} patches of a side of `{}`", self.name);
            let found = self.window.to_string();
            return Err(self.config.error("window_size", &expected, &found));
        }
        let [rows, _] = self.grid;
        let what = format!("the {rows} patches of a side of `{}`", self.name);
        if !rows.is_multiple_of(side) {
            let expected = format!("a divisor of {what}");
            let found = self.window.to_string();
            return Err(self.config.error("window_size", &expected, &found));
        }
        Ok(WindowsNode {
            grid: self.grid,
            side,
            shift,
        })
    }

    fn block(&self, block: usize, index: usize) -> Result<BlockNode, ModelError> {
        let (width, heads) = (self.width, self.heads);
        let head_dim = divided(&self.config, "num_heads", heads, width, "the width")?;
        let windows = self.windows(block)?;
        let name = format!("{}.blocks.{block}", self.name);
        let linear = |part: &str, rows, cols, point: &str, bias| {
            let (layer, point) = (format!("{name}.{part}"), format!("{name}.{point}"));
            LinearNode::in_block(layer, rows, cols, point).with_bias(bias)
        };
        let input = |part: &str| {
            let part = format!("attention.self.{part}");
            linear(&part, width, width, "attn_in", self.qkv_bias)
        };
        let qkv = QkvNode::Separate {
            query: input("query"),
            key: input("key"),
            value: input("value"),
        };
        let output = linear("attention.output.dense", width, width, "o_in", true);
        let grid = [windows.side; 2];
        let offsets = PositionBiasNode::offsets(grid, false);
        let table = format!("{name}.attention.self.relative_position_bias_table");
        Ok(BlockNode::new(
            index,
            NormNode::layer(format!("{name}.layernorm_before"), width, self.epsilon),
            AttentionNode {
                distance: Some(DistanceNode::Offsets(PositionBiasNode {
                    table: TensorSpec::new(table, [offsets, heads]),
                    grid,
                    class_token: false,
                })),
                windows: Some(windows),
                ..AttentionNode::new(qkv, output, heads, head_dim, Pattern::Full)
            },
            NormNode::layer(format!("{name}.layernorm_after"), width, self.epsilon),
            MlpNode::Dense(FeedForwardNode::plain(
                linear("intermediate.dense", self.inner, width, "mlp_in", true),
                linear("output.dense", width, self.inner, "down_in", true),
                self.activation,
            )),
            NormPlacement::Before,
        ))
    }

    fn merging(&self, index: usize) -> Result<MergingSpec, ModelError> {
        let [rows, _] = self.grid;
        if !rows.is_multiple_of(2) {
            let expected = format!("an even number of patches a side of `{}`", self.name);
            return Err(self
                .config
                .error("image_size", &expected, &rows.to_string()));
        }
        let (name, width) = (format!("{}.downsample", self.name), self.width);
        Ok(MergingSpec {
            index,
            grid: self.grid,
            norm: NormNode::layer(format!("{name}.norm"), 4 * width, FIXED_EPSILON),
            reduction: LinearNode::in_block(
                format!("{name}.reduction"),
                2 * width,
                4 * width,
                format!("{name}.reduction_in"),
            ),
        })
    }
}
