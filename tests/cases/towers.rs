//! Models that see or hear around a language model: that one is quantized, and the rest is as it was.

use crate::workbench::{Workbench, edit_json, edit_tensors, tensors};
use std::collections::BTreeMap;

/// Fixture, prefix of the language tower, other towers.
const MODELS: [(&str, &str, &[&str]); 4] = [
    (
        "gemma3-vision",
        "model.language_model.",
        &["model.multi_modal_projector", "model.vision_tower"],
    ),
    (
        "llava",
        "language_model.",
        &["multi_modal_projector", "vision_tower"],
    ),
    ("qwen2-5-vl", "model.", &["visual"]),
    (
        "qwen2-audio",
        "language_model.",
        &["audio_tower", "multi_modal_projector"],
    ),
];

const CALIBRATION: &str =
    "[calibration]\ndata = \"synthetic\"\nsamples = 4\nsequence_length = 32\n";

fn quantized(method: &str) {
    for (fixture, prefix, towers) in MODELS {
        let bench = Workbench::new();
        let model = bench.model(fixture, "m");
        let rule =
            format!("{CALIBRATION}[[layers]]\nmatch = \"*\"\nmethod = \"{method}\"\nbits = 4\n");
        bench.write("r.toml", rule);
        let words = ["quantize", "m", "-r", "r.toml", "-o", "out", "--json"];
        let ended = bench.quench(&words);
        ended.says(0, &[]);
        let report = ended.json();
        let layers = report["layers"].as_array().unwrap();
        assert_eq!(layers.len(), 14, "{fixture}");
        for layer in layers {
            assert!(
                layer["name"].as_str().unwrap().starts_with(prefix),
                "{layer}"
            );
        }
        let said = report["warnings"].to_string();
        for tower in towers {
            assert!(
                said.contains(&format!("left as it is: {tower}, ")),
                "{said}"
            );
        }
        assert!(!report["scores"].as_array().unwrap().is_empty(), "{said}");
        let original = tensors(&model.join("model.safetensors"));
        let written = tensors(&bench.at("out/model.safetensors"));
        let others = |all: &BTreeMap<String, _>| -> BTreeMap<_, _> {
            let is_other = |name: &String| towers.iter().any(|tower| name.starts_with(tower));
            all.iter()
                .filter(|(name, _)| is_other(name))
                .map(|(name, tensor): (&String, &crate::workbench::Stored)| {
                    (name.clone(), tensor.clone())
                })
                .collect()
        };
        assert!(!others(&original).is_empty());
        assert_eq!(others(&original), others(&written), "{fixture}");
        let ended = bench.quench(&["eval", "out", "--baseline", "m", "--json"]);
        ended.says(0, &[]);
    }
}

#[test]
fn round_to_nearest_leaves_the_other_towers_as_they_are() {
    quantized("rtn");
}

#[test]
fn error_compensation_leaves_the_other_towers_as_they_are() {
    quantized("gptq");
}

#[test]
fn plans_have_a_line_for_each_tower() {
    let bench = Workbench::new();
    bench.model("gemma3-vision", "m");
    let plan = bench.quench(&["plan", "m"]);
    plan.says(0, &[]);
    let lines = |part: &str| {
        plan.stdout
            .lines()
            .filter(|line| line.contains(part))
            .count()
    };
    assert_eq!(lines("kept: model.vision_tower, "), 1, "{}", plan.stdout);
    assert_eq!(
        lines("kept: model.multi_modal_projector, 2 tensors with 136 parameters"),
        1,
        "{}",
        plan.stdout
    );
    assert_eq!(
        lines("the language tower (`gemma3_text`"),
        1,
        "{}",
        plan.stdout
    );
}

#[test]
fn a_head_tied_in_a_model_of_the_older_layout_is_found() {
    let bench = Workbench::new();
    let model = bench.model("gemma3-vision", "m");
    edit_tensors(&model, |all| {
        *all = std::mem::take(all)
            .into_iter()
            .map(|(name, tensor)| {
                let name = name.strip_prefix("model.").unwrap().to_owned();
                (
                    name.replace("language_model.", "language_model.model."),
                    tensor,
                )
            })
            .collect();
    });
    edit_json(&model.join("config.json"), |config| {
        config
            .as_object_mut()
            .unwrap()
            .remove("tie_word_embeddings");
        config["text_config"]
            .as_object_mut()
            .unwrap()
            .remove("tie_word_embeddings");
    });
    let plan = bench.quench(&["plan", "m"]);
    plan.says(0, &[]);
    let tied =
        "language_model.model.embed_tokens.weight, 2.00 KiB (token table, which is also the head)";
    assert!(plan.stdout.contains(tied), "{}", plan.shown());
}

#[test]
fn a_tower_that_stands_nowhere_known_is_a_model_of_unknown_architecture() {
    let bench = Workbench::new();
    let model = bench.model("llava", "m");
    edit_tensors(&model, |all| {
        *all = std::mem::take(all)
            .into_iter()
            .map(|(name, tensor)| (name.replace("language_model.model.", "speaker."), tensor))
            .collect();
    });
    let plan = bench.quench(&["plan", "m"]);
    plan.says(0, &[]);
    assert!(
        plan.stdout.contains("the architecture is unknown"),
        "{}",
        plan.shown()
    );
}

#[test]
fn towers_around_an_unknown_language_model_are_left_too() {
    let bench = Workbench::new();
    let model = bench.model("llava", "m");
    edit_json(&model.join("config.json"), |config| {
        config["text_config"]["model_type"] = "wholly-new".into();
    });
    let ended = bench.quench(&[
        "quantize",
        "m",
        "--method",
        "rtn",
        "--bits",
        "4",
        "--no-eval",
        "-o",
        "out",
        "--json",
    ]);
    ended.says(0, &[]);
    let report = ended.json();
    let layers = report["layers"].as_array().unwrap();
    assert!(!layers.is_empty());
    for layer in layers {
        let name = layer["name"].as_str().unwrap();
        assert!(name.starts_with("language_model."), "{name}");
    }
    // A recipe that names them gets them.
    bench.write(
        "r.toml",
        "[[layers]]\nmatch = \"multi_modal_projector.*\"\nmethod = \"rtn\"\nbits = 8\n",
    );
    let words = [
        "quantize",
        "m",
        "-r",
        "r.toml",
        "--no-eval",
        "-o",
        "named",
        "--json",
    ];
    let ended = bench.quench(&words);
    ended.says(0, &[]);
    assert_eq!(ended.json()["layers"].as_array().unwrap().len(), 2);
}
