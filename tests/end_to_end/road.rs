//! From the embedded model to an artifact, and back to figures.

use crate::quench;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// Every file of a folder but the reports, which hold times.
fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| {
            (
                entry.file_name().into_string().unwrap(),
                std::fs::read(entry.path()).unwrap(),
            )
        })
        .filter(|(name, _)| !name.starts_with("report."))
        .collect()
}

fn perplexity(json: &str, side: &str) -> f64 {
    let report: Value = serde_json::from_str(json).unwrap();
    let scores = report["scores"].as_array().unwrap();
    let score = scores
        .iter()
        .find(|score| score["metric"] == "perplexity")
        .unwrap();
    score[side].as_f64().unwrap()
}

#[test]
fn one_thread_and_two_write_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let run = |threads: &str, out: &str| {
        // A cache for each, so that the second run computes its statistics as well.
        let home = folder.path().join(threads);
        std::fs::create_dir_all(&home).unwrap();
        quench(
            &home,
            &[
                "quantize",
                "demo",
                "-r",
                "squeeze-3-sparse",
                "--samples",
                "6",
                "--sequence-length",
                "48",
                "--threads",
                threads,
                "--no-eval",
                "-o",
                out,
            ],
        );
        contents(&home.join(out))
    };
    let one = run("1", "out");
    assert!(one.contains_key("model.safetensors") && one.contains_key("config.json"));
    assert!(one == run("2", "out"), "the artifacts differ");
}

#[test]
fn the_dense_export_scores_the_same_to_the_last_digit() {
    let folder = tempfile::tempdir().unwrap();
    let text: String = include_str!("../fixtures/text/sampled.txt")
        .chars()
        .take(6000)
        .collect();
    std::fs::write(folder.path().join("text.txt"), text).unwrap();
    let made = quench(
        folder.path(),
        &[
            "quantize",
            "demo",
            "-r",
            "squeeze-2-sparse",
            "--samples",
            "4",
            "--sequence-length",
            "32",
            "--eval-data",
            "text.txt",
            "-o",
            "out",
            "--json",
        ],
    );
    quench(
        folder.path(),
        &["export", "out", "--format", "dense", "-o", "dense"],
    );
    let evaluated = quench(
        folder.path(),
        &["eval", "dense", "--eval-data", "text.txt", "--json"],
    );
    let quantized = perplexity(&made, "quantized");
    let dense = perplexity(&evaluated, "original");
    assert_eq!(
        quantized.to_bits(),
        dense.to_bits(),
        "{quantized} and {dense}"
    );
    assert!(
        quantized > perplexity(&made, "original"),
        "two bits cost something"
    );

    let report: Value = serde_json::from_str(&made).unwrap();
    let written: Value = serde_json::from_str(
        &std::fs::read_to_string(folder.path().join("out/report.json")).unwrap(),
    )
    .unwrap();
    assert_eq!(report["scores"], written["scores"]);
    // The size the report states is the size of the file.
    let bytes = std::fs::metadata(folder.path().join("out/model.safetensors"))
        .unwrap()
        .len();
    assert_eq!(report["size"]["artifact_bytes"].as_u64(), Some(bytes));
}

#[test]
fn uniform_layers_become_compressed_tensors_and_read_back() {
    let folder = tempfile::tempdir().unwrap();
    quench(
        folder.path(),
        &["quantize", "demo", "-r", "w4", "--no-eval", "-o", "out"],
    );
    let config: Value = serde_json::from_str(
        &std::fs::read_to_string(folder.path().join("out/config.json")).unwrap(),
    )
    .unwrap();
    assert_eq!(
        config["quantization_config"]["quant_method"],
        "compressed-tensors"
    );
    assert_eq!(config["quantization_config"]["format"], "pack-quantized");
    let listed = quench(folder.path(), &["inspect", "out"]);
    assert!(
        listed.contains("model.layers.0.self_attn.q_proj"),
        "{listed}"
    );
}

#[test]
fn a_failed_gate_marks_the_report_and_exits_with_6() {
    let folder = tempfile::tempdir().unwrap();
    let text: String = include_str!("../fixtures/text/sampled.txt")
        .chars()
        .take(4000)
        .collect();
    std::fs::write(folder.path().join("text.txt"), text).unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_quench"))
        .args([
            "quantize",
            "demo",
            "--method",
            "rtn",
            "--bits",
            "2",
            "--eval-data",
            "text.txt",
        ])
        .args([
            "--gate",
            "perplexity_ratio<=1.01",
            "-o",
            "out",
            "--progress",
            "none",
        ])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert_eq!(
        output.status.code(),
        Some(6),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let report = std::fs::read_to_string(folder.path().join("out/report.json")).unwrap();
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["gates"].as_array().unwrap().len(), 1);
}

#[test]
fn answers_hidden_in_texts_are_asked_for_before_and_after() {
    let folder = tempfile::tempdir().unwrap();
    let story = "A little bird sat on the old stone wall. It looked at the garden and the sky. Then it sang a song!\n";
    std::fs::write(folder.path().join("filler.txt"), story.repeat(4)).unwrap();
    let recipe = "[[layers]]\nmatch = '*'\nmethod = 'rtn'\nbits = 3\n[[evaluate]]\ntask = 'retrieval'\n\
                  data = 'filler.txt'\nkind = 'all'\nlengths = [240]\ndepths = [0, 100]\nsamples = 2\n";
    std::fs::write(folder.path().join("recipe.toml"), recipe).unwrap();
    let words = ["quantize", "demo", "-r", "recipe.toml", "--json"];
    let report: Value = serde_json::from_str(&quench(folder.path(), &words)).unwrap();
    let scores = report["scores"].as_array().unwrap();
    let right = &scores[0];
    assert_eq!(
        (&right["metric"], &right["samples"]),
        (&"retrieval".into(), &16.into())
    );
    for side in ["original", "quantized"] {
        assert!((0.0..=1.0).contains(&right[side].as_f64().unwrap()));
    }
    // A model of three bits does not answer as the original does.
    assert!(scores[1]["quantized"].as_f64().unwrap() > 1e-3);
}
