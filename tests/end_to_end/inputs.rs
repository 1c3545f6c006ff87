//! Layers whose inputs are rounded too when the model runs: what is scored is that model.

use crate::quench;
use serde_json::Value;
use std::path::Path;

/// Quantizes the embedded model to 8-bit weights with `extra` lines in the rule; returns its weights file and
/// what `--json` prints.
fn run(folder: &Path, name: &str, extra: &str) -> (Vec<u8>, Value) {
    let recipe = format!(
        "name = \"{name}\"\n[[layers]]\nmatch = \"*\"\nmethod = \"rtn\"\nbits = 8\n{extra}\n\
         [output]\nformat = \"quench\"\n"
    );
    let file = format!("{name}.toml");
    std::fs::write(folder.join(&file), recipe).unwrap();
    let printed = quench(
        folder,
        &["quantize", "demo", "-r", &file, "-o", name, "--json"],
    );
    let weights = std::fs::read(folder.join(name).join("model.safetensors")).unwrap();
    (weights, serde_json::from_str(&printed).unwrap())
}

fn score(report: &Value, metric: &str, side: &str) -> f64 {
    let scores = report["scores"].as_array().unwrap();
    let found = scores.iter().find(|score| score["metric"] == metric);
    found.unwrap()[side].as_f64().unwrap()
}

#[test]
fn the_score_is_that_of_the_model_with_rounded_inputs() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let (weights, plain) = run(here, "weights", "");
    let (with_eight, eight) = run(here, "eight", "activation_bits = 8");
    let (with_four, four) = run(here, "four", "activation_bits = 4");
    assert!(
        weights == with_eight && weights == with_four,
        "inputs are not stored"
    );
    let loss = |report: &Value| score(report, "kl_divergence", "quantized");
    assert!(loss(&plain) > 0.0);
    assert!(
        loss(&eight) > 1.5 * loss(&plain),
        "{} {}",
        loss(&eight),
        loss(&plain)
    );
    assert!(
        loss(&four) > 10.0 * loss(&eight),
        "{} {}",
        loss(&four),
        loss(&eight)
    );
    assert_eq!(four["layers"][0]["input_bits"], 4);
    assert!(plain["layers"][0].get("input_bits").is_none());

    // The files alone say it: evaluated again, and as a dense export that cannot say it.
    let again = quench(here, &["eval", "eight", "--eval-data", "demo", "--json"]);
    let again: Value = serde_json::from_str(&again).unwrap();
    assert_eq!(again["scores"], eight["scores"]);
    let export = ["export", "eight", "--format", "dense", "-o", "dense"];
    quench(here, &export);
    let dense = quench(here, &["eval", "dense", "--eval-data", "demo", "--json"]);
    let dense: Value = serde_json::from_str(&dense).unwrap();
    let perplexity = |report: &Value, side| score(report, "perplexity", side);
    assert_eq!(
        perplexity(&dense, "original").to_bits(),
        perplexity(&plain, "quantized").to_bits()
    );
}

#[test]
fn the_built_in_recipe_writes_what_engines_load() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    quench(
        here,
        &[
            "quantize",
            "demo",
            "-r",
            "w8a8",
            "-o",
            "out",
            "--no-eval",
            "--samples",
            "8",
        ],
    );
    let config = std::fs::read_to_string(here.join("out/config.json")).unwrap();
    let config: Value = serde_json::from_str(&config).unwrap();
    let quantization = &config["quantization_config"];
    assert_eq!(quantization["format"], "int-quantized");
    let inputs = &quantization["config_groups"]["group_0"]["input_activations"];
    assert_eq!(inputs["num_bits"], 8);
    assert_eq!(inputs["strategy"], "token");
    assert_eq!(inputs["dynamic"], true);
}
