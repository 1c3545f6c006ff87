//! Decoders going on one token at a time, and the text they write that way.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on may stop")]

use burn::tensor::{Device, Int, Tensor, TensorData};
use calib::data::{DataError, TokenSampler};
use calib::model_sampler::ModelSampler;
use calib::tokenizer::Tokenizer;
use calib::{Checkpoint, Hidden, KeyValueCache, Model, ModelOutput, NextTokens, NoTap, open_model};
use std::path::{Path, PathBuf};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures")
}

fn tiny_models() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/models")
}

fn open(folder: &Path) -> (Checkpoint, Box<dyn Model>) {
    let checkpoint = Checkpoint::open(folder).unwrap();
    let model = open_model(checkpoint.config(), &checkpoint).unwrap();
    (checkpoint, model)
}

fn ids(tokens: &[i32], device: &Device) -> Hidden {
    Hidden::Tokens(Tensor::<2, Int>::from_data(
        TensorData::new(tokens.to_vec(), [1, tokens.len()]),
        device,
    ))
}

fn values(hidden: Hidden) -> Vec<f32> {
    match hidden {
        Hidden::States(states) => states.into_data().try_to_vec::<f32>().unwrap(),
        other => panic!("expected states, found {other:?}"),
    }
}

/// Largest distance of the logits of `forward` and of `next`, relative to the largest logit.
fn deviation(folder: &Path, tokens: &[i32]) -> f32 {
    let device = Device::flex();
    let (checkpoint, model) = open(folder);
    let stages: Vec<_> = (0..model.stages())
        .map(|s| model.build(s, &checkpoint, &device).unwrap())
        .collect();
    let mut hidden = ids(tokens, &device);
    for stage in &stages {
        hidden = stage.forward(hidden, &mut NoTap).unwrap();
    }
    let whole = values(hidden);
    let mut caches: Vec<KeyValueCache> = stages.iter().map(|_| KeyValueCache::default()).collect();
    let mut stepped = Vec::new();
    for token in tokens {
        let mut next = NextTokens::Ids(vec![token.cast_unsigned()].into());
        for (stage, cache) in stages.iter().zip(&mut caches) {
            next = stage.next_of_each(next, &mut [cache], &device).unwrap();
        }
        let NextTokens::Rows(logits) = next else {
            panic!("the last stage returns logits");
        };
        stepped.extend_from_slice(&logits);
    }
    assert_eq!(whole.len(), stepped.len());
    let largest = whole.iter().fold(0.0_f32, |top, x| top.max(x.abs()));
    let distance = whole
        .iter()
        .zip(&stepped)
        .fold(0.0_f32, |top, (a, b)| top.max((a - b).abs()));
    distance / largest
}

fn sample(count: usize, length: usize, seed: u64) -> Vec<Vec<u32>> {
    let (checkpoint, model) = open(&fixtures().join("wiki-llama-1.4m"));
    let mut sampler = ModelSampler::new(
        model.as_ref(),
        &checkpoint,
        Device::flex(),
        Some(0),
        vec![0],
    );
    sampler.sample(count, length, seed).unwrap()
}

#[test]
fn a_llama_goes_on_as_it_runs() {
    let tokens: Vec<i32> = (0..40).map(|i| i * 37 % 2048).collect();
    let found = deviation(&fixtures().join("wiki-llama-1.4m"), &tokens);
    assert!(found < 1e-5, "{found}");
}

#[test]
fn samples_are_fixed_by_their_seed_whatever_the_threads() {
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| sample(20, 24, 7))
    };
    let one = on(1);
    assert_eq!(one, on(4));
    assert!(
        one.iter()
            .all(|sequence| sequence.len() == 24 && sequence[0] == 0)
    );
    // A sequence depends on its own number alone.
    assert_eq!(one[..3], sample(3, 24, 7)[..]);
    assert_ne!(one[..3], sample(3, 24, 8)[..]);
}

#[test]
fn samples_are_text_the_model_finds_likely() {
    let tokenizer = Tokenizer::from_folder(&fixtures().join("wiki-llama-1.4m")).unwrap();
    let sequences = sample(16, 64, 1);
    let text: String = sequences
        .iter()
        .map(|s| tokenizer.decode(s).unwrap())
        .collect();
    // The commonest words of the language it learned.
    assert!(text.contains(" the ") && text.contains(" of "), "{text}");
}

#[test]
fn too_long_sequences_are_refused() {
    let (checkpoint, model) = open(&fixtures().join("wiki-llama-1.4m"));
    let mut sampler = ModelSampler::new(
        model.as_ref(),
        &checkpoint,
        Device::flex(),
        Some(0),
        vec![0],
    );
    assert!(matches!(
        sampler.sample(1, 257, 0),
        Err(DataError::Stage(_))
    ));
}

#[test]
fn every_decoder_goes_on_as_it_runs() {
    // Windows, fused projections, learned positions, head norms, biases.
    let mut names: Vec<_> = fs_err::read_dir(tiny_models())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    names.sort();
    let mut checked = 0;
    for folder in names {
        let (_, model) = open(&folder);
        if model.output() != ModelOutput::TokenLogits {
            continue;
        }
        let vocabulary = i32::try_from(model.vocabulary().unwrap()).unwrap();
        let tokens: Vec<i32> = (0..14).map(|i| (i * 7 + 3) % vocabulary).collect();
        let found = deviation(&folder, &tokens);
        assert!(found < 1e-5, "{}: {found}", folder.display());
        checked += 1;
    }
    assert!(checked >= 40, "{checked} decoders");
}

#[test]
fn encoders_are_refused_with_a_hint() {
    let (checkpoint, model) = open(&tiny_models().join("bert-classifier-relu"));
    let mut sampler = ModelSampler::new(model.as_ref(), &checkpoint, Device::flex(), None, vec![]);
    let error = sampler.sample(1, 8, 0).unwrap_err();
    assert!(
        error.to_string().ends_with("and this one predicts classes"),
        "{error}"
    );
    assert!(error.hint().is_some());
}

/// Writes `tests/fixtures/text/sampled.txt`: documents the fixture model wrote, about 80 KB.
#[test]
#[ignore = "writes tests/fixtures/text"]
fn regenerate_the_fixture_text() {
    let tokenizer = Tokenizer::from_folder(&fixtures().join("wiki-llama-1.4m")).unwrap();
    let mut text = String::new();
    for sequence in sample(128, 256, 2026) {
        for document in sequence.split(|token| tokenizer.ends().contains(token)) {
            let document = tokenizer.decode(document).unwrap();
            let document = document.replace('\u{fffd}', "");
            if document.split_whitespace().count() > 8 {
                text.push_str(document.trim());
                text.push_str("\n<|endoftext|>\n");
            }
        }
    }
    fs_err::write(fixtures().join("text/sampled.txt"), text).unwrap();
}
