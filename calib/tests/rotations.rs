//! Rotations folded into every decoder that takes them: logits stay what they were.
//!
//! 1e-4 relative L2: rotated weights are rounded to f32 once or twice, and f32 sums go another way.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on may stop")]

#[path = "models/checkpoints.rs"]
mod checkpoints;

use burn::tensor::{Device, Int, Tensor, TensorData};
use calib::artifact::Artifact;
use calib::{Hidden, Model, ModelOutput, NoTap, WeightSource, open_model};
use checkpoints::{fixture, open};
use quantizers::graph::NormKind;
use quantizers::transforms::{CheckpointRewrite, TransformError, find};
use std::collections::BTreeMap;

const LIMIT: f64 = 1e-4;

fn fixtures() -> Vec<String> {
    let folder = fixture("gpt2").parent().unwrap().to_owned();
    let entries = std::fs::read_dir(folder).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

fn rewrite(
    model: &dyn Model,
    parameters: &str,
    seed: u64,
) -> Result<CheckpointRewrite, TransformError> {
    let rotate = find("rotate").unwrap();
    let configured = rotate.configure(&parameters.parse().unwrap()).unwrap();
    let found = configured.rewrite(model.graph(), seed)?;
    Ok(found.expect("a transform of the whole checkpoint"))
}

/// The fixture `name` with `rewrite`, and the model its config.json describes then.
fn rewritten(name: &str, rewrite: &CheckpointRewrite) -> (Artifact, Box<dyn Model>) {
    let artifact = Artifact::open(fixture(name)).unwrap();
    let artifact = artifact.rewritten(rewrite, &BTreeMap::new()).unwrap();
    let config = artifact.reader().config().clone().into();
    let model = open_model(&config, &artifact).unwrap();
    (artifact, model)
}

/// Values of the hidden states behind the first stage, and of the logits.
fn run(model: &dyn Model, source: &dyn WeightSource) -> [Vec<f32>; 2] {
    let device = Device::flex();
    let vocabulary = i32::try_from(model.vocabulary().unwrap()).unwrap();
    let tokens = model.max_positions().unwrap_or(20).min(20);
    let ids: Vec<i32> = (0..i32::try_from(2 * tokens).unwrap())
        .map(|i| (i * 31 + 5) % vocabulary)
        .collect();
    let data = TensorData::new(ids, [2, tokens]);
    let mut states = Hidden::Tokens(Tensor::<2, Int>::from_data(data, &device));
    let mut seen = Vec::new();
    for stage in 0..model.stages() {
        let built = model.build(stage, source, &device).unwrap();
        states = built.forward(states, &mut NoTap).unwrap();
        let Hidden::States(values) = &states else {
            panic!("a decoder passes states on");
        };
        seen.push(values.clone().into_data().try_to_vec::<f32>().unwrap());
    }
    [seen.remove(0), seen.pop().unwrap()]
}

fn distance(found: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let (mut distance, mut norm) = (0.0, 0.0);
    for (a, b) in found.iter().zip(expected) {
        distance += f64::from(a - b).powi(2);
        norm += f64::from(*b).powi(2);
    }
    (distance / norm).sqrt()
}

/// Whether its states are those of a decoder with RMS norms.
fn has_rms_norms(model: &dyn Model) -> bool {
    let mut blocks = model.graph().blocks();
    blocks.any(|block| {
        let norms = [&block.attention_norm, &block.mlp_norm];
        let mut norms = norms.into_iter().flatten();
        norms.any(|norm| norm.kind == NormKind::Rms)
    })
}

#[test]
fn logits_stay_what_they_were_on_every_decoder_that_takes_rotations() {
    let mut taken = 0;
    for name in fixtures() {
        let (checkpoint, model) = open(&fixture(&name));
        let Ok(hadamard) = rewrite(model.as_ref(), "", 7) else {
            continue;
        };
        taken += 1;
        assert!(has_rms_norms(model.as_ref()), "{name}");
        let [before, expected] = run(model.as_ref(), &checkpoint);
        let (artifact, rotated) = rewritten(&name, &hadamard);
        let [turned, found] = run(rotated.as_ref(), &artifact);
        assert!(
            distance(&turned, &before) > 0.1,
            "{name}: the stream is as it was"
        );
        let change = distance(&found, &expected);
        assert!(change < LIMIT, "{name}: {change:e}");
        // Every norm that reads the stream multiplies with one.
        for tensor in &hadamard.tensors {
            let read = artifact.tensor(&tensor.name).unwrap();
            assert_eq!(read.shape, tensor.shape, "{name}: {}", tensor.name);
            for factors in &tensor.reads {
                let neutral = artifact.tensor(factors).unwrap().data;
                let is_all = |neutral_value: f32| {
                    let mut bits = neutral.iter().map(|value| value.to_bits());
                    bits.all(|bits| bits == neutral_value.to_bits())
                };
                assert!(is_all(0.0) || is_all(1.0), "{name}: {factors}");
            }
        }
        if let Ok(none) = rewrite(model.as_ref(), "rotation = \"none\"", 7) {
            let (artifact, folded) = rewritten(&name, &none);
            let [stream, found] = run(folded.as_ref(), &artifact);
            assert!(
                distance(&stream, &before) < 1e-7,
                "{name}: the stream is another"
            );
            let change = distance(&found, &expected);
            assert!(change < LIMIT, "{name}: {change:e}");
        }
    }
    assert!(taken > 25, "{taken}");
}

#[test]
fn the_same_seed_gives_the_same_values_and_another_one_others() {
    let (_, model) = open(&fixture("qwen3-head-norms"));
    let layer = model.layers()[0].weight_name();
    let values = |seed| {
        let found = rewrite(model.as_ref(), "", seed).unwrap();
        let (artifact, _) = rewritten("qwen3-head-norms", &found);
        artifact.tensor(&layer).unwrap().data.into_owned()
    };
    assert_eq!(values(1), values(1));
    assert!(distance(&values(1), &values(2)) > 0.1);
}

#[test]
fn heads_can_be_left_alone() {
    let (_, model) = open(&fixture("qwen3-head-norms"));
    let count = |parameters| {
        let found = rewrite(model.as_ref(), parameters, 1).unwrap();
        let (artifact, _) = rewritten("qwen3-head-norms", &found);
        let layers = model.layers().iter();
        let values: Vec<Vec<f32>> = layers
            .map(|layer| {
                artifact
                    .tensor(&layer.weight_name())
                    .unwrap()
                    .data
                    .into_owned()
            })
            .collect();
        values
    };
    let (with, without) = (count(""), count("heads = false"));
    for (layer, (a, b)) in model.layers().iter().zip(with.iter().zip(&without)) {
        let rotates = ["v_proj", "o_proj"]
            .iter()
            .any(|end| layer.name.ends_with(end));
        assert_eq!(distance(a, b) > 0.1, rotates, "{}", layer.name);
    }
}

#[test]
fn values_alone_can_be_rotated_in_every_decoder_with_heads() {
    let mut taken = 0;
    for name in fixtures() {
        let (checkpoint, model) = open(&fixture(&name));
        if model.vocabulary().is_none() || model.output() != ModelOutput::TokenLogits {
            continue;
        }
        let Ok(values) = rewrite(model.as_ref(), "rotation = \"v\"", 7) else {
            continue;
        };
        taken += 1;
        let [before, expected] = run(model.as_ref(), &checkpoint);
        let (artifact, rotated) = rewritten(&name, &values);
        let [stream, found] = run(rotated.as_ref(), &artifact);
        assert_eq!(stream, before, "{name}: the stream is as it was");
        assert_ne!(found, expected, "{name}");
        let change = distance(&found, &expected);
        assert!(change < LIMIT, "{name}: {change:e}");
        // Two tensors a block, and their biases.
        let blocks = model.graph().blocks().count();
        assert!(values.tensors.len() <= 3 * blocks, "{name}");
    }
    assert!(taken > 25, "{taken}");
}
