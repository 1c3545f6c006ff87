//! SqueezeLLM on real decoders, against independent runs of it in Python.

#![expect(clippy::print_stdout, reason = "figures for a reader of the test log")]

use crate::{assets, quench};
use serde_json::Value;
use std::path::Path;

/// A model, and the data its reference rows were computed with.
struct Decoder {
    name: &'static str,
    /// Key of the reference rows.
    protocol: &'static str,
    calibration: &'static str,
    evaluation: &'static str,
}

const WIKI: Decoder = Decoder {
    name: "wiki-llama-1.4m",
    protocol: "wikitext2/test-dev.txt [W256]",
    calibration: "data = 'DATA/wikitext2/valid.txt'\nsamples = 100\nsequence_length = 256",
    evaluation: "data = 'DATA/wikitext2/test-dev.txt'\nmode = 'windows'\nsequence_length = 256",
};
const STORIES: Decoder = Decoder {
    name: "stories260k",
    protocol: "tinystories/stories-dev.txt [S512]",
    calibration: "data = 'DATA/tinystories/stories-dev.txt'\nsamples = 64\nsequence_length = 512\nmode = 'documents'",
    evaluation: "data = 'DATA/tinystories/stories-dev.txt'\nmode = 'documents'\nsequence_length = 512",
};

/// Perplexity and KL divergence.
#[derive(Debug, Clone, Copy)]
struct Damage {
    perplexity: f64,
    divergence: f64,
}

/// `decoder` through the whole road.
fn found(home: &Path, decoder: &Decoder, bits: u8, is_sparse: bool) -> Damage {
    let sparse = if is_sparse {
        "outlier_fraction = 0.004\nsensitive_fraction = 0.0005\n"
    } else {
        ""
    };
    let recipe = format!(
        "name = 'reference'\n[calibration]\n{}\n[[layers]]\nmatch = '*'\nmethod = 'squeezellm'\nbits = {bits}\n\
         {sparse}[output]\nformat = 'quench'\n[[evaluate]]\ntask = 'perplexity'\n{}\n",
        decoder.calibration, decoder.evaluation
    );
    let data = assets().join("data");
    let recipe = recipe.replace("DATA", &data.to_string_lossy());
    std::fs::write(home.join("recipe.toml"), recipe).unwrap();
    let model = assets().join(decoder.name);
    let model = model.to_string_lossy();
    let arguments = [
        "--recipe",
        "recipe.toml",
        "--force",
        "--json",
        "--output",
        "out",
    ];
    let arguments = [&["quantize", &model], &arguments[..]].concat();
    let report: Value = serde_json::from_str(&quench(home, &arguments)).unwrap();
    let metric = |name: &str| -> f64 {
        let rows = report["scores"].as_array().unwrap();
        let row = rows.iter().find(|row| row["metric"] == name).unwrap();
        row["quantized"].as_f64().unwrap()
    };
    Damage {
        perplexity: metric("perplexity"),
        divergence: metric("kl_divergence"),
    }
}

fn reference(decoder: &Decoder, row: &str) -> Damage {
    let text = std::fs::read_to_string(assets().join("../reference/quality.json")).unwrap();
    let reference: Value = serde_json::from_str(&text).unwrap();
    let row = &reference[decoder.name][decoder.protocol][row];
    Damage {
        perplexity: row["ppl"].as_f64().unwrap(),
        divergence: row["kl"].as_f64().unwrap(),
    }
}

/// At 4 and 3 bits no worse than SqueezeLLM with its own k-means; at 2 bits, where the diagonal
/// objective stops predicting the divergence, both are shown.
fn against_reference(decoder: &Decoder) {
    let home = tempfile::tempdir().unwrap();
    for bits in [4, 3, 2] {
        for (is_sparse, kind) in [(false, "dense"), (true, "0.45pct")] {
            let found = found(home.path(), decoder, bits, is_sparse);
            let row = format!("squeezellm-{bits}bit-{kind}");
            let expected = reference(decoder, &row);
            println!("{} {row}: {expected:?}, found {found:?}", decoder.name);
            if bits > 2 {
                assert!(found.perplexity <= expected.perplexity, "{row}");
                assert!(found.divergence <= expected.divergence, "{row}");
            }
            if !is_sparse && bits < 4 {
                against_optimum(decoder, bits, found);
            }
        }
    }
}

/// The optimum of the same objective, computed by dynamic programming in Python. What differs is the step
/// after it: they place weights by exact centroids and round those to f16 then, we place them by the rounded
/// ones, which loses less. On wiki-llama at 3 bits that moves two weights of 1.2 million; one of them lies exactly
/// half-way between two f16 entries and is worth 2.3e-6 of the perplexity, the KL divergence being lower.
fn against_optimum(decoder: &Decoder, bits: u8, found: Damage) {
    let row = format!("exactdp-{bits}bit-dense");
    let expected = reference(decoder, &row);
    println!("{} {row}: {expected:?}, found {found:?}", decoder.name);
    let within = |found: f64, expected: f64, share: f64| found <= expected * (1.0 + share);
    assert!(within(found.perplexity, expected.perplexity, 1e-5), "{row}");
    assert!(within(found.divergence, expected.divergence, 1e-4), "{row}");
}

#[test]
#[ignore = "needs QUENCH_ASSETS"]
fn wiki_llama_is_no_worse_than_the_reference() {
    against_reference(&WIKI);
}

#[test]
#[ignore = "needs QUENCH_ASSETS"]
fn stories_are_no_worse_than_the_reference() {
    against_reference(&STORIES);
}
