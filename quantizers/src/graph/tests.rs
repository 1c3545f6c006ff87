//! Small blocks of each kind of wiring, and what the graph says of them.

use super::*;

pub(crate) const WIDTH: usize = 8;
pub(crate) const INNER: usize = 12;

fn linear(name: &str, rows: usize, cols: usize, point: &str) -> LinearNode {
    LinearNode::in_block(name, rows, cols, point)
}

fn graph(block: BlockNode) -> Graph {
    Graph {
        architecture: "toy".to_owned(),
        stages: vec![StageNode::Block(Box::new(block))],
        max_positions: Some(16),
    }
}

/// Four query heads of width 2 over two value heads, a gated half, norms before.
pub(crate) fn decoder() -> Graph {
    let qkv = QkvNode::Separate {
        query: linear("q", WIDTH, WIDTH, "attn_in"),
        key: linear("k", WIDTH / 2, WIDTH, "attn_in"),
        value: linear("v", WIDTH / 2, WIDTH, "attn_in").with_bias(true),
    };
    let output = linear("o", WIDTH, WIDTH, "o_in");
    graph(BlockNode::new(
        0,
        NormNode::rms("norm1", WIDTH, 1e-6),
        AttentionNode {
            kv_heads: 2,
            scale: 0.5,
            ..AttentionNode::new(qkv, output, 4, 2, Pattern::Causal)
        },
        NormNode::rms("norm2", WIDTH, 1e-6),
        MlpNode::Dense(FeedForwardNode::gated(
            linear("gate", INNER, WIDTH, "mlp_in"),
            linear("up", INNER, WIDTH, "mlp_in"),
            linear("down", WIDTH, INNER, "down_in"),
            Activation::Silu,
        )),
        NormPlacement::Before,
    ))
}

/// One fused projection stored `[in, out]`, GELU, `LayerNorm` before (GPT-2).
pub(crate) fn fused() -> Graph {
    let mut graph = decoder();
    if let StageNode::Block(block) = &mut graph.stages[0] {
        block.attention_norm = Some(NormNode::layer("norm1", WIDTH, 1e-6));
        block.mlp_norm = Some(NormNode::layer("norm2", WIDTH, 1e-6));
        let qkv = linear("qkv", 3 * WIDTH, WIDTH, "attn_in");
        block.attention.qkv = QkvNode::concatenated(qkv.with_bias(true).conv1d());
        block.attention.kv_heads = 4;
        set_plain(block, Activation::GeluTanh);
    }
    graph
}

/// Takes the gate away.
pub(crate) fn set_plain(block: &mut BlockNode, activation: Activation) {
    if let MlpNode::Dense(mlp) = &mut block.mlp {
        mlp.gate = Gate::None;
        mlp.activation = activation;
    }
}

/// Norms after the residual (BERT).
pub(crate) fn post_norm() -> Graph {
    let mut graph = fused();
    if let StageNode::Block(block) = &mut graph.stages[0] {
        block.placement = NormPlacement::AfterResidual;
        set_plain(block, Activation::Gelu);
    }
    graph
}

fn block(graph: &Graph) -> &BlockNode {
    graph.block_at(0).unwrap()
}

#[test]
fn a_gated_decoder_takes_factors_everywhere() {
    let graph = decoder();
    let scalings: Vec<Scaling> = block(&graph).scalings().into_iter().flatten().collect();
    let found: Vec<(&str, usize, &str)> = scalings
        .iter()
        .map(|s| (s.point(), s.channels(), s.outcome.as_str()))
        .collect();
    let expected = [
        ("attn_in", WIDTH, "o:out"),
        ("o_in", WIDTH / 2, "o:out"),
        ("mlp_in", WIDTH, "down:out"),
        ("down_in", INNER, "down:out"),
    ];
    assert_eq!(found, expected);
    // Query heads 0 and 1 share value head 0.
    assert_eq!(scalings[1].sources, [0, 1, 0, 1, 2, 3, 2, 3]);
}

#[test]
fn a_fused_projection_takes_them_in_its_last_rows() {
    let graph = fused();
    let scalings = block(&graph).scalings();
    let Ok(Scaling {
        producer: Producer::Linear(LinearRows { layer, rows }),
        ..
    }) = &scalings[1]
    else {
        panic!("values are rows of a layer");
    };
    assert_eq!((layer.name.as_str(), rows.clone()), ("qkv", 16..24));
    let error = scalings[3].as_ref().unwrap_err();
    assert_eq!(
        error.to_string(),
        "no factors in front of `down`: `gelu_new` is not linear"
    );
}

#[test]
fn norms_after_the_residual_take_none() {
    let graph = post_norm();
    let can: Vec<bool> = block(&graph).scalings().iter().map(Result::is_ok).collect();
    assert_eq!(can, [false, true, false, false]);
}

#[test]
fn ties_are_layers_with_one_input() {
    assert_eq!(decoder().ties(), [vec!["q", "k", "v"], vec!["gate", "up"]]);
    assert!(fused().ties().is_empty());
    let consumers = decoder().consumers("mlp_in");
    let names: Vec<&str> = consumers.iter().map(|layer| layer.name.as_str()).collect();
    assert_eq!(names, ["gate", "up"]);
}

#[test]
fn an_inventory_lists_what_a_stage_reads_in_execution_order() {
    let inventory = fused().stages[0].inventory();
    let names: Vec<&str> = inventory.tensors.iter().map(|t| t.name.as_str()).collect();
    let expected = [
        "norm1.weight",
        "norm1.bias",
        "qkv.weight",
        "qkv.bias",
        "o.weight",
        "norm2.weight",
        "norm2.bias",
        "up.weight",
        "down.weight",
    ];
    assert_eq!(names, expected);
    assert_eq!(inventory.tensors[2].shape, [WIDTH, 3 * WIDTH]);
    assert_eq!(inventory.points[2].name, "attn_in");
}

#[test]
fn a_graph_survives_json() {
    let graph = decoder();
    let text = serde_json::to_string(&graph).unwrap();
    assert_eq!(serde_json::from_str::<Graph>(&text).unwrap(), graph);
}
