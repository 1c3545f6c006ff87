//! Encoders of random weights whose activations are random, too: what matters here is arithmetic.

use quantizers::graph::{
    Activation, AttentionNode, BlockNode, FeedForwardNode, Graph, HeadNode, HeadTransform,
    LinearNode, MlpNode, NormNode, NormPlacement, PatchInputNode, Pattern, Positions, Projection,
    QkvNode, StageNode, TensorSpec, TokenInputNode,
};
use quantizers::integer::compile::{
    ChannelRanges, Choice, Compilation, Options, PointStatistics, Pooling, Samples, Source,
    SourceError, compile,
};
use quantizers::tensor::{Encoding, FloatType, Granularity, QuantizedTensor, Uniform};
use quantizers::{LayerStats, METHODS, MatrixRef};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;

pub(super) const WIDTH: usize = 32;
pub(super) const VOCABULARY: usize = 50;
pub(super) const TOKENS: usize = 24;
const INNER: usize = 64;
const HEADS: usize = 2;

/// Seeds by name, as everywhere.
fn random(name: &str, count: usize, spread: f32) -> Vec<f32> {
    let seed = name.bytes().fold(17_u64, |seed, byte| {
        seed.wrapping_mul(31).wrapping_add(byte.into())
    });
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let one = |rng: &mut ChaCha8Rng| {
        // The sum of four uniform values is close enough to a bell.
        let sum: f32 = (0..4).map(|_| rng.random_range(-1.0..1.0_f32)).sum();
        spread * sum / 2.0
    };
    (0..count).map(|_| one(&mut rng)).collect()
}

fn linear(name: &str, rows: usize, cols: usize, point: &str) -> LinearNode {
    LinearNode::in_block(name, rows, cols, point).with_bias(true)
}

fn norm(name: &str) -> NormNode {
    NormNode::layer(name, WIDTH, 1e-12)
}

fn block(index: usize, placement: NormPlacement) -> StageNode {
    let at = |part: &str| format!("block{index}.{part}");
    let wide = |part: &str, point: &str| linear(&at(part), WIDTH, WIDTH, &at(point));
    let qkv = QkvNode::Separate {
        query: wide("query", "attn_in"),
        key: wide("key", "attn_in"),
        value: wide("value", "attn_in"),
    };
    let output = wide("output", "o_in");
    StageNode::Block(Box::new(BlockNode::new(
        index,
        norm(&at("norm1")),
        AttentionNode {
            scale: 0.25,
            ..AttentionNode::new(qkv, output, HEADS, WIDTH / HEADS, Pattern::Full)
        },
        norm(&at("norm2")),
        MlpNode::Dense(FeedForwardNode::plain(
            linear(&at("up"), INNER, WIDTH, &at("mlp_in")),
            linear(&at("down"), WIDTH, INNER, &at("down_in")),
            Activation::Gelu,
        )),
        placement,
    )))
}

fn graph(input: StageNode, placement: NormPlacement, head: Option<HeadNode>) -> Graph {
    let blocks = (0..2).map(|index| block(index, placement));
    Graph {
        architecture: "tiny".to_owned(),
        stages: [input]
            .into_iter()
            .chain(blocks)
            .chain(head.map(StageNode::Head))
            .collect(),
        max_positions: None,
    }
}

fn words() -> StageNode {
    let table = |name: &str, rows: usize| TensorSpec::new(name, [rows, WIDTH]);
    StageNode::Tokens(TokenInputNode {
        positions: Some(table("positions", TOKENS)),
        token_types: Some(table("types", 2)),
        norm: Some(norm("embedding_norm")),
        ..TokenInputNode::new(table("words", VOCABULARY))
    })
}

fn classifier(norm: Option<NormNode>, pooler: Option<LinearNode>) -> HeadNode {
    HeadNode {
        positions: Positions::First,
        transform: pooler.map(HeadTransform::tanh),
        ..HeadNode::new(
            norm,
            Some(Projection::Layer(linear(
                "classifier",
                3,
                WIDTH,
                "classifier_in",
            ))),
        )
    }
}

/// A text encoder with a classifier.
pub(super) fn text() -> Graph {
    let pooler = linear("pooler", WIDTH, WIDTH, "pooler_in");
    let head = classifier(None, Some(pooler));
    graph(words(), NormPlacement::AfterResidual, Some(head))
}

/// A text encoder that gives one embedding.
pub(super) fn embedding() -> Graph {
    graph(words(), NormPlacement::AfterResidual, None)
}

/// A vision transformer of four patches.
pub(super) fn image() -> Graph {
    let input = StageNode::Patches(PatchInputNode {
        tokens: vec![TensorSpec::new("class", [1, 1, WIDTH])],
        positions: Some(TensorSpec::new("positions", [1, 5, WIDTH])),
        ..PatchInputNode::new(
            TensorSpec::new("patches.weight", [WIDTH, 3, 4, 4]),
            TensorSpec::new("patches.bias", [WIDTH]),
            [3, 8, 8],
        )
    });
    let head = classifier(Some(norm("last_norm")), None);
    graph(input, NormPlacement::Before, Some(head))
}

/// Random weights and activations of a graph.
pub(super) struct Random {
    rows: usize,
    bits: u8,
}

/// Channels of a point or values of a tensor, by its name.
fn channels(point: &str) -> usize {
    match point.split('.').next_back().unwrap_or_default() {
        "up:out" | "down_in" => INNER,
        "patches_in" => 48,
        "classifier:out" => 3,
        _ => WIDTH,
    }
}

impl Source for Random {
    fn tensor(&self, name: &str) -> Result<Vec<f32>, SourceError> {
        let count = match name {
            "words" => VOCABULARY * WIDTH,
            "positions" => self.rows * WIDTH,
            "types" => 2 * WIDTH,
            "patches.weight" => 48 * WIDTH,
            "classifier.weight" => 3 * WIDTH,
            "classifier.bias" => 3,
            _ if name.ends_with("up.weight") || name.ends_with("down.weight") => INNER * WIDTH,
            _ if name.ends_with("up.bias") => INNER,
            _ if name.ends_with(".weight") && !name.contains("norm") => WIDTH * WIDTH,
            _ => WIDTH,
        };
        let mut values = random(name, count, 0.3);
        if name.contains("norm") && name.ends_with("weight") {
            for value in &mut values {
                *value += 1.0;
            }
            // A channel without a factor, of either sign of zero.
            values[0] = 0.0;
            values[1] = -0.0;
        }
        Ok(values)
    }

    fn statistics(&self, point: &str) -> Result<PointStatistics, SourceError> {
        let width = channels(point);
        // Two sequences of text, or images of as many rows as there are.
        let length = self.rows.min(12);
        let lengths: Vec<usize> = (0..24)
            .step_by(length)
            .map(|at| length.min(24 - at))
            .collect();
        let values = random(point, 24 * width, 2.0);
        let of = |channel: usize| values.iter().skip(channel).step_by(width).copied();
        let each = |fold: &dyn Fn(usize) -> f32| (0..width).map(fold).collect::<Vec<f32>>();
        let low = values.iter().copied().fold(f32::MAX, f32::min);
        let high = values.iter().copied().fold(f32::MIN, f32::max);
        Ok(PointStatistics {
            ranges: ["min_max", "moving_average", "percentile"]
                .into_iter()
                .map(|name| (name.to_owned(), (low, high)))
                .collect::<BTreeMap<_, _>>(),
            channels: Some(ChannelRanges {
                min: each(&|c| of(c).fold(f32::MAX, f32::min)),
                max: each(&|c| of(c).fold(f32::MIN, f32::max)),
                mean: each(&|c| of(c).sum::<f32>() / 24.0),
                mean_square: each(&|c| of(c).map(|x| x * x).sum::<f32>() / 24.0),
            }),
            samples: Some(Samples {
                values,
                width,
                lengths,
            }),
        })
    }

    fn quantize(
        &self,
        layer: &str,
        weight: MatrixRef<'_>,
        _mean_square: &[f32],
    ) -> Result<QuantizedTensor, SourceError> {
        let rtn = METHODS
            .iter()
            .find(|method| method.name() == "rtn")
            .unwrap();
        let rule = format!("bits = {}", self.bits);
        let quantizer = rtn.configure(&rule.parse()?)?;
        let stats = LayerStats::new(layer, 0);
        let plan = quantizer.plan(weight.rows(), weight.cols(), FloatType::F32)?;
        Ok(quantizer.quantize(weight, &plan, &stats)?.tensor)
    }
}

/// Compiles `graph` with every slot of `family` (`auto` measured among all of them).
pub(super) fn compiled(graph: &Graph, family: &str, bits: u8, attention_bits: u32) -> Compilation {
    let choice = |function: &str| match family {
        "auto" => Choice::Auto(
            ["exact", "i-bert", "i-vit", "fq-vit"]
                .map(str::to_owned)
                .to_vec(),
        ),
        // FQ-ViT leaves GELU as it is.
        "fq-vit" if function == "gelu" => Choice::Named("exact".to_owned()),
        family => Choice::Named(family.to_owned()),
    };
    let rows = graph.max_rows().unwrap();
    let bare = !matches!(graph.stages.last(), Some(StageNode::Head(_)));
    let options = Options {
        gelu: choice("gelu"),
        softmax: choice("softmax"),
        layernorm: choice("layernorm"),
        attention_bits,
        pooling: bare.then_some(Pooling::Mean),
        ..Options::default()
    };
    compile(graph, &Random { rows, bits }, &options).unwrap()
}

/// Codes and scales of a quantized layer, as an artifact would give them back.
pub(super) fn codes(tensor: &QuantizedTensor) -> (usize, usize, Vec<i8>) {
    match &tensor.encoding {
        Encoding::Uniform(Uniform {
            codes,
            granularity: Granularity::Channel,
            ..
        }) => (tensor.rows, tensor.cols, codes.clone()),
        other => panic!("a uniform grid per channel, found {other:?}"),
    }
}
