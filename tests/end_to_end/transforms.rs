//! Blocks rewritten on the road, before their layers are quantized.

use crate::quench;
use serde_json::Value;
use std::path::Path;

/// Quantizes the embedded model to 3 bits with the tables of `extra`; returns its weights file and what
/// `--json` prints.
fn run(folder: &Path, name: &str, extra: &str, evaluate: bool) -> (Vec<u8>, Value) {
    let recipe = format!(
        "name = \"{name}\"\n[calibration]\ndata = \"synthetic\"\nsamples = 8\nsequence_length = 64\n{extra}\n\
         [[layers]]\nmatch = \"*\"\nmethod = \"rtn\"\nbits = 3\ngroup_size = 64\n"
    );
    let file = format!("{name}.toml");
    std::fs::write(folder.join(&file), recipe).unwrap();
    let mut words = vec!["quantize", "demo", "-r", &file, "-o", name, "--json"];
    if !evaluate {
        words.push("--no-eval");
    }
    let printed = quench(folder, &words);
    let weights = std::fs::read(folder.join(name).join("model.safetensors")).unwrap();
    (weights, serde_json::from_str(&printed).unwrap())
}

fn divergence(report: &Value) -> f64 {
    let scores = report["scores"].as_array().unwrap();
    let kl = scores
        .iter()
        .find(|score| score["metric"] == "kl_divergence");
    kl.unwrap()["quantized"].as_f64().unwrap()
}

#[test]
fn awq_that_scales_and_clips_nothing_is_round_to_nearest_byte_for_byte() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let nothing = "[[transform]]\nmethod = \"awq\"\nratios = 1\nclip = false\n";
    let (rewritten, _) = run(here, "nothing", nothing, false);
    let (plain, _) = run(here, "plain", "", false);
    assert!(rewritten == plain, "one ratio alone changed the weights");
}

#[test]
fn awq_loses_less_than_round_to_nearest() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let awq = "[[transform]]\nmethod = \"awq\"\nsearch_tokens = 256\n";
    let (_, rewritten) = run(here, "awq", awq, true);
    let (_, plain) = run(here, "plain", "", true);
    let (with, without) = (divergence(&rewritten), divergence(&plain));
    assert!(with < without, "KL {with} with AWQ, {without} without");
}
