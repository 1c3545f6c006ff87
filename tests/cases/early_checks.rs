//! Inputs are looked at before the work: what an evaluation needs is opened and tried before the first weight is read.

use crate::datasets::{
    image_classifier, image_folders, sentences, text_classifier, write_tokenizer,
};
use crate::workbench::{Ended, Workbench, edit_json};
use serde_json::json;

/// Quantizes `model` and evaluates it on `data`.
fn quantize(bench: &Workbench, model: &str, data: &str) -> Ended {
    bench.quench(&[
        "quantize",
        model,
        "-o",
        "out",
        "--method",
        "rtn",
        "--bits",
        "4",
        "--eval-data",
        data,
        "--progress",
        "plain",
        "--threads",
        "1",
    ])
}

/// Asserts that a run ended before anything was done, and why.
#[track_caller]
fn ended_early(bench: &Workbench, ended: &Ended, code: i32, parts: &[&str]) {
    ended.says(code, parts);
    assert!(!ended.stderr.contains("quantize: "), "{}", ended.shown());
    assert!(!bench.at("out").exists(), "{}", ended.shown());
}

#[test]
fn a_token_without_a_vector_is_named_with_its_text() {
    let bench = Workbench::new();
    let model = bench.decoder("m");
    edit_json(&model.join("tokenizer.json"), |tokenizer| {
        tokenizer["added_tokens"].as_array_mut().unwrap().push(json!({
            "id": 2048, "content": "<|new|>", "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true }));
    });
    bench.text("plain.txt");
    let plain = fs_err::read_to_string(bench.at("plain.txt")).unwrap();
    bench.write("text.txt", format!("{plain}<|new|>{plain}"));
    let told = &[
        "`text.txt` holds the token `<|new|>` (id 2048)",
        "2048 rows",
    ];
    ended_early(&bench, &quantize(&bench, "m", "text.txt"), 3, told);
    bench
        .quench(&["eval", "m", "--eval-data", "text.txt"])
        .says(3, told);
    // So is one in the text that is calibrated on, and none where the text has none.
    let calibrated = |data: &str| {
        bench.quench(&[
            "quantize",
            "m",
            "-o",
            "out",
            "--calib",
            data,
            "--samples",
            "64",
            "--sequence-length",
            "32",
            "--no-eval",
            "--force",
            "--threads",
            "1",
        ])
    };
    bench.write("short.txt", format!("<|new|>{plain}"));
    ended_early(
        &bench,
        &calibrated("short.txt"),
        3,
        &["the token `<|new|>`"],
    );
    assert_eq!(calibrated("plain.txt").code, 0);
}

#[test]
fn a_table_with_a_word_without_a_vector_is_refused() {
    let bench = Workbench::new();
    let model = text_classifier(&bench, "m");
    write_tokenizer(&model, 200);
    let rows = sentences(60, &["0", "1", "2"]) + "w4 w150\t1\n";
    bench.write("d.tsv", rows);
    let told = &["`d.tsv` holds the token `w150` (id 150)", "96 rows"];
    ended_early(&bench, &quantize(&bench, "m", "d.tsv"), 3, told);
}

#[test]
fn a_tokenizer_of_another_library_is_told_in_words() {
    let bench = Workbench::new();
    let model = bench.decoder("m");
    bench.text("text.txt");
    let file = model.join("tokenizer.json");
    let before = fs_err::read(&file).unwrap();
    edit_json(&file, |tokenizer| {
        tokenizer["model"]["type"] = json!("HyperBPE")
    });
    let ended = quantize(&bench, "m", "text.txt");
    ended_early(
        &bench,
        &ended,
        4,
        &["`model`: expected one of `BPE`", "found `HyperBPE`"],
    );
    assert!(!ended.stderr.contains("untagged"), "{}", ended.shown());
    fs_err::write(&file, &before).unwrap();
    edit_json(&file, |tokenizer| {
        tokenizer["pre_tokenizer"] = json!({ "type": "Cutter" })
    });
    ended_early(
        &bench,
        &quantize(&bench, "m", "text.txt"),
        4,
        &["`pre_tokenizer`: `Cutter` is not known"],
    );
    fs_err::write(&file, &before[..before.len() / 2]).unwrap();
    ended_early(
        &bench,
        &quantize(&bench, "m", "text.txt"),
        4,
        &["it is no JSON"],
    );
    fs_err::remove_file(&file).unwrap();
    ended_early(
        &bench,
        &quantize(&bench, "m", "text.txt"),
        3,
        &["needs `tokenizer.json`"],
    );
}

#[test]
fn columns_labels_and_kinds_of_data_are_looked_at_first() {
    let bench = Workbench::new();
    text_classifier(&bench, "m");
    image_classifier(&bench, "v");
    bench.write("columns.tsv", "phrase\tlabel\nw4 w5\t1\n");
    ended_early(
        &bench,
        &quantize(&bench, "m", "columns.tsv"),
        3,
        &["no column `sentence`"],
    );
    bench.write("labels.tsv", sentences(80, &["0"]) + "w4 w5\t7\n");
    ended_early(
        &bench,
        &quantize(&bench, "m", "labels.tsv"),
        3,
        &["`labels.tsv` line 82", "found `7`"],
    );
    bench.text("text.txt");
    ended_early(
        &bench,
        &quantize(&bench, "m", "text.txt"),
        3,
        &["holds text, expected a table"],
    );
    ended_early(
        &bench,
        &quantize(&bench, "v", "labels.tsv"),
        3,
        &["expected images"],
    );
    ended_early(
        &bench,
        &quantize(&bench, "v", "synthetic"),
        3,
        &["no labels"],
    );
    image_folders(&bench, "im", &["0", "9"]);
    ended_early(
        &bench,
        &quantize(&bench, "v", "im"),
        3,
        &["expected a number from 0 to 4"],
    );
    bench.write("short.txt", "a few words");
    bench.decoder("d");
    ended_early(
        &bench,
        &quantize(&bench, "d", "short.txt"),
        3,
        &["gives no sequence of 256 tokens"],
    );
}

#[test]
fn the_second_evaluation_is_tried_before_the_first_runs() {
    let bench = Workbench::new();
    text_classifier(&bench, "m");
    bench.write("good.tsv", sentences(9, &["0", "1"]));
    bench.write("bad.tsv", sentences(9, &["0", "no"]));
    let table =
        |data: &str| format!("[[evaluate]]\ntask = \"classification\"\ndata = \"{data}\"\n");
    bench.write("judge.toml", table("good.tsv") + &table("bad.tsv"));
    let ended = bench.quench(&["eval", "m", "-r", "judge.toml", "--progress", "plain"]);
    ended.says(3, &["line 3", "found `no`"]);
    assert!(
        !ended.stderr.contains("classification: 0/"),
        "{}",
        ended.shown()
    );
}

#[test]
fn what_fails_late_says_where_the_model_is_and_how_to_go_on() {
    let bench = Workbench::new();
    image_classifier(&bench, "v");
    image_folders(&bench, "im", &["0", "1", "2", "3"]);
    // Beyond the first pictures, which are tried.
    bench.write("im/3/011.png", "no picture");
    let ended = quantize(&bench, "v", "im");
    ended.says(
        3,
        &[
            "error: the model is written to `out`, and could not be evaluated",
            "im/3/011.png",
            "hint: the files are complete; evaluate them again with `quench eval out --eval-data im`",
        ],
    );
    let report = fs_err::read_to_string(bench.at("out/report.json")).unwrap();
    assert!(report.contains("not evaluated: "), "{report}");
    image_folders(&bench, "im", &["0", "1", "2", "3"]);
    let again = bench.quench(&["eval", "out", "--eval-data", "im", "--json", "-q"]);
    assert_eq!(again.code, 0, "{}", again.shown());
    assert!(
        again.json()["scores"][0]["original"].is_number(),
        "the original is found"
    );
}
