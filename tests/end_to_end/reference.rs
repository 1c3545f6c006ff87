//! Real decoders through the whole road, and what independent programs in Python lost on them.

use crate::{assets, quench};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::Path;

/// A model, and the data its reference rows were computed with.
pub(crate) struct Decoder {
    pub(crate) name: &'static str,
    /// Key of the reference rows; empty where a model has a file of its own for them.
    pub(crate) protocol: &'static str,
    pub(crate) calibration: &'static str,
    pub(crate) evaluation: &'static str,
}

pub(crate) const WIKI: Decoder = Decoder {
    name: "wiki-llama-1.4m",
    protocol: "wikitext2/test-dev.txt [W256]",
    calibration: "data = 'DATA/wikitext2/valid.txt'\nsequence_length = 256",
    evaluation: "data = 'DATA/wikitext2/test-dev.txt'\nmode = 'windows'\nsequence_length = 256",
};
pub(crate) const WIKI_10M: Decoder = Decoder {
    name: "wiki-llama-10m",
    ..WIKI
};
pub(crate) const STORIES: Decoder = Decoder {
    name: "stories260k",
    protocol: "tinystories/stories-dev.txt [S512]",
    calibration: "data = 'DATA/tinystories/stories-dev.txt'\nsequence_length = 512\nmode = 'documents'",
    evaluation: "data = 'DATA/tinystories/stories-dev.txt'\nmode = 'documents'\nsequence_length = 512",
};

/// Perplexity and KL divergence.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Damage {
    pub(crate) perplexity: f64,
    pub(crate) divergence: f64,
    /// Stored bits per weight of the quantized layers without what the reference does not count: `weight_shape`,
    /// and in uniform grids the bits that fill the last word of each row.
    pub(crate) bits: f64,
}

/// `decoder` through the whole road with the rules and transforms of `rules`, calibrated on its first
/// `samples` sequences.
pub(crate) fn found(home: &Path, decoder: &Decoder, samples: usize, rules: &str) -> Damage {
    let recipe = format!(
        "name = 'reference'\n[calibration]\n{}\nsamples = {samples}\nselection = 'first'\n{rules}\n\
         [output]\nformat = 'quench'\n[[evaluate]]\ntask = 'perplexity'\n{}\n",
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
        bits: report["size"]["bits_per_weight_linear"].as_f64().unwrap() - uncounted(&report),
    }
}

/// What the reference lost with `row`.
pub(crate) fn reference(decoder: &Decoder, row: &str) -> Damage {
    let mut rows = rows(decoder).into_iter();
    rows.find(|(name, _)| name == row)
        .expect("a row of the reference")
        .1
}

/// All that independent programs reached, but for the original itself.
pub(crate) fn rows(decoder: &Decoder) -> Vec<(String, Damage)> {
    let read = |file: &str| -> Value {
        let text = std::fs::read_to_string(assets().join("../reference").join(file)).unwrap();
        serde_json::from_str(&text).unwrap()
    };
    let all = if decoder.protocol.is_empty() {
        read("smollm2.json")
    } else {
        read("quality.json")[decoder.name][decoder.protocol].clone()
    };
    let all = all.as_object().unwrap().iter();
    all.filter(|(name, _)| *name != "fp32")
        .map(|(name, row)| {
            let figure = |key: &str| row[key].as_f64().unwrap();
            let damage = Damage {
                perplexity: figure("ppl"),
                divergence: figure("kl"),
                bits: figure("bpw"),
            };
            (name.clone(), damage)
        })
        .collect()
}

/// Bits per weight that the two numbers of `weight_shape` cost, and in uniform grids the filled words.
fn uncounted(report: &Value) -> f64 {
    let layers = report["layers"].as_array().unwrap();
    let side = |layer: &Value, which: usize| layer["shape"][which].as_u64().unwrap();
    let (mut bits, mut weights) = (0, 0);
    for layer in layers {
        let (rows, cols) = (side(layer, 0), side(layer, 1));
        let packed = cols * layer["bits"].as_u64().unwrap();
        let is_uniform =
            ["rtn", "gptq", "hqq", "autoround"].contains(&layer["method"].as_str().unwrap());
        let filled = if is_uniform {
            packed.next_multiple_of(32) - packed
        } else {
            0
        };
        bits += 128 + rows * filled;
        weights += rows * cols;
    }
    bits as f64 / weights as f64
}
