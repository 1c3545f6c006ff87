//! Plans of a small decoder and encoder that exist only as shapes.

use super::{ModelFacts, ModelKind, Plan, PlanError, StageFacts};
use crate::recipe::{Origin, Overrides, Recipe};
use calib::LayerSpec;
use calib::running::fisher::StageSize;
use quantizers::graph::{
    Activation, AttentionNode, BlockNode, FeedForwardNode, Graph, HeadNode, LinearNode, NormNode,
    NormPlacement, Pattern, Positions, Projection, QkvNode, StageNode, TensorSpec, TokenInputNode,
};
use quantizers::{FloatType, Granularity};

/// Two blocks of an attention and an mlp layer, and a head.
fn model(kind: ModelKind) -> ModelFacts {
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
        vocabulary: Some(512),
        max_positions: Some(256),
        synthetic: kind == ModelKind::Decoder,
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
        max_positions: Some(64),
        synthetic: true,
        graph,
        ..model(ModelKind::TextClassifier)
    }
}

fn plan(text: &str) -> Result<Plan, PlanError> {
    plan_for(text, ModelKind::Decoder)
}

fn plan_for(text: &str, kind: ModelKind) -> Result<Plan, PlanError> {
    Recipe::parse(text, Origin::Builtin, None)
        .unwrap()
        .check(&model(kind), 2)
}

fn refused(text: &str) -> (String, String) {
    let error = plan(text).unwrap_err();
    (error.to_string(), error.hint().unwrap_or_default())
}

#[test]
fn the_first_matching_rule_wins_and_the_head_must_be_named() {
    let plan = plan(
        "[[layers]]\nmatch = \"*.down_proj\"\nmethod = \"rtn\"\nbits = 8\n\
         [[layers]]\nmatch = \"*\"\nmethod = \"rtn\"\nbits = 4\n",
    )
    .unwrap();
    let bits: Vec<u8> = plan
        .layers
        .iter()
        .map(|layer| layer.plan.scheme.bits)
        .collect();
    assert_eq!(bits, [4, 8, 4, 8]);
    assert_eq!(plan.kept.len(), 1);
    assert_eq!(plan.kept[0].because, "outside the blocks, not named");
    assert_eq!(plan.layers[0].because, "rule `*` (line 5)");
    assert_eq!(plan.format, "compressed-tensors");
    assert_eq!(plan.calibration, None, "round to nearest needs no data");
    assert_eq!(plan.evaluations[0].spec.data, "synthetic");
}

#[test]
fn predicted_sizes_are_the_stored_bits() {
    let plan = plan("[[layers]]\nmatch = \"*q_proj\"\nmethod = \"rtn\"\nbits = 4\n").unwrap();
    // 64 rows of 64 4-bit codes, one f16 scale each, and the 16 bytes of weight_shape.
    let bytes = 64 * (64 / 2 + 2) + 16;
    assert_eq!(plan.layers[0].bytes, bytes);
    assert_eq!(plan.layers[0].original_bytes, 64 * 64 * 2);
    assert_eq!(
        plan.size.artifact_bytes,
        plan.size.original_bytes - 2 * (64 * 64 * 2) + 2 * bytes
    );
}

#[test]
fn a_plan_survives_json() {
    let plan = plan("[[layers]]\nmatch = \"*\"\nmethod = \"squeezellm\"\nbits = 3\n").unwrap();
    let text = serde_json::to_string(&plan).unwrap();
    let again: Plan = serde_json::from_str(&text).unwrap();
    // Decimal text may move a float by its last bit.
    assert_eq!(
        (&again.recipe, &again.calibration),
        (&plan.recipe, &plan.calibration)
    );
    assert_eq!(
        (&again.kept, &again.evaluations),
        (&plan.kept, &plan.evaluations)
    );
    for (read, planned) in again.layers.iter().zip(&plan.layers) {
        assert_eq!(
            (&read.name, &read.plan.scheme, &read.plan.needs),
            (&planned.name, &planned.plan.scheme, &planned.plan.needs)
        );
        assert_eq!(read.parameters, planned.parameters);
    }
    assert!(plan.layers.iter().all(|layer| layer.quantizer().is_ok()));
    let calibration = plan.calibration.unwrap();
    assert_eq!(
        (calibration.sequence_length, calibration.samples),
        (256, 128)
    );
    assert_eq!(calibration.statistics, ["fisher"]);
    assert_eq!(plan.format, "quench");
}

#[test]
fn patterns_that_decide_nothing_are_errors() {
    let (message, hint) =
        refused("[[layers]]\nmatch = \"*.mlp.down_pro\"\nmethod = \"rtn\"\nbits = 4\n");
    assert_eq!(
        message,
        "line 2: pattern `*.mlp.down_pro` matches no linear layer"
    );
    assert_eq!(hint, "nearest layer names: `model.layers.0.mlp.down_proj`");
    let (message, hint) = refused(
        "[[layers]]\nmatch = \"*\"\nmethod = \"rtn\"\nbits = 4\n\
         [[layers]]\nmatch = \"*.down_proj\"\nmethod = \"rtn\"\nbits = 8\n",
    );
    assert_eq!(
        message,
        "line 6: pattern `*.down_proj` decides no linear layer"
    );
    assert!(
        hint.starts_with("the rule at line 1 takes those layers first"),
        "{hint}"
    );
}

#[test]
fn shapes_and_formats_that_do_not_fit_are_errors_before_any_work() {
    let (message, hint) =
        refused("[[layers]]\nmatch = \"*\"\nmethod = \"rtn\"\nbits = 4\ngroup_size = 64\n");
    assert_eq!(
        message,
        "cannot quantize `model.layers.0.mlp.down_proj` [64, 172] with `rtn` (rule at line 1)"
    );
    assert!(hint.contains("group_size_fallback"), "{hint}");
    let (message, hint) = refused(
        "[[layers]]\nmatch = \"*\"\nmethod = \"kmeans\"\nbits = 3\n\
         [output]\nformat = \"compressed-tensors\"\n",
    );
    assert!(
        message.starts_with(
            "format `compressed-tensors` cannot hold `model.layers.0.self_attn.q_proj`: "
        ),
        "{message}"
    );
    assert!(hint.contains("`format = \"quench\"`"), "{hint}");
}

#[test]
fn a_fallback_is_visible() {
    let plan = plan(
        "[[layers]]\nmatch = \"*\"\nmethod = \"rtn\"\nbits = 4\ngroup_size = 64\n\
         group_size_fallback = \"channel\"\n",
    )
    .unwrap();
    let granularity: Vec<Granularity> = plan
        .layers
        .iter()
        .map(|layer| layer.plan.scheme.granularity)
        .collect();
    assert_eq!(
        granularity[..2],
        [Granularity::Group(64), Granularity::Channel]
    );
    let told = "one scale per channel, as group_size 64 does not divide 172 inputs";
    assert!(
        plan.layers[1].because.ends_with(told),
        "{}",
        plan.layers[1].because
    );
    assert!(
        plan.notes.iter().any(|note| note.starts_with(told)),
        "{:?}",
        plan.notes
    );
}

#[test]
fn data_is_checked_before_any_work() {
    let squeeze = |extra: &str| {
        format!("{extra}[[layers]]\nmatch = \"*\"\nmethod = \"squeezellm\"\nbits = 3\n")
    };
    let (message, _) = refused(&squeeze("[calibration]\ndata = \"no/such.txt\"\n"));
    assert_eq!(message, "calibration data `no/such.txt` cannot be read");
    let (message, hint) = refused(&squeeze("[calibration]\nsequence_length = 512\n"));
    assert!(message.contains("expected at most 256"), "{message}");
    assert_eq!(hint, "use `--sequence-length 256`");
    let error = plan_for(&squeeze(""), ModelKind::TextEncoder).unwrap_err();
    assert!(matches!(error, PlanError::NoSampler { .. }), "{error}");
}

#[test]
fn encoders_without_a_graph_default_to_8_bits_and_say_that_nothing_was_measured() {
    let facts = model(ModelKind::TextEncoder);
    let recipe = Recipe::for_model(None, &Overrides::default(), &facts).unwrap();
    let plan = recipe.check(&facts, 1).unwrap();
    assert_eq!(plan.recipe.name, "w8");
    assert!(plan.evaluations.is_empty());
    assert!(
        plan.notes
            .iter()
            .any(|note| note.starts_with("no accuracy is measured"))
    );
    let overrides = Overrides {
        eval_data: Some("demo".into()),
        bits: Some(6),
        ..Overrides::default()
    };
    let recipe = Recipe::for_model(None, &overrides, &facts).unwrap();
    let plan = recipe.check(&facts, 1).unwrap();
    assert_eq!(plan.evaluations[0].spec.task, "sentence_similarity");
    assert_eq!(plan.layers[0].plan.scheme.bits, 6);
}

#[test]
fn a_task_for_another_kind_of_model_is_refused() {
    let (message, hint) = refused(
        "[[layers]]\nmatch = \"*\"\nmethod = \"rtn\"\nbits = 4\n\
         [[evaluate]]\ntask = \"classification\"\ndata = \"demo\"\n",
    );
    assert_eq!(
        message,
        "evaluation (recipe line 5): task `classification` does not judge a decoder"
    );
    assert_eq!(hint, "task `perplexity` does");
}
