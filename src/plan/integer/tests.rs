use super::*;
use crate::plan::tests::{decoder, encoder};
use crate::plan::{ModelFacts, Plan};
use crate::recipe::{Origin, Overrides, Recipe};
use quantizers::graph::{Activation, MlpNode, StageNode};

const TABLES: &str = "[nonlinear]\nsoftmax = \"auto\"\n[calibration]\ndata = \"synthetic\"\n";

fn plan_of(text: &str, model: &ModelFacts) -> Result<Plan, PlanError> {
    let recipe = Recipe::parse(text, Origin::Builtin, None).unwrap();
    recipe.check(model, 2)
}

fn refused(text: &str) -> (String, String) {
    let error = plan_of(text, &encoder()).unwrap_err();
    (error.to_string(), error.hint().unwrap_or_default())
}

fn rule(pattern: &str, parameters: &str) -> String {
    format!("[[layers]]\nmatch = \"{pattern}\"\n{parameters}\n")
}

#[test]
fn every_layer_is_quantized_whether_a_rule_names_it_or_not() {
    let text = format!("{}{TABLES}", rule("*", "method = \"rtn\"\nbits = 4"));
    let plan = plan_of(&text, &encoder()).unwrap();
    assert!(plan.kept.is_empty());
    assert_eq!(plan.layers.len(), encoder().layers.len());
    let bits: Vec<u8> = plan
        .layers
        .iter()
        .map(|layer| layer.plan.scheme.bits)
        .collect();
    assert_eq!(bits[..2], [4, 4]);
    let last = plan.layers.last().unwrap();
    assert_eq!(
        (last.name.as_str(), last.plan.scheme.bits),
        ("classifier", 8)
    );
    assert!(
        last.because.starts_with("no rule names it"),
        "{}",
        last.because
    );
    assert_eq!(plan.format, "quench");
    let calibration = plan.calibration.as_ref().unwrap();
    assert_eq!(calibration.statistics, ["activations"]);
    assert_eq!(
        calibration.sequence_length, 64,
        "as many as the model takes"
    );
    assert!(plan.integer.is_some());
    let bare = plan_of(TABLES, &encoder()).unwrap();
    assert!(bare.layers.iter().all(|layer| layer.plan.scheme.bits == 8));
}

#[test]
fn the_plan_says_how_slots_and_activations_are_decided() {
    let plan = plan_of(TABLES, &encoder()).unwrap();
    assert_eq!(
        plan.integer.as_ref().unwrap().lines(),
        "gelu         exact\n\
         softmax      auto (exact, i-bert, i-vit, fq-vit)\n\
         layernorm    exact\n\
         activations  8 bits, asymmetric, ranges by mse; attention weights 15 bits; equalized; biases corrected\n"
    );
    let text = serde_json::to_string(&plan).unwrap();
    let again: Plan = serde_json::from_str(&text).unwrap();
    assert_eq!(again.integer, plan.integer);
}

#[test]
fn weights_that_no_integer_product_takes_are_refused_with_their_line() {
    let cases = [
        ("method = \"keep\"", 1, "float weights"),
        (
            "method = \"rtn\"\nbits = 8\ngroup_size = 8",
            5,
            "a scale per group of 8",
        ),
        (
            "method = \"rtn\"\nbits = 8\nsymmetric = false",
            5,
            "zero points",
        ),
        ("method = \"kmeans\"\nbits = 4", 3, "codes of a codebook"),
        (
            "method = \"rtn\"\nbits = 8\nactivation_bits = 8",
            5,
            "a grid of its own for its inputs",
        ),
        (
            "method = \"squeezellm\"\nbits = 4",
            3,
            "method `squeezellm`, which needs the statistic `fisher`",
        ),
    ];
    for (parameters, line, found) in cases {
        let (message, hint) = refused(&format!("{}{TABLES}", rule("*", parameters)));
        let expected = format!(
            "line {line}: `encoder.layer.0.attention.self.query` in an integer-only program: expected \
             symmetric uniform weights, one scale per channel or matrix, found {found}"
        );
        assert_eq!(message, expected);
        assert!(hint.contains("`method = \"rtn\"`"), "{hint}");
    }
}

#[test]
fn decoders_and_other_formats_are_refused_before_any_work() {
    let error = plan_of(TABLES, &decoder()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "line 1: integer-only programs are for encoders: text and vision transformers"
    );
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(
        cause,
        "`llama` has no integer-only form: block 0 has causal attention (`model.layers.0.self_attn.o_proj`)"
    );
    let (message, hint) = refused(&format!(
        "{TABLES}[output]\nformat = \"compressed-tensors\"\n"
    ));
    assert_eq!(
        message,
        "format `compressed-tensors` cannot hold an integer program"
    );
    assert_eq!(hint, "`format = \"quench\"` does");
}

#[test]
fn encoders_become_integer_programs_by_default() {
    let recipe = Recipe::for_model(None, &Overrides::default(), &encoder()).unwrap();
    let plan = recipe.check(&encoder(), 1).unwrap();
    assert_eq!(plan.recipe.name, "int8-integer-only");
    // 512 + 64 rows of 32 codes and a multiplier; 9 bytes for each of the 243 output channels of the
    // layers, 17 for each of the 3 * 32 of the normalisations.
    let tables = 576 * (32 + 2) + 4 * 32 + 9 * (4 * 32 + 48 + 32 + 32 + 3) + 17 * 96;
    let layers: u64 = plan.layers.iter().map(|layer| layer.bytes).sum();
    assert_eq!(plan.size.artifact_bytes, tables + layers);
    let overrides = Overrides {
        method: Some("rtn".to_owned()),
        ..Overrides::default()
    };
    let recipe = Recipe::for_model(None, &overrides, &encoder()).unwrap();
    assert!(recipe.check(&encoder(), 1).unwrap().integer.is_none());
    let inexpressible = ModelFacts {
        graph: decoder().graph,
        ..encoder()
    };
    assert_eq!(Recipe::default_for(&inexpressible), "q8");
}

#[test]
fn plans_say_what_their_readers_must_know() {
    let notes = |toml: &str, activation: Activation| {
        let mut model = encoder();
        for stage in &mut model.graph.stages {
            if let StageNode::Block(block) = stage
                && let MlpNode::Dense(mlp) = &mut block.mlp
            {
                mlp.activation = activation;
            }
        }
        plan_of(toml, &model).unwrap().notes
    };
    let made_up = "calibrated on made-up data; ranges may be too narrow; name data with `--calib`";
    let said = |notes: &[String], text: &str| notes.iter().any(|note| note == text);
    assert!(said(&notes(TABLES, Activation::Gelu), made_up));
    let demo = TABLES.replace("synthetic", "demo");
    assert!(!said(&notes(&demo, Activation::Gelu), made_up));

    let published = "[nonlinear]\ngelu = \"i-bert\"\n";
    let unused =
        "gelu by i-bert is not used: the model activates with relu, which `exact` alone replaces";
    assert!(said(&notes(published, Activation::Relu), unused));
    assert!(!said(&notes(published, Activation::Gelu), unused));
    assert!(!said(&notes(TABLES, Activation::Relu), unused));
}
