//! Real checkpoints against forward passes of transformers (f32, stored per stage).
//!
//! The stored passes are themselves below 1e-6 from a float64 forward, so 1e-5 relative L2 per
//! tensor leaves room for another order of summation and for nothing else.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "the functions the tests share fail as the tests do, and say how far off they are"
)]

#[path = "models/compare.rs"]
mod compare;

use burn::tensor::{Device, Tensor, TensorData};
use calib::Hidden;
use compare::{Deviations, Expected, open, outputs, tokens};
use std::path::PathBuf;

const LIMIT: f64 = 1e-5;

fn assets() -> PathBuf {
    PathBuf::from(std::env::var("QUENCH_ASSETS").expect("QUENCH_ASSETS names the assets folder"))
}

fn expected(model: &str) -> Expected {
    Expected::open(&assets().join(format!("../reference/golden/{model}.safetensors")))
}

fn decoder(name: &str) {
    let device = Device::flex();
    let expected = expected(name);
    let ids = expected.rows("input_ids");
    let mut deviations = Deviations::new(name, LIMIT);
    let (checkpoint, model) = open(&assets().join(name), None);
    let found = outputs(model.as_ref(), &checkpoint, tokens(&ids, &device), &device);
    let (logits, hidden) = found.split_last().unwrap();
    for (k, states) in hidden.iter().enumerate() {
        deviations.check(
            &format!("hidden.{k}"),
            states,
            &expected.floats(&format!("hidden.{k}")),
        );
    }
    deviations.check("logits", logits, &expected.floats("logits"));
    let (checkpoint, model) = open(&assets().join(name), Some("LlamaModel"));
    let found = outputs(model.as_ref(), &checkpoint, tokens(&ids, &device), &device);
    deviations.check(
        "hidden.norm",
        &found[found.len() - 1],
        &expected.floats("hidden.norm"),
    );
    eprintln!(
        "{name}: worst {:e} at {}",
        deviations.worst.0, deviations.worst.1
    );
}

#[test]
#[ignore = "needs QUENCH_ASSETS"]
fn stories260k() {
    decoder("stories260k");
}

#[test]
#[ignore = "needs QUENCH_ASSETS"]
fn wiki_llama() {
    decoder("wiki-llama-1.4m");
}

/// Rows run alone and unpadded; the stored batch is padded, so compare where its mask is 1.
fn encoder(name: &str) {
    let device = Device::flex();
    let expected = expected(name);
    let (ids, mask) = (expected.rows("input_ids"), expected.rows("attention_mask"));
    let mut deviations = Deviations::new(name, LIMIT);
    let (checkpoint, model) = open(&assets().join(name), None);
    let classifies = expected.has("logits");
    let mut found: Vec<Vec<f32>> = vec![Vec::new(); model.stages()];
    for (row, mask) in ids.iter().zip(&mask) {
        let length = mask.iter().filter(|m| **m == 1).count();
        let input = tokens(&[row[..length].to_vec()], &device);
        for (all, one) in found
            .iter_mut()
            .zip(outputs(model.as_ref(), &checkpoint, input, &device))
        {
            all.extend(one);
        }
    }
    let unpadded = |name: &str| -> Vec<f32> {
        let width = expected.shape(name)[2];
        let flat: Vec<i64> = mask.concat();
        let values = expected.floats(name);
        let rows = values.chunks(width).zip(flat).filter(|(_, m)| *m == 1);
        rows.flat_map(|(row, _)| row.to_vec()).collect()
    };
    if classifies {
        let logits = found.pop().unwrap();
        deviations.check("logits", &logits, &expected.floats("logits"));
    }
    for (k, states) in found.iter().enumerate() {
        let name = format!("hidden.{k}");
        deviations.check(&name, states, &unpadded(&name));
    }
    deviations.check(
        "last_hidden_state",
        &found[found.len() - 1],
        &unpadded("last_hidden_state"),
    );
    eprintln!(
        "{name}: worst {:e} at {}",
        deviations.worst.0, deviations.worst.1
    );
}

#[test]
#[ignore = "needs QUENCH_ASSETS"]
fn minilm() {
    encoder("minilm-l6-v2");
}

#[test]
#[ignore = "needs QUENCH_ASSETS"]
fn minilm_sst2() {
    encoder("minilm-sst2");
}

#[test]
#[ignore = "needs QUENCH_ASSETS"]
fn vit_cifar10() {
    let name = "vit-cifar10";
    let device = Device::flex();
    let expected = expected(name);
    let shape = expected.shape("images");
    let [batch, height, width, channels] = shape[..] else {
        panic!("{shape:?}")
    };
    let pixels: Vec<f32> = expected
        .0
        .bytes("images")
        .unwrap()
        .iter()
        .map(|x| (f32::from(*x) / 255.0 - 0.5) / 0.5)
        .collect();
    let data = TensorData::new(pixels, [batch, height, width, channels]);
    let images = Tensor::<4>::from_data(data, &device).permute([0, 3, 1, 2]);
    let mut deviations = Deviations::new(name, LIMIT);
    let input = Hidden::Pixels(images);
    let (checkpoint, model) = open(&assets().join(name), None);
    let found = outputs(model.as_ref(), &checkpoint, input.clone(), &device);
    let (logits, hidden) = found.split_last().unwrap();
    for (k, states) in hidden.iter().enumerate() {
        deviations.check(
            &format!("hidden.{k}"),
            states,
            &expected.floats(&format!("hidden.{k}")),
        );
    }
    deviations.check("logits", logits, &expected.floats("logits"));
    let (checkpoint, model) = open(&assets().join(name), Some("ViTModel"));
    let found = outputs(model.as_ref(), &checkpoint, input, &device);
    deviations.check(
        "hidden.norm",
        &found[found.len() - 1],
        &expected.floats("hidden.norm"),
    );
    eprintln!(
        "{name}: worst {:e} at {}",
        deviations.worst.0, deviations.worst.1
    );
}
