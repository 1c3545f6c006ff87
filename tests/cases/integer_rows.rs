//! Integer bias without headroom: rows of tiny weights, dead layers and normalisations without gamma compile, and
//! what was done about them stands in the report.

use crate::workbench::{
    Workbench, as_f16, contents, edit_tensors, floats, sentences, word_tokenizer,
};
use serde_json::Value;
use std::path::Path;

const UP: &str = "bert.encoder.layer.1.intermediate.dense";

/// Compiles the encoder after `edit` and returns its report.
fn compiled(bench: &Workbench, output: &str, edit: impl FnOnce(&Path)) -> Value {
    let model = bench.model("bert-classifier-relu", output);
    word_tokenizer(&model);
    edit(&model);
    bench.write("calib.tsv", sentences(32));
    let out = format!("{output}-out");
    let words = [
        "quantize",
        output,
        "-o",
        &out,
        "--calib",
        "calib.tsv#sentence",
        "--eval-data",
        "calib.tsv",
        "--samples",
        "32",
        "--json",
        "-q",
    ];
    let ended = bench.quench(&words);
    assert_eq!(ended.code, 0, "{}", ended.shown());
    ended.json()
}

/// Gives the tensor `name` new values.
fn change(model: &Path, name: &str, edit: impl Fn(usize, f32) -> f32) {
    edit_tensors(model, |all| {
        let stored = &all[name];
        let values: Vec<f32> = floats(stored)
            .into_iter()
            .enumerate()
            .map(|(at, value)| edit(at, value))
            .collect();
        let changed = as_f16(&stored.1.clone(), &values);
        all.insert(name.to_owned(), changed);
    });
}

fn notes(report: &Value, layer: &str) -> String {
    let layers = report["layers"].as_array().unwrap();
    let found = layers.iter().find(|facts| facts["name"] == layer).unwrap();
    found["notes"].to_string()
}

fn score(report: &Value, metric: &str) -> f64 {
    let scores = report["scores"].as_array().unwrap();
    let found = scores.iter().find(|score| score["metric"] == metric);
    found.unwrap()["quantized"].as_f64().unwrap()
}

/// A row of the layer: 32 weights.
fn tiny_row(row: usize, bias: f32) -> impl Fn(&Path) {
    move |model| {
        change(model, &format!("{UP}.weight"), |at, value| {
            if at / 32 == row {
                1e-7_f32.copysign(value)
            } else {
                value
            }
        });
        change(model, &format!("{UP}.bias"), |at, value| {
            if at == row { bias } else { value }
        });
    }
}

#[test]
fn a_row_of_tiny_weights_gets_a_wider_scale_and_the_report_says_so() {
    let bench = Workbench::new();
    for (row, bias) in [(10, 1.0), (0, -3.0), (47, 50.0)] {
        let report = compiled(&bench, &format!("row{row}"), tiny_row(row, bias));
        let told = notes(&report, UP);
        assert!(told.contains("scale of 1 of 48 rows widened"), "{told}");
        assert!(score(&report, "top1_agreement") > 0.8, "{report:#}");
    }
}

#[test]
fn dead_layers_and_norms_without_gamma_compile() {
    let bench = Workbench::new();
    let zero = |names: &'static [&'static str]| {
        move |model: &Path| {
            for name in names {
                change(model, name, |_, _| 0.0);
            }
        }
    };
    compiled(
        &bench,
        "dead",
        zero(&[
            "bert.encoder.layer.1.intermediate.dense.weight",
            "bert.encoder.layer.1.intermediate.dense.bias",
        ]),
    );
    compiled(
        &bench,
        "no-weights",
        zero(&["bert.encoder.layer.0.attention.self.query.weight"]),
    );
    compiled(
        &bench,
        "gamma",
        zero(&["bert.encoder.layer.1.output.LayerNorm.weight"]),
    );
    compiled(
        &bench,
        "classifier",
        zero(&[
            "classifier.weight",
            "bert.pooler.dense.weight",
            "bert.pooler.dense.bias",
        ]),
    );
}

#[test]
fn every_other_row_keeps_its_codes_and_scales() {
    let bench = Workbench::new();
    let small = |bias: f32| {
        move |model: &Path| {
            change(model, &format!("{UP}.weight"), |at, value| {
                if at / 32 == 7 {
                    1e-7_f32.copysign(value)
                } else {
                    value
                }
            });
            change(model, &format!("{UP}.bias"), |at, value| {
                if at == 7 { bias } else { value }
            });
        }
    };
    // The same weights beside a bias that fits and beside one that does not.
    compiled(&bench, "fits", small(0.0));
    compiled(&bench, "widened", small(20.0));
    let scales = |output: &str| {
        let file = bench.at(output).join("model.safetensors");
        let all = crate::workbench::tensors(&file);
        floats(&all[&format!("{UP}.weight_scale")])
    };
    let (fits, widened) = (scales("fits-out"), scales("widened-out"));
    for (row, (before, after)) in fits.iter().zip(&widened).enumerate() {
        if row == 7 {
            assert!(after > before, "{before} {after}");
        } else {
            assert!((after - before).abs() < f32::EPSILON * before, "row {row}");
        }
    }
    assert!(!contents(&bench.at("fits-out")).is_empty());
}
