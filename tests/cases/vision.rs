//! Vision models of every kind, and models of two towers.

use crate::datasets::{image_folders, write_processor, write_tokenizer};
use crate::workbench::Workbench;
use serde_json::Value;

/// A fixture, the layers a plain method quantizes in it, and what is in the way of an integer program.
pub(crate) const MODELS: &[(&str, usize, Option<&str>)] = &[
    ("deit", 12, None),
    ("deit-teacher", 12, Some("averages several classifiers")),
    (
        "dinov2",
        12,
        Some("scales each channel of what its halves add"),
    ),
    (
        "dinov2-gated",
        12,
        Some("scales each channel of what its halves add"),
    ),
    ("dinov2-registers", 12, Some("has register tokens")),
    ("beit", 12, Some("adds no positions to patches")),
    (
        "beit-shared",
        12,
        Some("adds position biases to attention scores"),
    ),
    (
        "swin",
        25,
        Some("normalises patches before the first block"),
    ),
    (
        "swin-absolute",
        25,
        Some("normalises patches before the first block"),
    ),
    (
        "clip-vision",
        12,
        Some("normalises patches before the first block"),
    ),
    ("clip-text-projection", 12, Some("has causal attention")),
    (
        "clip-classifier",
        12,
        Some("normalises patches before the first block"),
    ),
    ("siglip-vision", 12, Some("pools by attention")),
    ("siglip-text", 12, Some("reads the last position")),
    ("siglip-classifier", 12, Some("averages positions")),
    (
        "clip",
        24,
        Some("normalises patches before the first block"),
    ),
    ("siglip", 24, Some("pools by attention")),
];

#[test]
fn rtn_quantizes_every_one_of_them() {
    for (fixture, layers, _) in MODELS {
        let bench = Workbench::new();
        bench.model(fixture, "m");
        let ended = bench.quench(&["quantize", "m", "--method", "rtn", "-o", "out", "--json"]);
        assert_eq!(ended.code, 0, "{fixture}: {}", ended.shown());
        let report = ended.json();
        let found = report["layers"].as_array().unwrap();
        assert_eq!(found.len(), *layers, "{fixture}");
    }
}

#[test]
fn an_integer_program_or_the_operation_in_the_way() {
    for (fixture, _, obstacle) in MODELS {
        let bench = Workbench::new();
        write_processor(&bench.model(fixture, "m"));
        let words = [
            "quantize",
            "m",
            "--recipe",
            "int8-integer-only",
            "-o",
            "out",
        ];
        let ended = bench.quench(&words);
        match obstacle {
            Some(obstacle) => ended.says(3, &["no integer-only form", obstacle]),
            None => assert_eq!(ended.code, 0, "{fixture}: {}", ended.shown()),
        }
    }
}

#[test]
fn a_program_with_two_tokens_in_front_of_the_patches_is_close_to_the_model() {
    let bench = Workbench::new();
    let folder = bench.model("deit", "m");
    write_processor(&folder);
    image_folders(&bench, "images", &["LABEL_0", "LABEL_3"]);
    let words = [
        "quantize",
        "m",
        "--eval-data",
        "images",
        "-o",
        "out",
        "--json",
    ];
    let ended = bench.quench(&words);
    assert_eq!(ended.code, 0, "{}", ended.shown());
    let report = ended.json();
    let scores = report["scores"].as_array().unwrap().iter();
    let mut divergences = scores.filter(|score| score["metric"] == "kl_divergence");
    let divergence = divergences.next().unwrap()["quantized"].as_f64().unwrap();
    assert!(divergence < 0.05, "{report:#}");
}

#[test]
fn two_towers_are_judged_by_the_names_of_classes() {
    for fixture in ["clip", "siglip"] {
        let bench = Workbench::new();
        let folder = bench.model(fixture, "m");
        write_tokenizer(&folder, 56);
        write_processor(&folder);
        image_folders(&bench, "images", &["w7", "w30", "w51"]);
        let words = [
            "quantize",
            "m",
            "--method",
            "rtn",
            "--bits",
            "8",
            "--eval-data",
            "images",
            "-o",
            "out",
            "--json",
        ];
        let ended = bench.quench(&words);
        assert_eq!(ended.code, 0, "{}", ended.shown());
        let report = ended.json();
        let scores = report["scores"].as_array().unwrap();
        let score = |metric: &str| -> &Value {
            scores
                .iter()
                .find(|score| score["metric"] == metric)
                .unwrap()
        };
        assert_eq!(score("accuracy")["task"], "zero_shot_classification");
        assert_eq!(score("accuracy")["samples"], 9);
        let divergence = score("kl_divergence")["quantized"].as_f64().unwrap();
        assert!(divergence > 0.0 && divergence < 0.05, "{report:#}");
        let ended = bench.quench(&["eval", "out", "--eval-data", "images", "--json"]);
        assert_eq!(ended.code, 0, "{}", ended.shown());
    }
}

#[test]
fn two_towers_are_not_calibrated() {
    let bench = Workbench::new();
    bench.model("clip", "m");
    let ended = bench.quench(&["plan", "m", "--method", "gptq"]);
    ended.says(
        3,
        &[
            "`clip` has a tower of images and one of texts",
            "`rtn` and `kmeans` need no data",
        ],
    );
}

#[test]
fn methods_that_look_at_data_run_through_windows_and_scales() {
    for (fixture, method) in [
        ("swin", "gptq"),
        ("swin", "squeezellm"),
        ("beit", "squeezellm"),
        ("dinov2-gated", "gptq"),
        ("siglip-vision", "gptq"),
    ] {
        let bench = Workbench::new();
        write_processor(&bench.model(fixture, "m"));
        let words = [
            "quantize",
            "m",
            "--method",
            method,
            "--calib",
            "synthetic",
            "--samples",
            "4",
            "-o",
            "out",
            "--json",
        ];
        let ended = bench.quench(&words);
        assert_eq!(ended.code, 0, "{fixture} {method}: {}", ended.shown());
        let report = ended.json();
        let layers = report["layers"].as_array().unwrap();
        let has_error = |layer: &Value| layer["sqnr_db"].as_f64().is_some();
        assert!(
            layers.iter().any(has_error),
            "{fixture} {method}: {report:#}"
        );
    }
}
