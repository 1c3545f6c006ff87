//! Variants of the architectures on tiny random checkpoints made by `tests/golden/make_tiny_models.py`.
//!
//! 1e-5 relative L2 per tensor: f32 in another order of summation, and nothing else; 1e-4 for squared gradients of
//! the whole model.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::cast_possible_truncation,
    reason = "the functions the tests share fail as the tests do, and say how far off they are"
)]

#[path = "models/compare.rs"]
mod compare;

use burn::tensor::{Device, Tensor, TensorData};
use calib::running::error::CollectError;
use calib::running::fisher::{FisherOptions, Sequence, walk_backward};
use calib::running::measured::{Entry, Wants};
use calib::{
    ARCHITECTURES, Checkpoint, Forward, Hidden, LoadReport, Model, ModelOutput, NoTap, Tap, Tape,
};
use compare::{Deviations, Expected, open, outputs, tokens};
use quantizers::statistics::FISHER;
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

const LIMIT: f64 = 1e-5;
const FISHER_LIMIT: f64 = 1e-4;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/models")
        .join(name)
}

fn input(expected: &Expected, device: &Device) -> Hidden {
    if expected.has("input_ids") {
        return tokens(&expected.rows("input_ids"), device);
    }
    let data = TensorData::new(expected.floats("pixels"), expected.shape("pixels"));
    Hidden::Pixels(Tensor::from_data(data, device))
}

/// Everything a checkpoint must satisfy.
fn check(name: &str) {
    let (checkpoint, model) = open(&folder(name), None);
    if model.joint().is_some() {
        return;
    }
    let unused = UNUSED.iter().find(|(model, _)| *model == name);
    let unused = unused.map_or(&[][..], |(_, tensors)| tensors);
    let expected = Expected::open(&folder(name).join("expected.safetensors"));
    let report = LoadReport::new(model.as_ref(), &checkpoint);
    assert!(report.missing.is_empty(), "{:?}", report.missing);
    match model.within() {
        None => assert_eq!(report.unused, unused),
        // The other parts of the larger model, and nothing of this one.
        Some(within) => {
            let expected = WITHIN.iter().find(|(model, ..)| *model == name).unwrap();
            let found = (name, within.model_type.as_str(), within.prefix.as_str());
            assert_eq!(found, *expected);
            let mut of_others = report.unused.iter();
            assert!(!report.unused.is_empty());
            assert!(of_others.all(|tensor| !tensor.starts_with(&within.prefix)));
        }
    }
    for device in [Device::flex(), Device::flex().autodiff()] {
        check_outputs(name, model.as_ref(), &checkpoint, &expected, &device);
    }
    check_points(model.as_ref(), &checkpoint, &expected);
    check_gradient(name, model.as_ref(), &checkpoint, &expected);
    check_fisher(name, model.as_ref(), &checkpoint, &expected);
}

fn check_outputs(
    name: &str,
    model: &dyn Model,
    checkpoint: &Checkpoint,
    expected: &Expected,
    device: &Device,
) {
    let mut deviations = Deviations::new(name, LIMIT);
    let found = outputs(model, checkpoint, input(expected, device), device);
    for (k, states) in found.iter().enumerate() {
        let name = format!("hidden.{k}");
        if expected.has(&name) {
            deviations.check(&name, states, &expected.floats(&name));
        }
    }
    deviations.check(
        "output",
        &found[found.len() - 1],
        &expected.floats("output"),
    );
    eprintln!(
        "{name}: worst {:e} at {}",
        deviations.worst.0, deviations.worst.1
    );
    if model.output() == ModelOutput::TokenLogits {
        check_head_by_position(model, checkpoint, expected, device);
    }
}

/// A decoder's head gives the same logits for part of the positions as for all of them.
fn check_head_by_position(
    model: &dyn Model,
    checkpoint: &Checkpoint,
    expected: &Expected,
    device: &Device,
) {
    let last = model.stages() - 1;
    let head = model.build(last, checkpoint, device).unwrap();
    let name = format!("hidden.{}", last - 1);
    let states = TensorData::new(expected.floats(&name), expected.shape(&name));
    let states = Tensor::<3>::from_data(states, device);
    let logits = |states: Tensor<3>| match head.forward(Hidden::States(states), &mut NoTap) {
        Ok(Hidden::States(logits)) => logits,
        other => panic!("{other:?}"),
    };
    let part = logits(states.clone().narrow(1, 5, 4)).into_data();
    let whole = logits(states).narrow(1, 5, 4).into_data();
    let (part, whole) = (
        part.try_to_vec::<f32>().unwrap(),
        whole.try_to_vec::<f32>().unwrap(),
    );
    Deviations::new(&name, 1e-6).check("part of the logits", &part, &whole);
}

/// Counts looks and notes widths.
#[derive(Default)]
struct Looks(BTreeMap<String, (usize, usize)>);

impl Tap for Looks {
    fn observe(&mut self, point: &str, input: &Tensor<3>) {
        let seen = self.0.entry(point.to_owned()).or_default();
        *seen = (seen.0 + 1, input.dims()[2]);
    }
}

fn check_points(model: &dyn Model, checkpoint: &Checkpoint, expected: &Expected) {
    let device = Device::flex();
    let mut hidden = input(expected, &device);
    let mut seen = Looks::default();
    for stage in 0..model.stages() {
        let built = model.build(stage, checkpoint, &device).unwrap();
        hidden = built.forward(hidden, &mut seen).unwrap();
    }
    let points = (0..model.stages()).flat_map(|stage| model.points(stage));
    let mut wanted = BTreeMap::<String, (usize, usize)>::new();
    for point in points {
        // Blocks that share their weights have the same points.
        wanted.entry(point.name).or_insert((0, point.width)).0 += 1;
    }
    for layer in model.layers() {
        let inputs = wanted[&layer.input_point];
        let outputs = wanted[&format!("{}:out", layer.name)];
        assert_eq!((inputs.1, outputs.1), (layer.cols, layer.rows));
    }
    assert_eq!(seen.0, wanted);
}

/// The gradient of half the squared norm of the first block's output.
fn check_gradient(name: &str, model: &dyn Model, checkpoint: &Checkpoint, expected: &Expected) {
    let device = Device::flex();
    let states = TensorData::new(expected.floats("hidden.0"), expected.shape("hidden.0"));
    let states = Tensor::from_data(states, &device);
    let block = model
        .build(1, checkpoint, &device.clone().autodiff())
        .unwrap();
    let (tape, output) = Tape::record(block.as_ref(), [], states).unwrap();
    let found = tape.back(output).input_gradient.into_data();
    let found = found.try_to_vec::<f32>().unwrap();
    let mut deviations = Deviations::new(name, LIMIT);
    deviations.check("gradient.input", &found, &expected.floats("gradient.input"));
}

/// The Fisher of every layer inside the blocks: its sums along rows and along columns are those of autograd.
fn check_fisher(name: &str, model: &dyn Model, checkpoint: &Checkpoint, expected: &Expected) {
    let device = Device::flex();
    let mut wants = Wants::default();
    let layers: Vec<_> = model.layers().iter().filter(|l| l.in_block).collect();
    for layer in &layers {
        wants.layer(layer, &FISHER);
    }
    let scratch = tempfile::tempdir().unwrap();
    let options = FisherOptions {
        wants,
        seed: 0,
        memory_bytes: u64::MAX,
        tape_bytes: u64::MAX,
        scratch: scratch.path().to_owned(),
    };
    let mut found = BTreeMap::new();
    walk_backward::<CollectError>(
        &Forward::new(model, checkpoint, device.clone()),
        &sequences(expected, &device),
        &options,
        &mut |_, statistics| {
            for (_, entries) in statistics.iter().filter(|(s, _)| s.name == FISHER.name) {
                found.extend(entries.clone());
            }
            Ok(())
        },
        &mut |_, _| {},
    )
    .unwrap();
    let mut deviations = Deviations::new(name, FISHER_LIMIT);
    for layer in layers {
        let Entry { shape, values } = &found[&layer.name];
        let mut sums = vec![0.0_f64; shape[0] + shape[1]];
        for (row, values) in values.chunks_exact(shape[1]).enumerate() {
            for (column, &value) in values.iter().enumerate() {
                sums[row] += f64::from(value);
                sums[shape[0] + column] += f64::from(value);
            }
        }
        let sums: Vec<f32> = sums.into_iter().map(|sum| sum as f32).collect();
        let name = format!("fisher.{}", layer.weight_name());
        deviations.check(&name, &sums, &expected.floats(&name));
    }
    eprintln!(
        "{name}: worst {:e} at {}",
        deviations.worst.0, deviations.worst.1
    );
}

/// The inputs one by one.
fn sequences(expected: &Expected, device: &Device) -> Vec<Sequence> {
    if expected.has("input_ids") {
        let rows = expected.rows("input_ids");
        let sequences = rows.into_iter().map(|row| Sequence {
            tokens: row.iter().map(|&id| u32::try_from(id).unwrap()).collect(),
            input: tokens(&[row], device),
        });
        return sequences.collect();
    }
    let (values, mut shape) = (expected.floats("pixels"), expected.shape("pixels"));
    let images = std::mem::replace(&mut shape[0], 1);
    let images = values.chunks_exact(values.len() / images);
    let sequences = images.map(|image| Sequence {
        input: Hidden::Pixels(Tensor::from_data(
            TensorData::new(image.to_vec(), shape.clone()),
            device,
        )),
        tokens: Vec::new(),
    });
    sequences.collect()
}

/// Each tower of a model of two, and what its embeddings come to.
#[test]
fn models_of_two_towers() {
    for (name, unused) in [
        ("clip", &["logit_scale"][..]),
        ("siglip", &["logit_bias", "logit_scale"]),
    ] {
        let expected = Expected::open(&folder(name).join("expected.safetensors"));
        let (checkpoint, model) = open(&folder(name), None);
        assert_eq!(LoadReport::new(model.as_ref(), &checkpoint).unused, unused);
        let device = Device::flex();
        let data = TensorData::new(expected.floats("pixels"), expected.shape("pixels"));
        let pixels = Hidden::Pixels(Tensor::from_data(data, &device));
        let texts = tokens(&expected.rows("input_ids"), &device);
        let mut deviations = Deviations::new(name, LIMIT);
        for (key, input) in [("image_embeds", pixels), ("text_embeds", texts)] {
            let found = embedded(model.as_ref(), &checkpoint, input);
            let width = expected.shape(key)[1];
            let unit: Vec<f32> = found.chunks(width).flat_map(of_unit_length).collect();
            deviations.check(key, &unit, &expected.floats(key));
        }
        let joint = model.joint().unwrap();
        assert_eq!(model.stage_name(joint.first_of_text), "text embedding");
        assert_eq!(joint.longest, 16);
    }
}

fn of_unit_length(row: &[f32]) -> Vec<f32> {
    let norm = row.iter().map(|value| value * value).sum::<f32>().sqrt();
    row.iter().map(|value| value / norm).collect()
}

fn embedded(model: &dyn Model, checkpoint: &Checkpoint, input: Hidden) -> Vec<f32> {
    let device = Device::flex();
    let mut hidden = input;
    for stage in 0..model.stages() {
        let built = model.build(stage, checkpoint, &device).unwrap();
        hidden = built.forward(hidden, &mut NoTap).unwrap();
    }
    let states = hidden.into_states(|| "result".to_owned()).unwrap();
    states.into_data().try_to_vec::<f32>().unwrap()
}

/// What `SiglipForImageClassification` does not read.
const SIGLIP_HEAD: [&str; 11] = [
    "vision_model.head.attention.in_proj_bias",
    "vision_model.head.attention.in_proj_weight",
    "vision_model.head.attention.out_proj.bias",
    "vision_model.head.attention.out_proj.weight",
    "vision_model.head.layernorm.bias",
    "vision_model.head.layernorm.weight",
    "vision_model.head.mlp.fc1.bias",
    "vision_model.head.mlp.fc1.weight",
    "vision_model.head.mlp.fc2.bias",
    "vision_model.head.mlp.fc2.weight",
    "vision_model.head.probe",
];

/// Tensors that no stage reads; of every other model all are read.
const UNUSED: &[(&str, &[&str])] = &[
    (
        "bert-prefixed-greek",
        &["bert.pooler.dense.bias", "bert.pooler.dense.weight"],
    ),
    ("xlm-roberta", &["pooler.dense.bias", "pooler.dense.weight"]),
    ("vit-model", &["pooler.dense.bias", "pooler.dense.weight"]),
    ("dinov2", &["dinov2.embeddings.mask_token"]),
    ("dinov2-gated", &["embeddings.mask_token"]),
    (
        "dinov2-registers",
        &["dinov2_with_registers.embeddings.mask_token"],
    ),
    (
        "clip-classifier",
        &[
            "vision_model.post_layernorm.bias",
            "vision_model.post_layernorm.weight",
        ],
    ),
    ("siglip-classifier", &SIGLIP_HEAD),
];

/// Models inside larger ones: the type of the larger one, and where their tensors stand.
const WITHIN: &[(&str, &str, &str)] = &[
    ("gemma3-vision", "gemma3", "model.language_model."),
    ("llava", "llava", "language_model.model."),
    ("qwen2-5-vl", "qwen2_5_vl", "model."),
    ("qwen2-audio", "qwen2_audio", "language_model.model."),
];

/// The folders of all tiny models.
fn fixtures() -> Vec<String> {
    let names = fs_err::read_dir(folder("gpt2").parent().unwrap()).unwrap();
    let mut names: Vec<String> = names
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// The layer that is shown for a family is one that checkpoints of it have.
#[test]
fn listed_names_are_those_of_checkpoints() {
    let mut layers = BTreeMap::<String, Vec<String>>::new();
    for name in fixtures() {
        let (_, model) = open(&folder(&name), None);
        let family = match model.within() {
            Some(_) => "language-tower",
            None => model.architecture(),
        };
        let numbered = model.layers().iter().map(|layer| {
            let parts = layer.name.split('.');
            let parts = parts.map(|part| part.parse::<usize>().map_or(part, |_| "N"));
            parts.collect::<Vec<_>>().join(".")
        });
        layers
            .entry(family.to_owned())
            .or_default()
            .extend(numbered);
    }
    for family in ARCHITECTURES.iter() {
        let listed = family.abilities().layer;
        let found = layers.remove(family.name());
        let found = found.unwrap_or_else(|| panic!("no fixture of `{}`", family.name()));
        // Models without a head have the names without their prefix.
        let is_listed = |name: &String| *name == listed || listed.ends_with(&format!(".{name}"));
        assert!(found.iter().any(is_listed), "{}: {listed}", family.name());
    }
    assert!(layers.is_empty(), "{:?}", layers.keys());
}

/// All of them, several at once.
#[test]
fn every_model_but_those_of_two_towers() {
    let names = fixtures();
    assert!(names.len() > 95, "{}", names.len());
    let wrong: Vec<&String> = names
        .par_iter()
        .filter(|name| catch_unwind(|| check(name)).is_err())
        .collect();
    assert!(wrong.is_empty(), "{wrong:?}; the reasons are above");
}
