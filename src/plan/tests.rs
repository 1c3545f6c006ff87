//! Plans of a small decoder and encoder.

mod models;

pub(crate) use models::{decoder, encoder};

use super::{BlockOrder, ModelKind, Plan, PlanError};
use crate::recipe::{Origin, Overrides, Recipe};
use models::model;
use quantizers::{Granularity, Sequential};

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
fn compensation_that_reads_gradients_finds_them_stored_and_goes_first_to_last() {
    let rule = "method = \"gptq\"\ngrid = \"codebook\"\nweights = \"fisher\"\nbits = 3\n";
    let plan = plan(&format!(
        "[[layers]]\nmatch = \"*\"\n{rule}group_size = 32\n"
    ))
    .unwrap();
    let calibration = plan.calibration.unwrap();
    assert_eq!(calibration.statistics, ["fisher", "hessian"]);
    assert_eq!(calibration.order, BlockOrder::FirstToLast);
    assert_eq!(calibration.sequential, Sequential::Blocks);
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
    assert_eq!(plan.recipe.name, "q8");
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

#[test]
fn what_cannot_be_kept_is_said() {
    let told = |rule: &str| {
        let text = format!("[calibration]\nkeep_statistics = true\n{rule}");
        let notes = plan(&text).unwrap().notes;
        notes
            .into_iter()
            .find(|note| note.starts_with("`keep_statistics`"))
    };
    let rule = "[[layers]]\nmatch = \"*\"\nmethod = \"gptq\"\nbits = 4\n";
    let nothing = told(rule).unwrap();
    assert!(
        nothing.starts_with("`keep_statistics` keeps nothing"),
        "{nothing}"
    );
    let rule = "[[layers]]\nmatch = \"*\"\nmethod = \"squeezellm\"\nbits = 4\n";
    assert_eq!(told(rule), None);
}

#[test]
fn gradients_are_known_inside_the_blocks_only() {
    for method in ["autoround", "squeezellm"] {
        let (message, hint) = refused(&format!(
            "[[layers]]\nmatch = \"lm_head\"\nmethod = \"{method}\"\nbits = 4\n"
        ));
        assert!(
            message.starts_with(&format!(
                "cannot quantize `lm_head` with `{method}` (rule at line 1)"
            )),
            "{message}"
        );
        assert!(hint.contains("`gptq`"), "{hint}");
    }
}

#[test]
fn layers_that_are_tuned_run_the_model_behind_quantized_blocks() {
    let plan = plan("[[layers]]\nmatch = \"*\"\nmethod = \"autoround\"\nbits = 4\n").unwrap();
    let calibration = plan.calibration.unwrap();
    assert_eq!(calibration.sequential, Sequential::Blocks);
    assert_eq!(calibration.order, BlockOrder::FirstToLast);
    assert!(plan.layers.iter().all(|layer| layer.plan.tuning.is_some()));
}
