//! Encoders whose blocks compute some of the tokens: compared with themselves, refused where no first token decides.

use crate::datasets::{configure, image_classifier, image_folders, sentences, text_classifier};
use crate::workbench::{Ended, Workbench};
use serde_json::{Value, json};

fn eval(bench: &Workbench, data: &str, keep: &str) -> Ended {
    let words = ["eval", "m", "--eval-data", data, "--keep-tokens", keep];
    bench.quench(&[&words[..], &["--json"]].concat())
}

fn divergence(report: &Value) -> f64 {
    let scores = report["scores"].as_array().unwrap();
    let found = scores
        .iter()
        .find(|score| score["metric"] == "kl_divergence");
    found.unwrap()["quantized"].as_f64().unwrap()
}

fn texts(bench: &Workbench) {
    let model = text_classifier(bench, "m");
    let names = json!({ "label2id": { "ant": 0, "bee": 1, "cow": 2 }, "id2label": null });
    configure(&model, &names);
    bench.write("d.tsv", sentences(12, &["ant", "bee", "cow"]));
}

#[test]
fn all_tokens_change_nothing_and_fewer_change_more() {
    let bench = Workbench::new();
    texts(&bench);
    let of = |keep: &str| {
        let ended = eval(&bench, "d.tsv", keep);
        assert_eq!(ended.code, 0, "{}", ended.shown());
        ended
    };
    let [all, half, none] = ["1", "0.5", "0"].map(of);
    let told = "blocks computed 100.0 % of the tokens";
    assert!(all.stderr.contains(told), "{}", all.shown());
    let [all, half, none] = [all, half, none].map(|ended| divergence(&ended.json()));
    assert!(all < 1e-9, "{all}");
    assert!(half > 1e-9 && none > half, "{half} {none}");
}

#[test]
fn images_are_told_by_fewer_patches() {
    let bench = Workbench::new();
    let model = image_classifier(&bench, "m");
    let classes = ["ant", "bee", "cow", "dog", "eel"];
    let numbers: serde_json::Map<String, Value> = (0..)
        .zip(classes)
        .map(|(at, name)| (name.to_owned(), json!(at)))
        .collect();
    configure(&model, &json!({ "label2id": numbers, "id2label": null }));
    image_folders(&bench, "im", &classes);
    let of = |keep: &str| {
        let ended = eval(&bench, "im", keep);
        assert_eq!(ended.code, 0, "{}", ended.shown());
        divergence(&ended.json())
    };
    assert!(of("1") < 1e-9);
    assert!(of("0.3") > 1e-9);
}

#[test]
fn models_that_no_first_token_decides_are_refused_with_the_reason() {
    let bench = Workbench::new();
    bench.text("text.txt");
    let words = [
        "eval",
        "demo",
        "--eval-data",
        "text.txt",
        "--keep-tokens",
        "0.5",
    ];
    bench.quench(&words).says(
        3,
        &[
            "cannot leave out tokens of `demo`",
            "a pattern of who sees whom",
        ],
    );
    texts(&bench);
    eval(&bench, "d.tsv", "1.5").says(2, &["a number from 0 to 1", "`1.5`"]);
}
