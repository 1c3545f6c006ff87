//! A small decoder and a small encoder that exist only as shapes.

use crate::plan::{ModelFacts, ModelKind, StageFacts};
use calib::LayerSpec;
use calib::running::fisher::StageSize;
use quantizers::FloatType;
use quantizers::graph::{
    Activation, AttentionNode, BlockNode, FeedForwardNode, Graph, HeadNode, LinearNode, NormNode,
    NormPlacement, Pattern, Positions, Projection, QkvNode, StageNode, TensorSpec, TokenInputNode,
};

/// Two blocks of an attention and an mlp layer, and a head.
pub(in crate::plan) fn model(kind: ModelKind) -> ModelFacts {
    let mut layers = Vec::new();
    for block in 0..2 {
        for (name, rows, cols) in [("self_attn.q_proj", 64, 64), ("mlp.down_proj", 64, 172)] {
            layers.push(LayerSpec {
                name: format!("model.layers.{block}.{name}"),
                rows,
                cols,
                transposed: false,
                stage: block + 1,
                input_point: format!("model.layers.{block}.{name}.input"),
                in_block: true,
            });
        }
    }
    layers.push(LayerSpec {
        name: "lm_head".into(),
        rows: 512,
        cols: 64,
        transposed: false,
        stage: 3,
        input_point: "lm_head.input".into(),
        in_block: false,
    });
    let weights = |layer: &LayerSpec| (layer.rows * layer.cols) as u64;
    let parameters: u64 = layers.iter().map(weights).sum();
    ModelFacts {
        name: "tiny".into(),
        revision: None,
        architecture: "llama".into(),
        kind,
        stages: ["embedding", "block 0", "block 1", "head"]
            .map(|name| StageFacts {
                name: name.into(),
                parameters: 64 * 236,
                size: StageSize {
                    activations: 64 * 4,
                    weights: 64 * 64,
                },
            })
            .to_vec(),
        layer_bytes: layers
            .iter()
            .map(|l| (l.name.clone(), 2 * weights(l)))
            .collect(),
        float_types: layers
            .iter()
            .map(|l| (l.name.clone(), FloatType::F16))
            .collect(),
        layers,
        parameters,
        tensor_bytes: 2 * parameters,
        kept_bytes: 2 * parameters,
        vocabulary: Some(512),
        max_positions: Some(256),
        synthetic: kind == ModelKind::Decoder,
        others: Vec::new(),
        graph: Graph {
            architecture: "llama".into(),
            stages: vec![causal_block()],
            max_positions: Some(256),
        },
    }
}

/// The first block of the decoder.
fn causal_block() -> StageNode {
    let linear = |name: &str, rows, cols| {
        let name = format!("model.layers.0.{name}");
        LinearNode::in_block(name.as_str(), rows, cols, format!("{name}.input"))
    };
    let norm = |name: &str| NormNode::rms(name, 64, 1e-6);
    StageNode::Block(Box::new(BlockNode {
        index: 0,
        attention_norm: norm("model.layers.0.input_layernorm"),
        attention: AttentionNode {
            qkv: QkvNode::Separate {
                query: linear("self_attn.q_proj", 64, 64),
                key: linear("self_attn.k_proj", 64, 64),
                value: linear("self_attn.v_proj", 64, 64),
            },
            output: linear("self_attn.o_proj", 64, 64),
            heads: 4,
            kv_heads: 4,
            head_dim: 16,
            pattern: Pattern::Causal,
            scale: 0.25,
            query_norm: None,
            key_norm: None,
            rope: None,
        },
        mlp_norm: norm("model.layers.0.post_attention_layernorm"),
        mlp: FeedForwardNode {
            gate: None,
            up: linear("mlp.up_proj", 172, 64),
            down: linear("mlp.down_proj", 64, 172),
            activation: Activation::Silu,
        },
        placement: NormPlacement::Before,
    }))
}

/// The decoder of [`model`], for plans of integer programs.
pub(crate) fn decoder() -> ModelFacts {
    model(ModelKind::Decoder)
}

/// A text classifier of one block, with the graph of an integer program.
pub(crate) fn encoder() -> ModelFacts {
    let linear = |name: &str, rows, cols| {
        LinearNode::in_block(name, rows, cols, format!("{name}.input")).with_bias(true)
    };
    let inside = |name: &str, rows, cols| linear(&format!("encoder.layer.0.{name}"), rows, cols);
    let outside = |name: &str, rows| LinearNode::outside(name, rows, 32).with_bias(true);
    let norm = |name: &str| NormNode::layer(name, 32, 1e-12);
    let block = BlockNode {
        index: 0,
        attention_norm: norm("encoder.layer.0.attention.output.LayerNorm"),
        attention: AttentionNode {
            qkv: QkvNode::Separate {
                query: inside("attention.self.query", 32, 32),
                key: inside("attention.self.key", 32, 32),
                value: inside("attention.self.value", 32, 32),
            },
            output: inside("attention.output.dense", 32, 32),
            heads: 4,
            kv_heads: 4,
            head_dim: 8,
            pattern: Pattern::Full,
            scale: 8.0_f64.sqrt().recip(),
            query_norm: None,
            key_norm: None,
            rope: None,
        },
        mlp_norm: norm("encoder.layer.0.output.LayerNorm"),
        mlp: FeedForwardNode {
            gate: None,
            up: inside("intermediate.dense", 48, 32),
            down: inside("output.dense", 32, 48),
            activation: Activation::Gelu,
        },
        placement: NormPlacement::AfterResidual,
    };
    let head = HeadNode {
        positions: Positions::First,
        norm: None,
        pooler: Some(outside("pooler.dense", 32)),
        projection: Some(Projection::Layer(outside("classifier", 3))),
    };
    let table = |name: &str, rows: usize| {
        TensorSpec::new(format!("embeddings.{name}_embeddings.weight"), [rows, 32])
    };
    let input = TokenInputNode {
        tokens: table("word", 512),
        positions: Some(table("position", 64)),
        token_types: None,
        norm: Some(norm("embeddings.LayerNorm")),
    };
    let graph = Graph {
        architecture: "bert".into(),
        stages: vec![
            StageNode::Tokens(input),
            StageNode::Block(Box::new(block)),
            StageNode::Head(head),
        ],
        max_positions: Some(64),
    };
    let layers: Vec<LayerSpec> = graph
        .stages
        .iter()
        .flat_map(|stage| stage.inventory().linears)
        .map(|layer| LayerSpec::new(layer, 1))
        .collect();
    let weights = |layer: &LayerSpec| (layer.rows * layer.cols) as u64;
    let parameters = layers.iter().map(weights).sum::<u64>() + 576 * 32 + 300;
    let sized = |layer: &LayerSpec| (layer.name.clone(), 2 * weights(layer));
    ModelFacts {
        architecture: "bert".into(),
        layer_bytes: layers.iter().map(sized).collect(),
        float_types: layers
            .iter()
            .map(|layer| (layer.name.clone(), FloatType::F16))
            .collect(),
        layers,
        parameters,
        tensor_bytes: 2 * parameters,
        kept_bytes: 2 * parameters,
        max_positions: Some(64),
        synthetic: true,
        graph,
        ..model(ModelKind::TextClassifier)
    }
}
