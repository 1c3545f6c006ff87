//! Real encoders as integer programs: the bars they have to reach, and the families compared.

#![expect(clippy::print_stdout, reason = "figures for a reader of the test log")]

use crate::{assets, quench};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// A model with data to calibrate and to judge it on.
struct Encoder {
    name: &'static str,
    calibration: &'static str,
    evaluation: &'static str,
}

const SENTENCES: Encoder = Encoder {
    name: "minilm-l6-v2",
    calibration: "sst2/calib-512.tsv#text_a",
    evaluation: "stsb/stsb-dev.tsv",
};
const SENTIMENT: Encoder = Encoder {
    name: "minilm-sst2",
    calibration: "sst2/calib-512.tsv#text_a",
    evaluation: "sst2/dev-436.tsv",
};
const IMAGES: Encoder = Encoder {
    name: "vit-cifar10",
    calibration: "cifar10/calib-256.safetensors",
    evaluation: "cifar10/dev-1000.safetensors",
};

/// Scores by metric of `encoder` through the whole road with `recipe`.
fn scores(home: &Path, encoder: &Encoder, recipe: &str) -> BTreeMap<String, f64> {
    let data = assets().join("data");
    let path = |folder: &Path, name: &str| folder.join(name).to_string_lossy().into_owned();
    let output = quench(
        home,
        &[
            "quantize",
            &path(&assets(), encoder.name),
            "--recipe",
            recipe,
            "--force",
            "--json",
            "--calib",
            &path(&data, encoder.calibration),
            "--eval-data",
            &path(&data, encoder.evaluation),
            "--output",
            "out",
        ],
    );
    let report: Value = serde_json::from_str(&output).unwrap();
    let rows = report["scores"].as_array().unwrap().iter();
    let scores = rows.filter_map(|row| {
        let metric = row["metric"].as_str()?.to_owned();
        Some((metric, row["quantized"].as_f64()?))
    });
    let scores: BTreeMap<String, f64> = scores.collect();
    println!("{} {recipe}: {scores:?}", encoder.name);
    scores
}

/// A recipe with every slot of `family`.
fn family(home: &Path, family: &str) -> String {
    // FQ-ViT has no GELU.
    let gelu = if family == "fq-vit" { "exact" } else { family };
    let text = format!(
        "name = \"{family}\"\n\n[calibration]\ndata = \"synthetic\"\nsamples = 512\n\n\
         [[layers]]\nmatch = \"*\"\nmethod = \"rtn\"\nbits = 8\narithmetic = \"f32\"\nscale_type = \"f32\"\n\n\
         [nonlinear]\ngelu = \"{gelu}\"\nsoftmax = \"{family}\"\nlayernorm = \"{family}\"\n\n\
         [activations]\nbits = 8\nobserver = \"mse\"\n\n[output]\nformat = \"quench\"\n"
    );
    let path = home.join(format!("{family}.toml"));
    std::fs::write(&path, text).unwrap();
    path.to_string_lossy().into_owned()
}

/// At least (or, negated, at most) so much of a metric.
fn at_least(scores: &BTreeMap<String, f64>, metric: &str, bar: f64) {
    assert!(
        scores[metric] >= bar,
        "{metric}: {} < {bar}",
        scores[metric]
    );
}

fn at_most(scores: &BTreeMap<String, f64>, metric: &str, bar: f64) {
    assert!(
        scores[metric] <= bar,
        "{metric}: {} > {bar}",
        scores[metric]
    );
}

#[test]
#[ignore = "needs QUENCH_ASSETS"]
fn eight_bits_cost_next_to_nothing() {
    let home = tempfile::tempdir().unwrap();
    let recipe = "int8-integer-only";
    let found = scores(home.path(), &SENTENCES, recipe);
    at_least(&found, "spearman", 86.344 - 0.25);
    at_least(&found, "embedding_cosine", 0.985);
    let found = scores(home.path(), &SENTIMENT, recipe);
    at_most(&found, "kl_divergence", 0.012);
    at_least(&found, "top1_agreement", 0.975);
    at_least(&found, "accuracy", 360.0 / 436.0);
    let found = scores(home.path(), &IMAGES, recipe);
    at_most(&found, "kl_divergence", 0.0004);
    at_least(&found, "top1_agreement", 0.985);
    at_least(&found, "accuracy", 0.508);
}

#[test]
#[ignore = "needs QUENCH_ASSETS"]
fn four_bit_weights_cost_little() {
    let home = tempfile::tempdir().unwrap();
    let recipe = "w4a8-integer-only";
    at_least(
        &scores(home.path(), &SENTENCES, recipe),
        "spearman",
        86.344 - 1.0,
    );
    at_most(
        &scores(home.path(), &SENTIMENT, recipe),
        "kl_divergence",
        0.06,
    );
    at_most(
        &scores(home.path(), &IMAGES, recipe),
        "kl_divergence",
        0.006,
    );
}

/// Figures of the same families emulated in float by an independent program: quantized weights and
/// activations with `i-bert`, `i-vit`, `fq-vit` (8/8/4), and the best row of any kind.
struct Emulated {
    encoder: &'static Encoder,
    metric: &'static str,
    families: [f64; 3],
    best: f64,
}

const EMULATED: &[Emulated] = &[
    Emulated {
        encoder: &SENTENCES,
        metric: "embedding_cosine",
        families: [0.97468, 0.72335, 0.97638],
        best: 0.98326,
    },
    Emulated {
        encoder: &SENTIMENT,
        metric: "kl_divergence",
        families: [0.02258, 0.34516, 0.03336],
        best: 0.01196,
    },
    Emulated {
        encoder: &IMAGES,
        metric: "kl_divergence",
        families: [0.00068, 0.00463, 0.01700],
        best: 0.00023,
    },
];

#[test]
#[ignore = "needs QUENCH_ASSETS"]
fn published_families_are_as_good_as_emulated_and_ours_is_better() {
    for row in EMULATED {
        let home = tempfile::tempdir().unwrap();
        // Losses: the smaller the better.
        let loss = |value: f64| match row.metric {
            "embedding_cosine" => 1.0 - value,
            _ => value,
        };
        let run = |recipe: &str| loss(scores(home.path(), row.encoder, recipe)[row.metric]);
        let published: Vec<f64> = ["i-bert", "i-vit", "fq-vit"]
            .iter()
            .zip(row.families)
            .map(|(name, emulated)| {
                let found = run(&family(home.path(), name));
                assert!(
                    found <= loss(emulated),
                    "{name}: {found} > {}",
                    loss(emulated)
                );
                found
            })
            .collect();
        let least = published.iter().copied().fold(f64::INFINITY, f64::min);
        for ours in [family(home.path(), "exact"), "int8-integer-only".to_owned()] {
            let found = run(&ours);
            assert!(
                found < loss(row.best),
                "{ours}: {found} >= {}",
                loss(row.best)
            );
            assert!(
                found <= least,
                "{ours}: {found} > {least} of a published family"
            );
        }
    }
}
