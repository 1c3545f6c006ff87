//! Tiny random encoders as integer programs: written, verified, evaluated, inspected.

use crate::quench;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// A tiny checkpoint in a folder of its own.
fn model(home: &Path, name: &str) -> PathBuf {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("calib/tests/fixtures/models");
    let folder = home.join("model");
    std::fs::create_dir_all(&folder).unwrap();
    for file in ["config.json", "model.safetensors"] {
        std::fs::copy(fixtures.join(name).join(file), folder.join(file)).unwrap();
    }
    folder
}

/// A tokenizer of 96 words `w4` to `w95` and four special tokens.
fn write_tokenizer(folder: &Path) {
    let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"];
    let words = special
        .iter()
        .map(|&word| word.to_owned())
        .chain((4..96).map(|id| format!("w{id}")));
    let vocabulary: serde_json::Map<String, Value> = words
        .enumerate()
        .map(|(id, word)| (word, json!(id)))
        .collect();
    let added: Vec<Value> = special
        .iter()
        .enumerate()
        .map(|(id, word)| {
            json!({ "id": id, "content": word, "single_word": false, "lstrip": false, "rstrip": false,
                    "normalized": false, "special": true })
        })
        .collect();
    let token = |name: &str| json!({ "SpecialToken": { "id": name, "type_id": 0 } });
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added,
        "normalizer": null, "pre_tokenizer": { "type": "Whitespace" }, "decoder": null,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [token("[CLS]"), { "Sequence": { "id": "A", "type_id": 0 } }, token("[SEP]")],
            "pair": [token("[CLS]"), { "Sequence": { "id": "A", "type_id": 0 } }, token("[SEP]")],
            "special_tokens": {
                "[CLS]": { "id": "[CLS]", "ids": [2], "tokens": ["[CLS]"] },
                "[SEP]": { "id": "[SEP]", "ids": [3], "tokens": ["[SEP]"] },
            },
        },
        "model": { "type": "WordLevel", "vocab": vocabulary, "unk_token": "[UNK]" },
    });
    std::fs::write(folder.join("tokenizer.json"), tokenizer.to_string()).unwrap();
}

/// Sentences of words of the vocabulary, with labels.
fn write_sentences(path: &Path, count: usize) {
    let mut text = "sentence\tlabel\n".to_owned();
    for row in 0..count {
        let words: Vec<String> = (0..3 + row % 9)
            .map(|at| format!("w{}", 4 + (row * 37 + at * at * 11) % 92))
            .collect();
        writeln!(text, "{}\t{}", words.join(" "), row % 3).unwrap();
    }
    std::fs::write(path, text).unwrap();
}

/// Smooth images with labels, and the processor of the model.
fn write_images(folder: &Path, path: &Path, count: usize) {
    let pixel = |at: usize| {
        let (image, place) = (at / 768, at % 768);
        let wave = (place / 48) * (image % 7 + 1) + (place % 48) * (image % 5 + 2);
        u8::try_from(wave * 3 % 256).unwrap()
    };
    let images: Vec<u8> = (0..count * 768).map(pixel).collect();
    let labels: Vec<u8> = (0..count).map(|at| u8::try_from(at % 5).unwrap()).collect();
    let tensors = [
        (
            "images",
            TensorView::new(Dtype::U8, vec![count, 16, 16, 3], &images).unwrap(),
        ),
        (
            "labels",
            TensorView::new(Dtype::U8, vec![count], &labels).unwrap(),
        ),
    ];
    std::fs::write(path, safetensors::serialize(tensors, None).unwrap()).unwrap();
    let processor = json!({
        "image_processor_type": "ViTImageProcessor", "do_resize": false, "do_rescale": true,
        "rescale_factor": 1.0 / 255.0, "do_normalize": true,
        "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5],
    });
    std::fs::write(
        folder.join("preprocessor_config.json"),
        processor.to_string(),
    )
    .unwrap();
}

/// Every file of a folder but the reports.
fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            (name, std::fs::read(entry.path()).unwrap())
        })
        .filter(|(name, _)| !name.starts_with("report."))
        .collect()
}

fn score(report: &Value, metric: &str) -> f64 {
    let scores = report["scores"].as_array().unwrap();
    let found = scores.iter().find(|score| score["metric"] == metric);
    found.unwrap()["quantized"].as_f64().unwrap()
}

/// No float but the scales of layers.
fn assert_integers(files: &BTreeMap<String, Vec<u8>>) {
    let tensors = SafeTensors::deserialize(&files["model.safetensors"]).unwrap();
    let floats: Vec<String> = tensors
        .tensors()
        .into_iter()
        .filter(|(_, view)| [Dtype::F32, Dtype::F16, Dtype::BF16].contains(&view.dtype()))
        .map(|(name, _)| name)
        .filter(|name| !name.ends_with(".weight_scale"))
        .collect();
    assert!(floats.is_empty(), "{floats:?}");
    assert!(files.contains_key("integer_program.json"));
}

/// Ranges of synthetic data over ranges of the calibration data, in order.
fn assert_ratios(synthetic: &Value) {
    let number = |value: &Value| value.as_f64().unwrap();
    let ratios = [
        number(&synthetic["narrowest"]["ratio"]),
        number(&synthetic["p10"]),
        number(&synthetic["median_ratio"]),
        number(&synthetic["p90"]),
        number(&synthetic["widest"]["ratio"]),
    ];
    assert!(ratios[0] > 0.0 && ratios[4].is_finite(), "{ratios:?}");
    assert!(ratios.is_sorted(), "{ratios:?}");
    for end in ["narrowest", "widest"] {
        assert!(!synthetic[end]["point"].as_str().unwrap().is_empty());
    }
}

#[test]
fn a_text_classifier_becomes_a_program_of_integers() {
    let home = tempfile::tempdir().unwrap();
    let here = home.path();
    let folder = model(here, "bert-classifier-relu");
    write_tokenizer(&folder);
    write_sentences(&here.join("calib.tsv"), 48);
    write_sentences(&here.join("dev.tsv"), 60);
    let words = |threads: &'static str, out: &'static str| {
        vec![
            "quantize",
            "model",
            "--calib",
            "calib.tsv#sentence",
            "--eval-data",
            "dev.tsv",
            "--threads",
            threads,
            "-o",
            out,
            "--json",
        ]
    };
    let report: Value = serde_json::from_str(&quench(here, &words("1", "one"))).unwrap();
    assert_eq!(
        report["recipe"]["name"], "int8-integer-only-calib-calib",
        "the default of encoders, on data of its own"
    );
    // Weights, activations and every function between them cost little even on random weights.
    assert!(score(&report, "kl_divergence") < 0.05, "{report:#}");
    assert!(score(&report, "top1_agreement") > 0.9);
    let slots = report["nonlinear"].as_array().unwrap();
    let of = |function: &str| {
        slots
            .iter()
            .filter(|slot| slot["function"] == function)
            .count()
    };
    assert_eq!((of("softmax"), of("layernorm"), of("relu")), (2, 5, 2));
    assert!(slots.iter().all(|slot| {
        let candidates = slot["candidates"].as_array().unwrap();
        // ReLU has no approximation but the exact one.
        (candidates.len() > 1) == (slot["function"] != "relu")
            && candidates.iter().any(|c| c["name"] == slot["chosen"])
    }));
    assert_eq!(report["layers"].as_array().unwrap().len(), 2 * 6 + 2);
    let calibration = &report["calibration"];
    assert_eq!(calibration["data"], "calib.tsv#sentence");
    assert_eq!(calibration["samples"], 48);
    assert_ratios(&calibration["synthetic"]);

    let files = contents(&here.join("one"));
    assert_integers(&files);
    let kept = std::fs::read_dir(here.join("cache")).map_or(0, Iterator::count);
    assert_eq!(kept, 0, "statistics stay only when they are asked for");
    quench(here, &words("2", "two"));
    assert!(
        files == contents(&here.join("two")),
        "threads changed the files"
    );

    let again: Value = serde_json::from_str(&quench(
        here,
        &["eval", "one", "--eval-data", "dev.tsv", "--json"],
    ))
    .unwrap();
    for (again, report) in again["scores"]
        .as_array()
        .unwrap()
        .iter()
        .zip(report["scores"].as_array().unwrap())
    {
        assert_eq!(again["quantized"], report["quantized"]);
    }
    let inspected: Value =
        serde_json::from_str(&quench(here, &["inspect", "one", "--json"])).unwrap();
    let operations = inspected["integer_program"]["operations"]
        .as_array()
        .unwrap();
    assert!(
        operations
            .iter()
            .all(|operation| operation["bits"].as_u64().unwrap() <= 32)
    );
    quench(here, &["report", "one"]);
    let page = std::fs::read_to_string(here.join("one/report.md")).unwrap();
    assert!(page.contains("## Nonlinear slots"), "{page}");
    assert!(
        page.contains("## Synthetic data beside `calib.tsv#sentence`"),
        "{page}"
    );
}

#[test]
fn a_vision_transformer_becomes_a_program_without_any_data() {
    let home = tempfile::tempdir().unwrap();
    let here = home.path();
    let folder = model(here, "vit-classifier-no-bias");
    write_images(&folder, &here.join("dev.safetensors"), 40);
    let report: Value = serde_json::from_str(&quench(
        here,
        &[
            "quantize",
            "model",
            "--samples",
            "24",
            "--eval-data",
            "dev.safetensors",
            "-o",
            "out",
            "--json",
        ],
    ))
    .unwrap();
    assert!(score(&report, "kl_divergence") < 0.05, "{report:#}");
    // Patches, two blocks, the classifier.
    assert_eq!(report["layers"].as_array().unwrap().len(), 1 + 2 * 6 + 1);
    assert_integers(&contents(&here.join("out")));
    let slots = report["nonlinear"].as_array().unwrap();
    assert!(slots.iter().any(|slot| slot["function"] == "gelu"));
    assert_eq!(
        report["calibration"],
        json!({ "data": "synthetic", "samples": 24 }),
        "nothing to compare with"
    );
    let warnings = report["warnings"].as_array().unwrap();
    let made_up = |warning: &&Value| warning.as_str().unwrap().contains("made-up data");
    assert_eq!(warnings.iter().filter(made_up).count(), 1, "{warnings:?}");

    write_images(&folder, &here.join("calib.safetensors"), 9);
    let report: Value = serde_json::from_str(&quench(
        here,
        &[
            "quantize",
            "model",
            "--calib",
            "calib.safetensors",
            "-o",
            "of-images",
            "--json",
        ],
    ))
    .unwrap();
    assert_eq!(report["calibration"]["data"], "calib.safetensors");
    assert_eq!(report["calibration"]["synthetic"]["samples"], 9);
    assert_ratios(&report["calibration"]["synthetic"]);
}
