//! A small decoder and a small encoder that exist only as shapes.

use crate::plan::{ModelFacts, ModelKind, StageFacts};
use calib::LayerSpec;
use calib::running::fisher::StageSize;
use quantizers::FloatType;
use quantizers::graph::{
    Activation, AttentionNode, BlockNode, FeedForwardNode, Graph, HeadNode, HeadTransform,
    LinearNode, MlpNode, NormNode, NormPlacement, Pattern, Positions, Projection, QkvNode,
    StageNode, TensorSpec, TokenInputNode,
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
        notes: Vec::new(),
        rewrite: None,
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
    let qkv = QkvNode::Separate {
        query: linear("self_attn.q_proj", 64, 64),
        key: linear("self_attn.k_proj", 64, 64),
        value: linear("self_attn.v_proj", 64, 64),
    };
    let output = linear("self_attn.o_proj", 64, 64);
    StageNode::Block(Box::new(BlockNode::new(
        0,
        norm("model.layers.0.input_layernorm"),
        AttentionNode::new(qkv, output, 4, 16, Pattern::Causal),
        norm("model.layers.0.post_attention_layernorm"),
        MlpNode::Dense(FeedForwardNode::plain(
            linear("mlp.up_proj", 172, 64),
            linear("mlp.down_proj", 64, 172),
            Activation::Silu,
        )),
        NormPlacement::Before,
    )))
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
    let qkv = QkvNode::Separate {
        query: inside("attention.self.query", 32, 32),
        key: inside("attention.self.key", 32, 32),
        value: inside("attention.self.value", 32, 32),
    };
    let output = inside("attention.output.dense", 32, 32);
    let block = BlockNode::new(
        0,
        norm("encoder.layer.0.attention.output.LayerNorm"),
        AttentionNode::new(qkv, output, 4, 8, Pattern::Full),
        norm("encoder.layer.0.output.LayerNorm"),
        MlpNode::Dense(FeedForwardNode::plain(
            inside("intermediate.dense", 48, 32),
            inside("output.dense", 32, 48),
            Activation::Gelu,
        )),
        NormPlacement::AfterResidual,
    );
    let head = HeadNode {
        positions: Positions::First,
        transform: Some(HeadTransform::tanh(outside("pooler.dense", 32))),
        ..HeadNode::new(None, Some(Projection::Layer(outside("classifier", 3))))
    };
    let table = |name: &str, rows: usize| {
        TensorSpec::new(format!("embeddings.{name}_embeddings.weight"), [rows, 32])
    };
    let input = TokenInputNode {
        positions: Some(table("position", 64)),
        norm: Some(norm("embeddings.LayerNorm")),
        ..TokenInputNode::new(table("word", 512))
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
