//! The road on the demo model, and what can be done with what it wrote.

use crate::{quench, quench_in};
use serde_json::Value;
use std::path::Path;

/// Quantizes the demo model in `folder` without evaluating.
fn quantize(folder: &Path, words: &[&str]) -> Value {
    let mut all = vec!["quantize", "demo", "-o", "out", "--no-eval", "--json", "-q"];
    all.extend(words);
    let ended = quench_in(folder, &all);
    assert_eq!(ended.code, 0, "{}", ended.shown());
    assert_eq!(ended.stderr, "", "quiet");
    serde_json::from_str(&ended.stdout).unwrap()
}

/// A few hundred tokens of the fixture text.
fn write_text(folder: &Path) {
    let text = include_str!("../fixtures/text/sampled.txt");
    let end = text
        .char_indices()
        .map(|(at, _)| at)
        .find(|at| *at >= 4000)
        .unwrap();
    fs_err::write(folder.join("text.txt"), &text[..end]).unwrap();
}

#[test]
fn what_was_planned_is_what_is_written_inspected_and_exported() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let planned = quench(&["plan", "demo", "-r", "w4", "--json"]);
    let planned: Value = serde_json::from_str(&planned.stdout).unwrap();
    let report = quantize(here, &["-r", "w4"]);
    let bits = |value: &Value| value["size"]["bits_per_weight_linear"].as_f64().unwrap();
    assert!((bits(&planned) - bits(&report)).abs() < 1e-12);
    assert!(here.join("out/report.html").is_file());

    let inspected = quench_in(here, &["inspect", "out"]);
    assert_eq!(inspected.code, 0, "{}", inspected.shown());
    let found = "compressed-tensors: 42 quantized layers, 594.66 KiB, 4.130 bits per weight";
    assert!(inspected.stdout.contains(found), "{}", inspected.stdout);
    let layer = quench_in(here, &["inspect", "out", "model.layers.0.mlp.up_proj"]);
    assert!(
        layer.stdout.contains("4b symmetric, group 128"),
        "{}",
        layer.stdout
    );

    let again = quench_in(here, &["quantize", "demo", "-o", "out"]);
    assert_eq!(again.code, 2, "{}", again.shown());
    let twice = quench_in(here, &["plan", "out"]);
    assert_eq!(twice.code, 3, "{}", twice.shown());
    let told = "error: `out` is quantized already (compressed-tensors)\n";
    assert!(twice.stderr.starts_with(told), "{}", twice.stderr);
    let exported = quench_in(
        here,
        &[
            "export", "out", "--format", "dense", "--dtype", "f32", "-o", "dense",
        ],
    );
    assert_eq!(exported.code, 0, "{}", exported.shown());
    let dense = quench_in(
        here,
        &["inspect", "dense", "model.layers.0.mlp.up_proj", "--json"],
    );
    let decoded = quench_in(
        here,
        &["inspect", "out", "model.layers.0.mlp.up_proj", "--json"],
    );
    let values = |text: &str| serde_json::from_str::<Value>(text).unwrap()["values"].clone();
    assert_eq!(values(&dense.stdout), values(&decoded.stdout));

    fs_err::remove_file(here.join("out/report.html")).unwrap();
    let rendered = quench_in(here, &["report", "out"]);
    assert_eq!(rendered.code, 0, "{}", rendered.shown());
    assert!(here.join("out/report.html").is_file());
}

#[test]
fn an_artifact_is_judged_beside_its_original_and_a_gate_decides_the_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    write_text(here);
    quantize(here, &["-r", "w3"]);
    fs_err::write(
        here.join("judge.toml"),
        "[[evaluate]]\ntask = \"perplexity\"\ndata = \"text.txt\"\nsequence_length = 64\nlimit = 2\n",
    )
    .unwrap();
    let by_recipe = quench_in(
        here,
        &[
            "eval",
            "out",
            "-r",
            "judge.toml",
            "-o",
            "judged",
            "--json",
            "-q",
        ],
    );
    assert_eq!(by_recipe.code, 0, "{}", by_recipe.shown());
    let report: Value = serde_json::from_str(&by_recipe.stdout).unwrap();
    assert_eq!(report["scores"][0]["samples"], 2);
    let written = fs_err::read_to_string(here.join("judged/report.json")).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&written).unwrap(), report);
    let copied = quench_in(here, &["report", "judged", "-o", "copied"]);
    assert_eq!(copied.code, 0, "{}", copied.shown());
    assert!(here.join("copied/report.html").is_file());
    let judged = quench_in(
        here,
        &["eval", "out", "--eval-data", "text.txt", "--json", "-q"],
    );
    assert_eq!(judged.code, 0, "{}", judged.shown());
    let report: Value = serde_json::from_str(&judged.stdout).unwrap();
    let score = &report["scores"][0];
    assert_eq!(score["metric"], "perplexity");
    let (original, quantized) = (
        score["original"].as_f64().unwrap(),
        score["quantized"].as_f64().unwrap(),
    );
    assert!(original > 1.0 && quantized > original, "{score}");
    let gated = quench_in(
        here,
        &[
            "eval",
            "out",
            "--eval-data",
            "text.txt",
            "-q",
            "--gate",
            "perplexity_ratio<=1.0",
        ],
    );
    assert_eq!(gated.code, 6, "{}", gated.shown());
    assert!(
        gated
            .stderr
            .starts_with("error: accuracy gate failed: `perplexity_ratio<=1`, found 1.")
    );
}

#[test]
fn progress_as_json_is_one_object_per_line() {
    let folder = tempfile::tempdir().unwrap();
    let ended = quench_in(
        folder.path(),
        &[
            "quantize",
            "demo",
            "-r",
            "w8",
            "-o",
            "out",
            "--no-eval",
            "--progress",
            "json",
        ],
    );
    assert_eq!(ended.code, 0, "{}", ended.shown());
    let events: Vec<Value> = ended
        .stderr
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let layers = events
        .iter()
        .filter(|event| event["event"] == "layer")
        .count();
    assert_eq!(layers, 42);
}

#[test]
#[cfg(unix)]
fn an_interrupted_run_leaves_nothing_that_looks_finished() {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_quench"))
        .current_dir(folder.path())
        .args([
            "quantize",
            "demo",
            "-r",
            "squeeze-3",
            "-o",
            "out",
            "--progress",
            "plain",
        ])
        .env("TMPDIR", folder.path())
        .env("QUENCH_CACHE", folder.path())
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    // Notes come first.
    let begun = lines.any(|line| line.unwrap().starts_with("quantize"));
    assert!(begun);
    let sent = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(sent.success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(!folder.path().join("out/config.json").exists());
    let left: Vec<_> = fs_err::read_dir(folder.path())
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with("quench-demo-"))
        .collect();
    assert!(
        left.is_empty(),
        "the demo model's folder is removed: {left:?}"
    );
}
