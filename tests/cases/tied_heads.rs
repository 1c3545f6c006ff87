//! A tied head that is stored as well: equal tables are written once, different ones are kept and noted.

use crate::workbench::{Ended, Workbench, as_f32, edit_json, edit_tensors, floats, tensors};
use std::path::Path;

/// Adds `lm_head.weight` made from the token table.
fn store_head(model: &Path, table: &str, edit: impl Fn(Vec<f32>) -> Vec<f32>) {
    edit_tensors(model, |all| {
        let stored = all[table].clone();
        let head = match edit(floats(&stored)) {
            same if same == floats(&stored) => stored,
            other => as_f32(&stored.1, &other),
        };
        all.insert("lm_head.weight".to_owned(), head);
    });
}

fn tie(model: &Path, tied: bool) {
    edit_json(&model.join("config.json"), |config| {
        config["tie_word_embeddings"] = tied.into();
    });
}

fn quantize(bench: &Workbench, more: &[&str]) -> Ended {
    let words = [
        "quantize",
        "m",
        "-o",
        "out",
        "--method",
        "rtn",
        "--bits",
        "4",
        "--no-eval",
    ];
    let ended = bench.quench(&[&words[..], more].concat());
    assert_eq!(ended.code, 0, "{}", ended.shown());
    ended
}

fn has_head(bench: &Workbench) -> bool {
    let all = tensors(&bench.at("out/model.safetensors"));
    all.keys().any(|name| name.starts_with("lm_head"))
}

#[test]
fn an_equal_head_is_written_once() {
    let bench = Workbench::new();
    let model = bench.decoder("m");
    tie(&model, true);
    store_head(&model, "model.embed_tokens.weight", |values| values);
    let ended = quantize(&bench, &[]);
    assert!(
        ended
            .stderr
            .contains("`lm_head.weight` equals `model.embed_tokens.weight`")
    );
    assert!(!has_head(&bench));
    bench.text("t.txt");
    let ended = bench.quench(&[
        "eval",
        "out",
        "--baseline",
        "m",
        "--eval-data",
        "t.txt",
        "-q",
    ]);
    assert_eq!(ended.code, 0, "{}", ended.shown());
}

#[test]
fn a_different_head_is_kept_and_noted() {
    let bench = Workbench::new();
    let model = bench.decoder("m");
    tie(&model, true);
    store_head(&model, "model.embed_tokens.weight", |mut values| {
        values.reverse();
        values
    });
    let ended = quantize(&bench, &[]);
    assert!(ended.stderr.contains("the two differ"), "{}", ended.shown());
    assert!(has_head(&bench));
    let report = fs_err::read_to_string(bench.at("out/report.md")).unwrap();
    assert!(report.contains("the two differ"));
}

#[test]
fn gpt2_is_tied_unless_it_says_otherwise() {
    let bench = Workbench::new();
    let model = bench.model("gpt2", "m");
    edit_json(&model.join("config.json"), |config| {
        config
            .as_object_mut()
            .unwrap()
            .remove("tie_word_embeddings");
    });
    store_head(&model, "transformer.wte.weight", |values| values);
    quantize(&bench, &[]);
    assert!(!has_head(&bench));
}

#[test]
fn a_head_of_its_own_stays_without_a_word() {
    let bench = Workbench::new();
    let model = bench.decoder("m");
    tie(&model, false);
    store_head(&model, "model.embed_tokens.weight", |values| values);
    let ended = quantize(&bench, &[]);
    assert!(!ended.stderr.contains("lm_head"), "{}", ended.shown());
    assert!(has_head(&bench));
}

#[test]
fn a_head_that_a_rule_names_is_quantized() {
    let bench = Workbench::new();
    let model = bench.decoder("m");
    tie(&model, true);
    store_head(&model, "model.embed_tokens.weight", |values| values);
    bench.write(
        "r.toml",
        "[[layers]]\nmatch = \"lm_head\"\nmethod = \"rtn\"\nbits = 8\n",
    );
    let ended = bench.quench(&[
        "quantize",
        "m",
        "-r",
        "r.toml",
        "-o",
        "out",
        "--no-eval",
        "-q",
    ]);
    assert_eq!(ended.code, 0, "{}", ended.shown());
    assert!(has_head(&bench));
}
