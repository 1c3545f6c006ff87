//! A plan fits a screen, names what it keeps, refuses what cannot be measured, and its estimates hold.

use crate::workbench::{Workbench, edit_json, edit_tensors};
use serde_json::Value;

/// Repeats block 0 of a decoder until it has `count`.
pub(crate) fn repeat_blocks(model: &std::path::Path, count: usize) {
    edit_json(&model.join("config.json"), |config| {
        config["num_hidden_layers"] = count.into();
        config.as_object_mut().unwrap().remove("layer_types");
    });
    edit_tensors(model, |tensors| {
        let first: Vec<String> = tensors
            .keys()
            .filter(|name| name.starts_with("model.layers.0."))
            .cloned()
            .collect();
        for name in first {
            let stored = tensors[&name].clone();
            for block in 1..count {
                tensors.insert(name.replace(".0.", &format!(".{block}.")), stored.clone());
            }
        }
    });
}

#[test]
fn equal_layers_stand_on_one_line_and_all_of_them_under_v() {
    let bench = Workbench::new();
    let model = bench.model("llama-plain-v4", "m");
    repeat_blocks(&model, 80);
    let ended = bench.quench(&["plan", "m", "--method", "rtn"]);
    assert_eq!(ended.code, 0, "{}", ended.shown());
    assert!(ended.stdout.lines().count() < 40, "{}", ended.shown());
    let line = ended
        .stdout
        .lines()
        .find(|line| line.contains("model.layers.0-79.mlp.down_proj"));
    assert!(
        line.is_some_and(|line| line.contains("  80  ")),
        "{}",
        ended.shown()
    );
    let all = bench.quench(&["plan", "m", "--method", "rtn", "-v"]);
    assert!(
        all.stdout.contains("model.layers.57.mlp.down_proj "),
        "{}",
        all.shown()
    );
    // A layer that is not like the others stands alone.
    bench.write(
        "mixed.toml",
        "[[layers]]\nmatch = \"model.layers.7.mlp.down_proj\"\nmethod = \"rtn\"\nbits = 8\n\
         [[layers]]\nmatch = \"*.up_proj\"\nmethod = \"keep\"\n\
         [[layers]]\nmatch = \"*\"\nmethod = \"rtn\"\nbits = 4\n",
    );
    let mixed = bench.quench(&["plan", "m", "-r", "mixed.toml"]).stdout;
    for part in [
        "model.layers.0-6,8-79.mlp.down_proj",
        "model.layers.7.mlp.down_proj",
        "kept: 80 x model.layers.0-79.mlp.up_proj",
    ] {
        assert!(mixed.contains(part), "no `{part}`: {mixed}");
    }
}

#[test]
fn what_is_kept_is_named_with_its_size() {
    let bench = Workbench::new();
    let told = bench.quench(&["plan", "demo", "-r", "w4"]).stdout;
    for part in [
        "kept: model.embed_tokens.weight, 512.00 KiB (token table, which is also the head)",
        "kept: 13 other tensors, 3.25 KiB (normalisations and biases)",
        "515.25 KiB of that stay as they are",
    ] {
        assert!(told.contains(part), "no `{part}`: {told}");
    }
    bench.model("llama-untied-biases", "m");
    let told = bench.quench(&["plan", "m", "--method", "rtn"]).stdout;
    assert!(
        told.contains("(token table)") && told.contains("kept: lm_head ["),
        "{told}"
    );
}

#[test]
fn windows_longer_than_the_positions_are_refused_in_the_plan() {
    let bench = Workbench::new();
    bench.decoder("m");
    bench.text("text.txt");
    let table = "[[layers]]\nmatch = \"*\"\nmethod = \"rtn\"\nbits = 4\n\
                 [[evaluate]]\ntask = \"perplexity\"\ndata = \"text.txt\"\nsequence_length = 257\n";
    bench.write("long.toml", table);
    let told = &["sequence_length: expected at most 256 (the model's positions), found 257"];
    for words in [
        &["plan", "m", "-r", "long.toml"][..],
        &["quantize", "m", "-r", "long.toml", "-o", "out"],
        &["eval", "m", "-r", "long.toml"],
    ] {
        bench.quench(words).says(3, told);
    }
    bench.write("fits.toml", table.replace("257", "256"));
    assert_eq!(bench.quench(&["plan", "m", "-r", "fits.toml"]).code, 0);
}

#[test]
fn gates_that_nothing_measures_are_refused_before_the_work() {
    let bench = Workbench::new();
    bench.decoder("m");
    bench.text("text.txt");
    let rule = "[[layers]]\nmatch = \"*\"\nmethod = \"rtn\"\nbits = 4\n";
    bench.write(
        "gate.toml",
        format!("{rule}[gate]\naccuracy_delta = -0.01\n"),
    );
    let told =
        &["gate `accuracy_delta>=-0.01` cannot be checked: no evaluation measures `accuracy`"];
    bench
        .quench(&["plan", "m", "-r", "gate.toml"])
        .says(3, told);
    bench
        .quench(&["quantize", "m", "-r", "gate.toml", "-o", "out"])
        .says(3, told);
    assert!(!bench.at("out").exists());
    // Without an evaluation there is no gate; with the data it wants there is one.
    assert_eq!(
        bench
            .quench(&[
                "quantize",
                "m",
                "-r",
                "gate.toml",
                "-o",
                "out",
                "--no-eval",
                "-q"
            ])
            .code,
        0
    );
    let alone = [
        "eval",
        "m",
        "--eval-data",
        "text.txt",
        "--gate",
        "perplexity_ratio<=2",
    ];
    bench
        .quench(&alone)
        .says(3, &["there is no original to compare with"]);
    let own = [
        "eval",
        "m",
        "--eval-data",
        "text.txt",
        "-q",
        "--gate",
        "kl_divergence<=1",
        "--baseline",
        "m",
    ];
    assert_eq!(bench.quench(&own).code, 0);
}

#[test]
fn samples_that_the_data_cannot_give_are_not_promised() {
    let bench = Workbench::new();
    bench.decoder("m");
    bench.write("rows.jsonl", "{\"text\": \"a line\"}\n".repeat(200));
    let words = [
        "plan",
        "m",
        "--method",
        "squeezellm",
        "--bits",
        "3",
        "--calib",
        "rows.jsonl#text",
        "--samples",
        "100000",
    ];
    let told = bench.quench(&words).stdout;
    assert!(told.contains("at most 200 of 100000 samples"), "{told}");
    let json = [&words[..], &["--json"]].concat();
    let plan = bench.quench(&json).json();
    let memory = plan["estimate"]["memory_bytes"].as_u64().unwrap();
    assert!(memory < 2 << 30, "{memory}");
}

#[test]
fn the_memory_of_a_plan_holds_with_its_evaluation() {
    let bench = Workbench::new();
    bench.decoder("m");
    let text = include_str!("../fixtures/text/sampled.txt");
    bench.write("text.txt", text);
    let common = [
        "--method",
        "rtn",
        "--bits",
        "4",
        "--eval-data",
        "text.txt",
        "--json",
        "--threads",
        "2",
    ];
    let plan = bench.quench(&[&["plan", "m"][..], &common].concat()).json();
    let report = bench
        .quench(&[&["quantize", "m", "-o", "out", "-q"][..], &common].concat())
        .json();
    let promised = plan["estimate"]["memory_bytes"].as_u64().unwrap();
    let used = report["run"]["peak_memory_bytes"].as_u64().unwrap();
    // The allocator's share differs between machines.
    assert!(
        used < promised + promised / 4 && promised < 3 * used,
        "{promised} promised, {used} used"
    );
    let seconds = |value: &Value| value.as_f64().unwrap();
    let estimate = &plan["estimate"];
    assert!(seconds(&estimate["evaluation_seconds"]) > 0.0);
    assert!(seconds(&estimate["seconds"]) >= seconds(&estimate["evaluation_seconds"]));
}

#[test]
fn documents_are_scored_as_such_and_the_reader_is_told() {
    let bench = Workbench::new();
    bench.decoder("m");
    let text = fs_err::read_to_string(bench.text("plain.txt")).unwrap();
    let text = text.replace("<|endoftext|>", "");
    let mut parts = text.split_inclusive(". ").collect::<Vec<_>>();
    parts.truncate(12);
    bench.write("documents.txt", parts.join("\n</s>\n"));
    let table =
        "[[evaluate]]\ntask = \"perplexity\"\ndata = \"documents.txt\"\nsequence_length = 64\n";
    bench.write("auto.toml", table);
    let asked = "mode = \"documents\"\nseparator = \"</s>\"\n";
    bench.write("asked.toml", format!("{table}{asked}"));
    bench.write("windows.toml", format!("{table}mode = \"windows\"\n"));
    let run = |recipe: &str| {
        let ended = bench.quench(&["eval", "m", "-r", recipe, "--json", "-q"]);
        assert_eq!(ended.code, 0, "{}", ended.shown());
        ended.json()
    };
    let [auto, asked, windows] = ["auto.toml", "asked.toml", "windows.toml"].map(run);
    assert_eq!(auto["scores"], asked["scores"]);
    assert_ne!(auto["scores"], windows["scores"]);
    assert!(
        auto["warnings"]
            .to_string()
            .contains("each is scored by itself"),
        "{auto:#}"
    );
    assert!(
        windows["warnings"]
            .to_string()
            .contains("scored as one text"),
        "{windows:#}"
    );
    assert!(
        !asked["warnings"].to_string().contains("holds documents"),
        "{asked:#}"
    );
    // Documents of which most would be cut away are one text all the same.
    bench.write("long.txt", format!("{}</s>", text.repeat(3)));
    let long = bench.quench(&["eval", "m", "--eval-data", "long.txt", "--json", "-q"]);
    let told = long.json()["warnings"].to_string();
    assert!(
        told.contains("most of them are longer than a sequence"),
        "{told}"
    );
    assert!(long.json()["scores"][0]["samples"].as_u64() > Some(10));
    // Text that is calibrated on is cut as the recipe says, and the reader is told.
    let words = [
        "quantize",
        "m",
        "-o",
        "out",
        "--method",
        "gptq",
        "--calib",
        "documents.txt",
        "--samples",
        "2",
        "--sequence-length",
        "32",
        "--no-eval",
    ];
    bench
        .quench(&words)
        .says(0, &["note: `documents.txt` holds documents between `</s>`"]);
}

#[test]
fn an_evaluation_of_two_passes_shows_both() {
    let bench = Workbench::new();
    bench.decoder("m");
    bench.text("text.txt");
    let ended = bench.quench(&["eval", "m", "--eval-data", "text.txt", "--progress", "json"]);
    assert_eq!(ended.code, 0, "{}", ended.shown());
    let events: Vec<Value> = ended
        .stderr
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let finished = |name: &str| {
        let mut found = events
            .iter()
            .filter(|event| event["name"] == name && event["event"] == "finished");
        found.next().cloned().unwrap_or_default()
    };
    for name in ["perplexity blocks", "perplexity"] {
        let event = finished(name);
        assert!(event["total"].as_u64() > Some(0), "{event}");
        assert_eq!(event["done"], event["total"], "{event}");
    }
}
