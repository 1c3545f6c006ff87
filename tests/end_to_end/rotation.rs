//! Rotations folded into the embedded model, and methods and transforms on what comes of it.

use crate::quench;
use serde_json::Value;
use std::path::Path;

const ROTATE: &str = "[[transform]]\nmethod = \"rotate\"\n";

/// Quantizes the embedded model with the tables of `transforms` and one rule; returns what `--json` prints.
fn run(folder: &Path, name: &str, transforms: &str, rule: &str, evaluate: bool) -> Value {
    let recipe = format!(
        "name = \"{name}\"\n[calibration]\ndata = \"synthetic\"\nsamples = 8\nsequence_length = 64\n{transforms}\n\
         [[layers]]\nmatch = \"*\"\n{rule}\n"
    );
    let file = format!("{name}.toml");
    std::fs::write(folder.join(&file), recipe).unwrap();
    let mut words = vec!["quantize", "demo", "-r", &file, "-o", name, "--json"];
    if !evaluate {
        words.push("--no-eval");
    }
    serde_json::from_str(&quench(folder, &words)).unwrap()
}

fn figure(report: &Value, metric: &str) -> f64 {
    let scores = report["scores"].as_array().unwrap();
    let found = scores.iter().find(|score| score["metric"] == metric);
    found.unwrap()["quantized"].as_f64().unwrap()
}

fn config(folder: &Path) -> Value {
    let text = std::fs::read_to_string(folder.join("config.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

#[test]
fn a_rotated_model_is_written_untied_opens_again_and_scores_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let rule = "method = \"rtn\"\nbits = 4";
    let report = run(here, "rotated", ROTATE, rule, true);
    assert_eq!(config(&here.join("rotated"))["tie_word_embeddings"], false);
    let notes = report["warnings"].to_string();
    assert!(
        notes.contains("`lm_head.weight` differs from `model.embed_tokens.weight`"),
        "{notes}"
    );
    let plain = run(here, "plain", "", rule, true);
    let [with, without] = [&report, &plain].map(|report| figure(report, "kl_divergence"));
    assert!(with < without, "KL {with} rotated, {without} as it is");
    // The artifact alone, by the same evaluation.
    let again = quench(here, &["eval", "rotated", "--eval-data", "demo", "--json"]);
    let again: Value = serde_json::from_str(&again).unwrap();
    let perplexity = figure(&report, "perplexity");
    assert!((figure(&again, "perplexity") - perplexity).abs() < 1e-6 * perplexity);
    // A plain checkpoint of the same.
    quench(
        here,
        &["export", "rotated", "--format", "dense", "-o", "dense"],
    );
    assert_eq!(config(&here.join("dense"))["tie_word_embeddings"], false);
    let dense = quench(here, &["eval", "dense", "--eval-data", "demo", "--json"]);
    let dense: Value = serde_json::from_str(&dense).unwrap();
    let scores = dense["scores"].as_array().unwrap();
    let found = scores
        .iter()
        .find(|score| score["metric"] == "perplexity")
        .unwrap();
    let found = found["original"].as_f64().unwrap();
    assert!(
        (found - perplexity).abs() < 1e-4 * perplexity,
        "{found} {perplexity}"
    );
}

#[test]
fn nothing_but_eight_bits_is_lost_by_a_rotation() {
    let folder = tempfile::tempdir().unwrap();
    let rule = "method = \"rtn\"\nbits = 8";
    let report = run(folder.path(), "eight", ROTATE, rule, true);
    let divergence = figure(&report, "kl_divergence");
    assert!(divergence < 2e-3, "{divergence}");
}

#[test]
fn the_same_recipe_gives_the_same_bytes() {
    let rule = "method = \"rtn\"\nbits = 4";
    let written = ["", ""].map(|_| {
        let folder = tempfile::tempdir().unwrap();
        run(folder.path(), "r", ROTATE, rule, false);
        std::fs::read(folder.path().join("r/model.safetensors")).unwrap()
    });
    assert!(written[0] == written[1]);
}

#[test]
fn every_kind_of_method_and_transform_works_on_a_rotated_model() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let awq = format!("{ROTATE}[[transform]]\nmethod = \"awq\"\nsearch_tokens = 256\n");
    let cases = [
        ("gptq", ROTATE, "method = \"gptq\"\nbits = 4"),
        ("squeezellm", ROTATE, "method = \"squeezellm\"\nbits = 4"),
        ("trellis", ROTATE, "method = \"trellis\"\nbits = 4"),
        ("awq", &awq, "method = \"rtn\"\nbits = 4\ngroup_size = 64"),
    ];
    for (name, transforms, rule) in cases {
        let report = run(here, name, transforms, rule, true);
        assert_eq!(config(&here.join(name))["tie_word_embeddings"], false);
        // Round to nearest of whole rows leaves 0.024.
        let divergence = figure(&report, "kl_divergence");
        assert!(divergence < 0.05, "{name}: {divergence}");
    }
}
