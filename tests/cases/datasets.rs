//! Classifiers with what they read, made for the cases.

use crate::workbench::{Workbench, edit_json};
use image::{Rgb, RgbImage};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// A tokenizer of `words` words `w4`, `w5` and so on, and four special tokens.
pub(crate) fn write_tokenizer(folder: &Path, words: usize) {
    let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"];
    let all = special
        .iter()
        .map(|&word| word.to_owned())
        .chain((4..words + 4).map(|id| format!("w{id}")));
    let vocabulary: serde_json::Map<String, Value> = all
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
    let around =
        json!([token("[CLS]"), { "Sequence": { "id": "A", "type_id": 0 } }, token("[SEP]")]);
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added,
        "normalizer": null, "pre_tokenizer": { "type": "WhitespaceSplit" }, "decoder": null,
        "post_processor": {
            "type": "TemplateProcessing", "single": around, "pair": around,
            "special_tokens": {
                "[CLS]": { "id": "[CLS]", "ids": [2], "tokens": ["[CLS]"] },
                "[SEP]": { "id": "[SEP]", "ids": [3], "tokens": ["[SEP]"] },
            },
        },
        "model": { "type": "WordLevel", "vocab": vocabulary, "unk_token": "[UNK]" },
    });
    fs_err::write(folder.join("tokenizer.json"), tokenizer.to_string()).unwrap();
}

/// A classifier of sentences into three classes.
pub(crate) fn text_classifier(bench: &Workbench, name: &str) -> PathBuf {
    let folder = bench.model("bert-classifier-relu", name);
    write_tokenizer(&folder, 92);
    folder
}

/// Rows `sentence`, `label` with the labels `classes` in turn.
pub(crate) fn sentences(count: usize, classes: &[&str]) -> String {
    let mut text = "sentence\tlabel\n".to_owned();
    for row in 0..count {
        let words: Vec<String> = (0..3 + row % 5)
            .map(|at| format!("w{}", 4 + (row * 37 + at * at * 11) % 92))
            .collect();
        let label = classes[row % classes.len()];
        writeln!(text, "{}\t{label}", words.join(" ")).unwrap();
    }
    text
}

/// A classifier of images of 16 x 16 pixels into five classes.
pub(crate) fn image_classifier(bench: &Workbench, name: &str) -> PathBuf {
    let folder = bench.model("vit-classifier-no-bias", name);
    write_processor(&folder);
    folder
}

/// How images of 16 x 16 pixels become inputs.
pub(crate) fn write_processor(folder: &Path) {
    let processor = json!({
        "image_processor_type": "ViTImageProcessor", "do_resize": false, "do_rescale": true,
        "rescale_factor": 1.0 / 255.0, "do_normalize": true,
        "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5],
    });
    let file = folder.join("preprocessor_config.json");
    fs_err::write(file, processor.to_string()).unwrap();
}

/// Sets or removes (`null`) keys of a model's configuration.
pub(crate) fn configure(model: &Path, keys: &Value) {
    edit_json(&model.join("config.json"), |config| {
        for (key, value) in keys.as_object().unwrap() {
            let object = config.as_object_mut().unwrap();
            object.remove(key);
            if !value.is_null() {
                object.insert(key.clone(), value.clone());
            }
        }
    });
}

/// Picture `index`: no two are alike, and none is what it is upside down or turned.
pub(crate) fn picture(index: u32) -> RgbImage {
    RgbImage::from_fn(16, 16, |x, y| {
        let wave = |scale: u32| u8::try_from((x * scale + y * y * (index + 2)) % 256).unwrap();
        Rgb([wave(index * 3 + 5), wave(index + 9), wave(2 * index + 1)])
    })
}

/// Three pictures in a folder for each class.
pub(crate) fn image_folders(bench: &Workbench, name: &str, classes: &[&str]) -> PathBuf {
    let mut index = 0;
    for class in classes {
        for _ in 0..3 {
            let path = bench.at(name).join(class).join(format!("{index:03}.png"));
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            picture(index).save(&path).unwrap();
            index += 1;
        }
    }
    bench.at(name)
}

/// The figure of `metric` for the model that was evaluated alone.
#[track_caller]
pub(crate) fn figure(report: &Value, metric: &str) -> f64 {
    let scores = report["scores"].as_array().unwrap();
    let found = scores.iter().find(|score| score["metric"] == metric);
    found.unwrap()["original"].as_f64().unwrap()
}
