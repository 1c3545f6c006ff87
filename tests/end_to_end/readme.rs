//! The results table of the README is what the program says, not what somebody typed.

use crate::quench;
use serde_json::Value;
use std::fmt::Write as _;

const BEGIN: &str = "<!-- results: begin -->";
const END: &str = "<!-- results: end -->";
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
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    std::fs::write(path, format!("{before}{BEGIN}\n{table}{END}{after}")).unwrap();
}

/// Every name the program lists is explained where a reader looks first.
#[test]
fn readme_names_every_recipe() {
    let text = include_str!("../../README.md");
    for recipe in RECIPES {
        assert!(
            text.contains(&format!("`{recipe}`")),
            "`{recipe}` is not in the README"
        );
    }
}
