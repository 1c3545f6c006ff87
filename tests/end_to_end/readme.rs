//! The results table of the README is what the program says, not what somebody typed.

use crate::quench;
use serde_json::Value;
use std::fmt::Write as _;

const BEGIN: &str = "<!-- results: begin -->";
const END: &str = "<!-- results: end -->";
const ENCODERS_BEGIN: &str = "<!-- encoders: begin -->";
const ENCODERS_END: &str = "<!-- encoders: end -->";
const INTEGER_RECIPES: [&str; 2] = ["int8-integer-only", "w4a8-integer-only"];
const RECIPES: [&str; 7] = [
    "w8",
    "w4",
    "w3",
    "squeeze-4",
    "squeeze-3",
    "squeeze-3-sparse",
    "squeeze-2-sparse",
];

/// Quantizes the embedded model with every built-in recipe and writes the table into the README.
#[test]
#[ignore = "rewrites the table in README.md"]
fn readme_table() {
    let folder = tempfile::tempdir().unwrap();
    let mut table = String::from(
        "| recipe | bits per weight | file, MiB | perplexity (original) | ratio, 95 % interval of the difference | KL, nats per token | same top token |\n|---|---|---|---|---|---|---|\n",
    );
    for recipe in RECIPES {
        let json = quench(
            folder.path(),
            &["quantize", "demo", "-r", recipe, "-o", recipe, "--json"],
        );
        let report: Value = serde_json::from_str(&json).unwrap();
        let score = |metric: &str| {
            let all = report["scores"].as_array().unwrap();
            all.iter().find(|score| score["metric"] == metric).unwrap()
        };
        let perplexity = score("perplexity");
        let (original, quantized) = (
            perplexity["original"].as_f64().unwrap(),
            perplexity["quantized"].as_f64().unwrap(),
        );
        writeln!(
            table,
            "| `{recipe}` | {:.3} | {:.2} | {quantized:.3} ({original:.3}) | {:.4}, [{:+.3}, {:+.3}] | {:.5} | {:.2} % |",
            report["size"]["bits_per_weight_linear"].as_f64().unwrap(),
            report["size"]["artifact_bytes"].as_f64().unwrap() / f64::from(1 << 20),
            quantized / original,
            perplexity["ci95"][0].as_f64().unwrap(),
            perplexity["ci95"][1].as_f64().unwrap(),
            score("kl_divergence")["quantized"].as_f64().unwrap(),
            100.0 * score("top1_agreement")["quantized"].as_f64().unwrap(),
        )
        .unwrap();
    }
    replace(BEGIN, END, &table);
}

/// Puts `table` between the two marks of the README.
fn replace(begin: &str, end: &str, table: &str) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (before, rest) = text.split_once(begin).unwrap();
    let (_, after) = rest.split_once(end).unwrap();
    std::fs::write(path, format!("{before}{begin}\n{table}{end}{after}")).unwrap();
}

/// An encoder, what it is calibrated on and judged by.
struct Encoder {
    model: &'static str,
    label: &'static str,
    calibration: &'static str,
    evaluation: &'static str,
    /// The figure of each model, and what compares the two.
    metrics: [&'static str; 2],
}

const ENCODERS: [Encoder; 3] = [
    Encoder {
        model: "minilm-l6-v2",
        label: "MiniLM-L6 sentence embeddings, STS-B",
        calibration: "data/sst2/calib-512.tsv#text_a",
        evaluation: "data/stsb/stsb-dev.tsv",
        metrics: ["spearman", "embedding_cosine"],
    },
    Encoder {
        model: "minilm-sst2",
        label: "MiniLM-L6 classifier, SST-2",
        calibration: "data/sst2/calib-512.tsv#text_a",
        evaluation: "data/sst2/dev-436.tsv",
        metrics: ["accuracy", "kl_divergence"],
    },
    Encoder {
        model: "vit-cifar10",
        label: "small ViT, CIFAR-10",
        calibration: "data/cifar10/calib-256.safetensors",
        evaluation: "data/cifar10/dev-1000.safetensors",
        metrics: ["accuracy", "kl_divergence"],
    },
];

/// Compiles three encoders with every integer-only recipe and writes the table into the README.
#[test]
#[ignore = "needs QUENCH_ASSETS; rewrites the table of encoders in README.md"]
fn readme_encoder_table() {
    let assets = std::path::PathBuf::from(std::env::var_os("QUENCH_ASSETS").unwrap());
    let asset = |name: &str| assets.join(name).to_str().unwrap().to_owned();
    let folder = tempfile::tempdir().unwrap();
    let mut table = String::from(
        "| encoder | recipe | file, MiB (original) | score (original) | against the original |\n|---|---|---|---|---|\n",
    );
    for encoder in &ENCODERS {
        for recipe in INTEGER_RECIPES {
            let model = asset(encoder.model);
            let (calibration, evaluation) = (asset(encoder.calibration), asset(encoder.evaluation));
            let words = [
                "quantize",
                &model,
                "-r",
                recipe,
                "--calib",
                &calibration,
                "--samples",
                "256",
                "--eval-data",
                &evaluation,
                "-o",
                recipe,
                "--force",
                "--json",
            ];
            let report: Value = serde_json::from_str(&quench(folder.path(), &words)).unwrap();
            writeln!(table, "{}", encoder_row(encoder, recipe, &report)).unwrap();
        }
    }
    replace(ENCODERS_BEGIN, ENCODERS_END, &table);
}

fn encoder_row(encoder: &Encoder, recipe: &str, report: &Value) -> String {
    let score = |metric: &str, side: &str| {
        let all = report["scores"].as_array().unwrap();
        let found = all.iter().find(|score| score["metric"] == metric).unwrap();
        found[side].as_f64().unwrap()
    };
    let size = |key: &str| report["size"][key].as_f64().unwrap() / f64::from(1 << 20);
    let [figure, comparison] = encoder.metrics;
    let shown = |side: &str| match figure {
        "accuracy" => format!("{:.2} %", 100.0 * score(figure, side)),
        _ => format!("{:.3}", score(figure, side)),
    };
    let against = match comparison {
        "kl_divergence" => format!(
            "KL {:.5} nats, same class {:.2} %",
            score(comparison, "quantized"),
            100.0 * score("top1_agreement", "quantized")
        ),
        _ => format!("cosine {:.4}", score(comparison, "quantized")),
    };
    let name = match figure {
        "accuracy" => "accuracy",
        _ => "Spearman",
    };
    format!(
        "| {} | `{recipe}` | {:.2} ({:.2}) | {name} {} ({}) | {against} |",
        encoder.label,
        size("artifact_bytes"),
        size("original_bytes"),
        shown("quantized"),
        shown("original"),
    )
}

/// Every name the program lists is explained where a reader looks first.
#[test]
fn readme_names_every_recipe() {
    let text = include_str!("../../README.md");
    for recipe in RECIPES.into_iter().chain(INTEGER_RECIPES) {
        assert!(
            text.contains(&format!("`{recipe}`")),
            "`{recipe}` is not in the README"
        );
    }
}
