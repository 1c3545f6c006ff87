//! Encoders describe themselves; what is no plain encoder says why not.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on may stop")]

#[path = "models/checkpoints.rs"]
mod checkpoints;

use calib::WeightSource;
use checkpoints::{fixture, open};
use quantizers::integer::compile::{
    Activation, Block, EncoderGraph, Head, Input, LinearNode, NormNode,
};
use std::path::{Path, PathBuf};

fn assets() -> PathBuf {
    PathBuf::from(std::env::var_os("QUENCH_ASSETS").expect("QUENCH_ASSETS names the assets"))
}

fn linear(name: String, [rows, cols]: [usize; 2], bias: bool, point: String) -> LinearNode {
    LinearNode {
        name,
        rows,
        cols,
        bias,
        input_point: point,
    }
}

fn norm(name: String, [weight, bias]: [&str; 2], epsilon: f64) -> NormNode {
    NormNode {
        weight: format!("{name}.{weight}"),
        bias: Some(format!("{name}.{bias}")),
        name,
        epsilon,
    }
}

/// Widths of a model: hidden states, feed-forward half, heads, blocks.
#[derive(Clone, Copy)]
struct Widths {
    width: usize,
    inner: usize,
    heads: usize,
    blocks: usize,
}

const LATIN: [&str; 2] = ["weight", "bias"];

fn bert(prefix: &str, names: [&str; 2], widths: Widths, activation: Activation) -> Vec<Block> {
    let Widths {
        width,
        inner,
        heads,
        blocks,
    } = widths;
    (0..blocks)
        .map(|index| {
            let block = format!("{prefix}encoder.layer.{index}");
            let layer = |name: &str, shape, point: &str| {
                linear(
                    format!("{block}.{name}"),
                    shape,
                    true,
                    format!("{block}.{point}"),
                )
            };
            Block {
                index,
                query: layer("attention.self.query", [width, width], "attn_in"),
                key: layer("attention.self.key", [width, width], "attn_in"),
                value: layer("attention.self.value", [width, width], "attn_in"),
                output: layer("attention.output.dense", [width, width], "o_in"),
                heads,
                head_dim: width / heads,
                scale: 1.0 / ((width / heads) as f64).sqrt(),
                attention_norm: norm(format!("{block}.attention.output.LayerNorm"), names, 1e-12),
                up: layer("intermediate.dense", [inner, width], "mlp_in"),
                down: layer("output.dense", [width, inner], "down_in"),
                activation,
                mlp_norm: norm(format!("{block}.output.LayerNorm"), names, 1e-12),
                pre_norm: false,
            }
        })
        .collect()
}

fn text(prefix: &str, names: [&str; 2], vocabulary: usize, max_tokens: usize) -> Input {
    let table = |name: &str| format!("{prefix}embeddings.{name}_embeddings.weight");
    Input::Text {
        tokens: table("word"),
        vocabulary,
        positions: Some(table("position")),
        token_types: Some(table("token_type")),
        max_tokens,
        norm: Some(norm(format!("{prefix}embeddings.LayerNorm"), names, 1e-12)),
    }
}

fn classifier(prefix: &str, width: usize, classes: usize) -> Head {
    let outside = |name: String, rows| linear(name.clone(), [rows, width], true, name + "_in");
    Head {
        first_only: true,
        norm: None,
        pooler: Some(outside(format!("{prefix}pooler.dense"), width)),
        classifier: Some(outside("classifier".to_owned(), classes)),
    }
}

fn vit(widths: Widths, qkv_bias: bool, side: usize, patch: usize, classes: usize) -> EncoderGraph {
    let Widths {
        width,
        inner,
        heads,
        blocks,
    } = widths;
    let blocks = (0..blocks)
        .map(|index| {
            let block = format!("vit.encoder.layer.{index}");
            let layer = |name: &str, shape, point: &str, bias| {
                linear(
                    format!("{block}.{name}"),
                    shape,
                    bias,
                    format!("{block}.{point}"),
                )
            };
            let inside = |name: &str| {
                let name = format!("attention.attention.{name}");
                layer(&name, [width, width], "attn_in", qkv_bias)
            };
            Block {
                index,
                query: inside("query"),
                key: inside("key"),
                value: inside("value"),
                output: layer("attention.output.dense", [width, width], "o_in", true),
                heads,
                head_dim: width / heads,
                scale: 1.0 / ((width / heads) as f64).sqrt(),
                attention_norm: norm(format!("{block}.layernorm_before"), LATIN, 1e-6),
                up: layer("intermediate.dense", [inner, width], "mlp_in", true),
                down: layer("output.dense", [width, inner], "down_in", true),
                activation: Activation::Gelu,
                mlp_norm: norm(format!("{block}.layernorm_after"), LATIN, 1e-6),
                pre_norm: true,
            }
        })
        .collect();
    let embeddings = |name: &str| format!("vit.embeddings.{name}");
    EncoderGraph {
        width,
        input: Input::Image {
            projection: embeddings("patch_embeddings.projection.weight"),
            bias: embeddings("patch_embeddings.projection.bias"),
            class_token: embeddings("cls_token"),
            positions: embeddings("position_embeddings"),
            image: [3, side, side],
            patch,
            input_point: embeddings("patch_embeddings.projection_in"),
        },
        blocks,
        head: Head {
            first_only: true,
            norm: Some(norm("vit.layernorm".to_owned(), LATIN, 1e-6)),
            pooler: None,
            classifier: Some(linear(
                "classifier".to_owned(),
                [classes, width],
                true,
                "classifier_in".to_owned(),
            )),
        },
    }
}

const TINY: Widths = Widths {
    width: 32,
    inner: 48,
    heads: 4,
    blocks: 2,
};
const MINILM: Widths = Widths {
    width: 384,
    inner: 1536,
    heads: 12,
    blocks: 6,
};

fn graph(folder: &Path) -> EncoderGraph {
    open(folder).1.encoder_graph().unwrap()
}

#[test]
fn tiny_encoders_are_described() {
    let expected = EncoderGraph {
        width: 32,
        input: text("bert.", LATIN, 96, 48),
        blocks: bert("bert.", LATIN, TINY, Activation::Relu),
        head: classifier("bert.", 32, 3),
    };
    assert_eq!(graph(&fixture("bert-classifier-relu")), expected);
    let greek = ["gamma", "beta"];
    let expected = EncoderGraph {
        width: 32,
        input: text("bert.", greek, 96, 48),
        blocks: bert("bert.", greek, TINY, Activation::Gelu),
        head: Head::default(),
    };
    assert_eq!(graph(&fixture("bert-prefixed-greek")), expected);
    let expected = vit(TINY, false, 16, 4, 5);
    assert_eq!(graph(&fixture("vit-classifier-no-bias")), expected);
    let headless = graph(&fixture("vit-model")).head;
    assert!(headless.norm.is_some() && headless.classifier.is_none() && !headless.first_only);
}

#[test]
#[ignore = "needs QUENCH_ASSETS"]
fn real_encoders_are_described() {
    let expected = EncoderGraph {
        width: 384,
        input: text("", LATIN, 30522, 512),
        blocks: bert("", LATIN, MINILM, Activation::Gelu),
        head: Head::default(),
    };
    assert_eq!(graph(&assets().join("minilm-l6-v2")), expected);
    let expected = EncoderGraph {
        width: 384,
        input: text("bert.", LATIN, 30522, 512),
        blocks: bert("bert.", LATIN, MINILM, Activation::Gelu),
        head: classifier("bert.", 384, 2),
    };
    assert_eq!(graph(&assets().join("minilm-sst2")), expected);
    let widths = Widths {
        width: 128,
        inner: 512,
        heads: 4,
        blocks: 6,
    };
    assert_eq!(
        graph(&assets().join("vit-cifar10")),
        vit(widths, true, 32, 8, 10)
    );
}

#[test]
fn tensors_of_a_description_are_in_the_checkpoint() {
    for name in [
        "bert-classifier-relu",
        "bert-prefixed-greek",
        "vit-classifier-no-bias",
    ] {
        let (checkpoint, model) = open(&fixture(name));
        for block in model.encoder_graph().unwrap().blocks {
            for layer in [
                &block.query,
                &block.key,
                &block.value,
                &block.output,
                &block.up,
            ] {
                let weight = checkpoint.shape(&format!("{}.weight", layer.name));
                assert_eq!(weight, Some(vec![layer.rows, layer.cols]));
                assert_eq!(
                    checkpoint.contains(&format!("{}.bias", layer.name)),
                    layer.bias
                );
            }
            for norm in [&block.attention_norm, &block.mlp_norm] {
                assert!(checkpoint.contains(&norm.weight));
                assert!(norm.bias.iter().all(|bias| checkpoint.contains(bias)));
            }
        }
    }
}

#[test]
fn decoders_say_why_not() {
    for (name, architecture) in [
        ("llama-plain-v4", "llama"),
        ("mistral-window", "llama"),
        ("gpt2", "gpt2"),
    ] {
        let error = open(&fixture(name)).1.encoder_graph().unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("`{architecture}` has no integer-only form: block 0 has causal attention")
        );
    }
}
