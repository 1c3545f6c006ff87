//! Values out of range: every tensor that is read is finite, and every scale and table fits the type it is stored
//! in, or the layer is refused by name.

use crate::workbench::{Ended, Workbench, as_f16, as_f32, edit_json, edit_tensors, floats};
use std::path::Path;

const LAYER: &str = "model.layers.1.mlp.down_proj.weight";

fn quantize(bench: &Workbench, words: &[&str]) -> Ended {
    let mut all = vec!["quantize", "m", "-o", "out", "--no-eval", "-q", "--force"];
    all.extend(words);
    bench.quench(&all)
}

/// Puts `value` into the tensor `name` at `position`.
fn put(model: &Path, name: &str, position: usize, value: f32) {
    edit_tensors(model, |all| {
        let stored = &all[name];
        let mut values = floats(stored);
        values[position] = value;
        let changed = as_f32(&stored.1.clone(), &values);
        all.insert(name.to_owned(), changed);
    });
}

/// Makes every tensor f16 but the layer, which is scaled and f32.
fn one_wide_layer(model: &Path, factor: f32) {
    edit_json(&model.join("config.json"), |config| {
        config["dtype"] = "float16".into();
    });
    edit_tensors(model, |all| {
        for (name, stored) in all.iter_mut() {
            let values = floats(stored);
            let shape = stored.1.clone();
            *stored = if name == LAYER {
                let scaled: Vec<f32> = values.iter().map(|value| value * factor).collect();
                as_f32(&shape, &scaled)
            } else {
                as_f16(&shape, &values)
            };
        }
    });
}

#[test]
fn a_wide_layer_of_a_narrow_model_is_quantized_or_refused_by_name() {
    let bench = Workbench::new();
    one_wide_layer(&bench.model("llama-plain-v4", "m"), 1e7);
    let ended = quantize(&bench, &["--method", "rtn", "--bits", "4"]);
    assert_eq!(
        ended.code,
        0,
        "its own type holds the scales: {}",
        ended.shown()
    );
    let ended = quantize(&bench, &["--method", "kmeans", "--bits", "4"]);
    ended.says(3, &["model.layers.1.mlp.down_proj", "65504", "f16"]);
}

#[test]
fn a_scale_that_leaves_the_type_a_recipe_names_is_refused() {
    let bench = Workbench::new();
    one_wide_layer(&bench.model("llama-plain-v4", "m"), 1e9);
    for arithmetic in ["model", "f32"] {
        let rule = format!(
            "[[layers]]\nmatch = \"*\"\nmethod = \"rtn\"\nbits = 4\nscale_type = \"f16\"\n\
             arithmetic = \"{arithmetic}\"\n[output]\nformat = \"quench\"\n"
        );
        bench.write("r.toml", rule);
        let ended = quantize(&bench, &["-r", "r.toml"]);
        ended.says(
            3,
            &[
                "model.layers.1.mlp.down_proj",
                "F16",
                "scale_type = \"f32\"",
            ],
        );
    }
}

#[test]
fn a_dense_export_does_not_turn_large_weights_into_infinity() {
    let bench = Workbench::new();
    one_wide_layer(&bench.model("llama-plain-v4", "m"), 1e8);
    let made = quantize(&bench, &["--method", "rtn", "--bits", "8"]);
    assert_eq!(made.code, 0, "{}", made.shown());
    let narrow = [
        "export", "out", "--format", "dense", "--dtype", "f16", "-o", "dense",
    ];
    bench
        .quench(&narrow)
        .says(3, &["model.layers.1.mlp.down_proj.weight", "F16"]);
    let wide = [
        "export", "out", "--format", "dense", "--dtype", "bf16", "-o", "wide",
    ];
    let ended = bench.quench(&wide);
    assert_eq!(ended.code, 0, "{}", ended.shown());
}

#[test]
fn a_value_that_is_no_number_is_named_whatever_tensor_it_is_in() {
    let cases = [
        ("model.embed_tokens.weight", f32::NAN, "NaN"),
        (
            "model.layers.0.input_layernorm.weight",
            f32::INFINITY,
            "inf",
        ),
        ("model.norm.weight", f32::NEG_INFINITY, "-inf"),
        (LAYER, f32::NAN, "NaN"),
    ];
    for (name, value, shown) in cases {
        let bench = Workbench::new();
        put(&bench.model("llama-plain-v4", "m"), name, 5, value);
        for method in ["rtn", "kmeans"] {
            let ended = quantize(&bench, &["--method", method, "--bits", "4"]);
            let holds = format!("holds {shown} at");
            ended.says(3, &[name, &holds]);
            assert!(
                !bench.at("out/config.json").exists(),
                "before anything is written"
            );
        }
    }
}

#[test]
fn evaluation_of_such_a_model_gives_no_figure() {
    let bench = Workbench::new();
    put(&bench.decoder("m"), "model.norm.weight", 3, f32::NAN);
    bench.text("t.txt");
    let ended = bench.quench(&["eval", "m", "--eval-data", "t.txt"]);
    ended.says(3, &["model.norm.weight", "NaN at [3]"]);
    assert_eq!(ended.stdout, "");
}

#[test]
fn tables_of_integer_programs_never_hold_a_zero_for_nan() {
    let bench = Workbench::new();
    let model = bench.model("bert-classifier-relu", "m");
    let mut name = String::new();
    edit_tensors(&model, |all| {
        name = all
            .keys()
            .find(|name| name.ends_with("word_embeddings.weight"))
            .unwrap()
            .clone();
    });
    put(&model, &name, 0, f32::NAN);
    let ended = quantize(&bench, &["-r", "int8-integer-only"]);
    ended.says(3, &["word_embeddings.weight", "NaN at [0, 0]"]);
}
