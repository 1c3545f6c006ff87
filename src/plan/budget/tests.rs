//! Choices within a budget for a small decoder, by scores that are made up.

use super::*;
use crate::plan::tests::decoder;
use crate::plan::{Plan, PlanError};
use crate::recipe::{Origin, Recipe};
use quantizers::sensitivity::SENSITIVITIES;
use std::collections::BTreeMap;

const CALIBRATED: &str = "[calibration]\nsamples = 3\n";

/// Everything open, at `bits` per weight, with more keys of the budget.
fn recipe(bits: f64, keys: &str) -> Recipe {
    let text = format!(
        "{CALIBRATED}[[layers]]\nmatch = \"*\"\nmethod = \"rtn\"\nbits = \"auto\"\n\
         [output]\nformat = \"quench\"\n\
         [budget]\nbits_per_weight = {bits}\nchoices = [2, 3, 4]\n{keys}"
    );
    Recipe::parse(&text, Origin::Builtin, None).unwrap()
}

/// Scores of `recipe` as if they had been measured: a layer loses `4^-bits` times its place.
fn measured(recipe: &Recipe) -> Measured {
    let plan = recipe
        .plan_measuring(&decoder(), 2, &[&SENSITIVITIES[0]])
        .unwrap();
    let mut options: Vec<MeasuredOption> = Vec::new();
    let mut layers: Vec<MeasuredLayer> = Vec::new();
    for planned in &plan.layers {
        let key = crate::plan::option_key(planned);
        let option = options.iter().position(|known| *known == key);
        let option = option.unwrap_or_else(|| {
            options.push(key);
            options.len() - 1
        });
        if layers.last().is_none_or(|layer| layer.name != planned.name) {
            layers.push(MeasuredLayer {
                name: planned.name.clone(),
                shape: planned.shape,
                options: Vec::new(),
            });
        }
        let place = layers.len() as f64;
        let score = place * 0.25_f64.powi(i32::from(planned.plan.scheme.bits));
        layers.last_mut().unwrap().options.push(OptionScore {
            option,
            bits: 8 * planned.bytes,
            outliers: 0,
            outlier_factor: None,
            sqnr_db: None,
            scores: BTreeMap::from([("fisher".to_owned(), score)]),
        });
    }
    Measured {
        quench_measured: MEASURED_VERSION,
        program: "test".to_owned(),
        model: MeasuredModel {
            name: "tiny".to_owned(),
            fingerprint: "ab".to_owned(),
        },
        calibration: plan.calibration.as_ref().map(MeasuredCalibration::from),
        seed: 0,
        transforms: Vec::new(),
        format: plan.format,
        sensitivities: vec!["fisher".to_owned()],
        options,
        layers,
        correlations: Vec::new(),
    }
}

/// What was measured, for a model of that fingerprint.
fn scores(fingerprint: &str, measured: &Measured) -> Scores {
    Scores {
        measured: measured.clone(),
        file: "scores.json".to_owned(),
        fingerprint: fingerprint.to_owned(),
    }
}

fn check(recipe: &Recipe, measured: &Measured) -> Result<Plan, PlanError> {
    recipe.check_measured(&decoder(), 2, &scores("ab", measured))
}

fn bits(plan: &Plan) -> Vec<u8> {
    let layers = plan.layers.iter();
    layers.map(|layer| layer.plan.scheme.bits).collect()
}

#[test]
fn options_of_a_layer_stand_one_after_the_other_and_read_what_scores_read() {
    let plan = recipe(3.5, "")
        .plan_measuring(&decoder(), 2, &[&SENSITIVITIES[0]])
        .unwrap();
    assert_eq!(bits(&plan), [2, 3, 4].repeat(4));
    assert_eq!(plan.calibration.unwrap().statistics, ["fisher"]);
    assert!(plan.evaluations.is_empty());
}

#[test]
fn layers_get_bits_where_they_help_most_and_never_more_than_the_budget() {
    let scores = measured(&recipe(3.0, "tie = false\n"));
    let mut before = f64::INFINITY;
    for budget in [2.6, 3.0, 3.3, 3.5, 3.9, 4.2, 9.0] {
        let plan = check(&recipe(budget, "tie = false\n"), &scores).unwrap();
        let found = plan.budget.as_ref().unwrap();
        let stored: u64 = plan.layers.iter().map(|layer| 8 * layer.bytes).sum();
        assert_eq!(found.bits, stored);
        assert!(found.taken() <= budget && found.is_optimal, "{found:?}");
        assert!(found.score < before && found.bound <= found.score);
        before = found.score;
        // The last layers lose most.
        assert!(bits(&plan)[3] >= bits(&plan)[1] && bits(&plan)[2] >= bits(&plan)[0]);
        assert!(plan.notes[0].starts_with(&format!("budget {budget}: ")));
        let because = &plan.layers[0].because;
        let label = format!("budget {budget}: {} bits, ", bits(&plan)[0]);
        assert!(
            because.contains(&label) && because.starts_with("rule `*`"),
            "{because}"
        );
    }
}

#[test]
fn tied_layers_take_the_same_option() {
    let keys = "tie = [\"*\"]\n";
    let scores = measured(&recipe(3.0, keys));
    for budget in [2.8, 3.2, 3.6] {
        let plan = check(&recipe(budget, keys), &scores).unwrap();
        let bits = bits(&plan);
        assert!(bits[0] == bits[1] && bits[2] == bits[3], "{bits:?}");
    }
}

#[test]
fn a_budget_below_the_smallest_options_says_what_they_take() {
    let scores = measured(&recipe(3.0, ""));
    let error = check(&recipe(1.5, ""), &scores).unwrap_err();
    let message = error.to_string();
    assert!(
        message.starts_with("budget: expected at least 2.") && message.ends_with("found 1.5"),
        "{message}"
    );
    assert!(error.hint().unwrap().contains("fewer bits"));
}

#[test]
fn the_whole_file_counts_what_is_kept() {
    let keys = "scope = \"file\"\n";
    let scores = measured(&recipe(8.0, keys));
    // The head keeps 16 bits and is nearly half of all parameters.
    let plan = check(&recipe(9.5, keys), &scores).unwrap();
    let budget = plan.budget.unwrap();
    assert_eq!(budget.bits, 8 * plan.size.artifact_bytes);
    assert!((budget.taken() - plan.size.bits_per_weight_file).abs() < 1e-9);
    assert!(check(&recipe(3.0, keys), &scores).is_err());
}

#[test]
fn scores_of_another_model_or_other_options_are_refused() {
    let scores = measured(&recipe(3.0, ""));
    let refused = |error: PlanError| error.to_string();
    let other = recipe(3.0, "").check_measured(&decoder(), 2, &self::scores("cd", &scores));
    assert_eq!(
        refused(other.unwrap_err()),
        "scores of `scores.json`: expected those of `tiny`, found those of another model (`tiny` when it was measured)"
    );
    let wider = recipe(3.0, "[[budget.option]]\nmethod = \"rtn\"\nbits = 8\n");
    assert_eq!(
        refused(check(&wider, &scores).unwrap_err()),
        "scores of `scores.json`: it has no scores of `model.layers.0.self_attn.q_proj` with rtn, 8 bits"
    );
    let kind = recipe(3.0, "sensitivity = \"local\"\n");
    let error = check(&kind, &scores).unwrap_err();
    assert_eq!(
        error.hint().unwrap(),
        "`quench measure --sensitivity local` finds them"
    );
    // Fewer options than were measured are fine.
    let fewer = recipe(3.5, "").to_toml().replace("[2, 3, 4]", "[2, 4]");
    let fewer = Recipe::parse(&fewer, Origin::Builtin, None).unwrap();
    assert!(check(&fewer, &scores).is_ok());
}

#[test]
fn without_scores_the_plan_says_how_to_get_them() {
    let error = recipe(3.0, "").check(&decoder(), 2).unwrap_err();
    assert!(matches!(error, PlanError::NotMeasured));
    assert!(error.hint().unwrap().contains("quench measure"));
}

#[test]
fn other_calibration_data_are_noted() {
    let mut scores = measured(&recipe(3.0, ""));
    scores.calibration.as_mut().unwrap().samples = 99;
    let plan = check(&recipe(3.5, ""), &scores).unwrap();
    let note = "the scores were measured on other calibration data than this run's";
    assert!(plan.notes.iter().any(|found| found == note));
}

#[test]
fn gradients_outside_the_blocks_are_refused_beforehand() {
    let text = "[[layers]]\nmatch = \"lm_head\"\nmethod = \"rtn\"\nbits = \"auto\"\n\
                [budget]\nbits_per_weight = 4\n";
    let recipe = Recipe::parse(text, Origin::Builtin, None).unwrap();
    let plan = |kind: &str| {
        let kind = quantizers::sensitivity::Sensitivity::find(kind).unwrap();
        recipe.plan_measuring(&decoder(), 2, &[kind])
    };
    let message = plan("fisher").unwrap_err().to_string();
    assert!(message.contains("`lm_head` is outside"), "{message}");
    assert!(plan("kl").unwrap().calibration.is_some());
}

#[test]
fn a_file_reads_back_and_others_are_refused() {
    let scores = measured(&recipe(3.0, ""));
    let text = serde_json::to_string(&scores).unwrap();
    assert_eq!(Measured::parse(&text).unwrap(), scores);
    assert_eq!(
        Measured::parse("{}").unwrap_err(),
        "expected a file that `quench measure` wrote"
    );
    let newer = text.replace("\"quench_measured\":1", "\"quench_measured\":2");
    assert_eq!(
        Measured::parse(&newer).unwrap_err(),
        "expected version 1 of the file, found 2"
    );
    let broken = text.replace("\"option\":2", "\"option\":77");
    assert!(
        Measured::parse(&broken)
            .unwrap_err()
            .contains("there are 3")
    );
}
