//! The published f32 figures of real checkpoints, reproduced through the public interface.

#![expect(clippy::print_stdout, reason = "figures for a reader of the test log")]

use burn::tensor::Device;
use calib::data::{Content, DataSpec, NoSampler, Request, load};
use calib::hub::{FetchOptions, Silent};
use calib::{
    Checkpoint, Forward, LayerSpec, Model, SourceError, Tensor32, WeightSource, open_model,
};
use eval::runner::Runner;
use eval::score::Score;
use eval::subject::{InputFiles, Subject};
use eval::tasks::{TASKS, TaskSpec, evaluate};
use std::path::{Path, PathBuf};

fn assets() -> PathBuf {
    std::env::var_os("QUENCH_ASSETS")
        .expect("QUENCH_ASSETS is set")
        .into()
}

fn content(name: &str) -> Content {
    let spec = DataSpec::parse(name, &assets().join("data")).expect("a path");
    let mut request = Request {
        samples: 0,
        sequence_length: 0,
        seed: 0,
        sampler: &mut NoSampler,
        hub: &FetchOptions::default(),
        progress: &Silent,
        remarks: Vec::new(),
    };
    load(&spec, &mut request).expect("readable data")
}

/// Scores of the checkpoint on its own, and against itself where `twice`.
fn scores(model: &str, spec: &TaskSpec, twice: bool) -> Vec<Score> {
    let folder = assets().join(model);
    let checkpoint = Checkpoint::open(&folder).expect("a checkpoint");
    let model = open_model(checkpoint.config(), &checkpoint).expect("a known model");
    let content = content(&spec.data);
    let scores = run(&folder, model.as_ref(), &checkpoint, spec, &content, twice);
    for score in &scores {
        println!(
            "{} {:?} {:?} {:?}",
            score.metric, score.original, score.quantized, score.ci95
        );
    }
    scores
}

fn run(
    folder: &Path,
    model: &dyn Model,
    checkpoint: &Checkpoint,
    spec: &TaskSpec,
    content: &Content,
    twice: bool,
) -> Vec<Score> {
    let forward = || -> Box<dyn Runner + '_> {
        let mut forward = Forward::new(model, checkpoint, Device::flex());
        forward.keep_resident().expect("all weights");
        Box::new(forward)
    };
    let subject = Subject {
        original: Some(forward()),
        quantized: twice.then(forward),
        inputs: InputFiles::from_folder(folder).expect("input files"),
    };
    evaluate(TASKS, &subject, spec, content, 0, &()).expect("scores")
}

fn windows(data: &str, length: usize) -> TaskSpec {
    let length = i64::try_from(length).expect("a length");
    TaskSpec::new("perplexity", data).with("sequence_length", length)
}

fn find<'a>(scores: &'a [Score], metric: &str) -> &'a Score {
    scores
        .iter()
        .find(|score| score.metric == metric)
        .expect("the metric")
}

#[test]
#[ignore = "needs QUENCH_ASSETS"]
fn perplexity_over_windows() {
    let scores = scores(
        "wiki-llama-1.4m",
        &windows("wikitext2/test-dev.txt", 256),
        false,
    );
    let perplexity = find(&scores, "perplexity");
    assert_eq!(
        (perplexity.samples, perplexity.tokens),
        (815, Some(207_825))
    );
    assert!(
        (perplexity.original.unwrap() - 47.022).abs() <= 0.005,
        "{perplexity:?}"
    );
}

#[test]
#[ignore = "needs QUENCH_ASSETS"]
fn perplexity_of_wider_rows() {
    let scores = scores(
        "wiki-llama-10m",
        &windows("wikitext2/test-dev.txt", 256),
        false,
    );
    let perplexity = find(&scores, "perplexity");
    assert!(
        (perplexity.original.unwrap() - 41.7728).abs() <= 0.005,
        "{perplexity:?}"
    );
}

#[test]
#[ignore = "needs QUENCH_ASSETS"]
fn perplexity_over_documents() {
    let spec = windows("tinystories/stories-dev.txt", 512)
        .with("mode", "documents")
        .with("separator", "<|endoftext|>");
    let scores = scores("stories260k", &spec, false);
    let perplexity = find(&scores, "perplexity");
    assert_eq!((perplexity.samples, perplexity.tokens), (160, Some(62_377)));
    assert!(
        (perplexity.original.unwrap() - 4.3540).abs() <= 0.0005,
        "{perplexity:?}"
    );
}

#[test]
#[ignore = "needs QUENCH_ASSETS"]
fn a_model_does_not_diverge_from_itself() {
    let spec = TaskSpec {
        limit: Some(24),
        ..windows("wikitext2/test-dev.txt", 256)
    };
    let scores = scores("wiki-llama-1.4m", &spec, true);
    assert!(find(&scores, "perplexity").delta.unwrap().abs() <= 0.0);
    assert!(find(&scores, "kl_divergence").quantized.unwrap().abs() <= 0.0);
    assert!((find(&scores, "top1_agreement").quantized.unwrap() - 1.0).abs() <= 0.0);
}

#[test]
#[ignore = "needs QUENCH_ASSETS"]
fn threads_do_not_change_a_bit() {
    let spec = TaskSpec {
        limit: Some(24),
        ..windows("wikitext2/test-dev.txt", 256)
    };
    let pool = |threads| {
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap()
    };
    let one = pool(1).install(|| scores("wiki-llama-1.4m", &spec, false));
    let three = pool(3).install(|| scores("wiki-llama-1.4m", &spec, false));
    assert_eq!(one, three);
}

#[test]
#[ignore = "needs QUENCH_ASSETS"]
fn overlapping_windows_score_every_token_once() {
    let spec = TaskSpec {
        limit: Some(9),
        ..windows("wikitext2/test-dev.txt", 256).with("stride", 64)
    };
    let scores = scores("wiki-llama-1.4m", &spec, false);
    assert_eq!(find(&scores, "perplexity").tokens, Some(255 + 8 * 64));
}

#[test]
#[ignore = "needs QUENCH_ASSETS"]
fn spearman_of_sentence_pairs() {
    let spec = TaskSpec::new("sentence_similarity", "stsb/stsb-dev.tsv").with("max_length", 128);
    let scores = scores("minilm-l6-v2", &spec, false);
    let spearman = find(&scores, "spearman");
    assert_eq!(spearman.samples, 1000);
    assert!(
        (spearman.original.unwrap() - 86.344).abs() <= 0.01,
        "{spearman:?}"
    );
}

#[test]
#[ignore = "needs QUENCH_ASSETS"]
fn accuracy_of_sentences() {
    let spec = TaskSpec::new("classification", "sst2/dev-436.tsv").with("max_length", 64);
    let scores = scores("minilm-sst2", &spec, false);
    let accuracy = find(&scores, "accuracy");
    assert_eq!(accuracy.samples, 436);
    assert!(
        (accuracy.original.unwrap() * 436.0 - 362.0).abs() < 1e-9,
        "{accuracy:?}"
    );
}

#[test]
#[ignore = "needs QUENCH_ASSETS"]
fn accuracy_of_images() {
    let spec = TaskSpec::new("image_classification", "cifar10/dev-1000.safetensors");
    let scores = scores("vit-cifar10", &spec, false);
    let accuracy = find(&scores, "accuracy");
    assert_eq!(accuracy.samples, 1000);
    assert!(
        (accuracy.original.unwrap() * 1000.0 - 512.0).abs() < 1e-9,
        "{accuracy:?}"
    );
    let cross_entropy = find(&scores, "cross_entropy").original.unwrap();
    assert!((cross_entropy - 1.3454).abs() <= 1e-4, "{cross_entropy}");
}

/// Weights of linear layers rounded to 4 bit, symmetric, one f16 scale per 32 inputs: the row
/// `rtn-int4-g32` of the reference, from its description (scale = absmax / 7.5 in f32, then f16; codes
/// -8..=7, half to even).
struct Rounded<'a> {
    checkpoint: &'a Checkpoint,
    layers: Vec<String>,
}

impl WeightSource for Rounded<'_> {
    fn tensor(&self, name: &str) -> Result<Tensor32<'_>, SourceError> {
        let mut tensor = self.checkpoint.tensor(name)?;
        if self.layers.iter().any(|layer| layer == name) {
            let cols = tensor.shape[1];
            for row in tensor.data.to_mut().chunks_mut(cols) {
                for group in row.chunks_mut(32) {
                    let largest = group
                        .iter()
                        .fold(0.0_f32, |largest, w| largest.max(w.abs()));
                    let scale = half::f16::from_f32(largest / 7.5).to_f32();
                    for weight in group.iter_mut().filter(|_| scale > 0.0) {
                        *weight = scale * (*weight / scale).round_ties_even().clamp(-8.0, 7.0);
                    }
                }
            }
        }
        Ok(tensor)
    }

    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.checkpoint.shape(name)
    }

    fn names(&self) -> Vec<String> {
        self.checkpoint.names()
    }
}

/// Perplexity, KL divergence and agreement of rounded weights against an independent computation in
/// Python.
fn rounded_against_reference(model: &str, spec: &TaskSpec, row: &str) {
    let text = fs_err::read_to_string(assets().join("../reference/quality.json")).expect("a file");
    let reference: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let row = &reference[model][row]["rtn-int4-g32"];
    let folder = assets().join(model);
    let checkpoint = Checkpoint::open(&folder).expect("a checkpoint");
    let opened = open_model(checkpoint.config(), &checkpoint).expect("a known model");
    let layers = opened.layers().iter().filter(|layer| layer.in_block);
    let layers = layers.map(LayerSpec::weight_name).collect();
    let rounded = Rounded {
        checkpoint: &checkpoint,
        layers,
    };
    let mut original = Forward::new(opened.as_ref(), &checkpoint, Device::flex());
    let mut quantized = Forward::new(opened.as_ref(), &rounded, Device::flex());
    original.keep_resident().expect("all weights");
    quantized.keep_resident().expect("all weights");
    let subject = Subject {
        original: Some(Box::new(original)),
        quantized: Some(Box::new(quantized)),
        inputs: InputFiles::from_folder(&folder).expect("input files"),
    };
    let scores = evaluate(TASKS, &subject, spec, &content(&spec.data), 0, &()).expect("scores");
    for (metric, key) in [
        ("perplexity", "ppl"),
        ("kl_divergence", "kl"),
        ("top1_agreement", "top1_agree"),
    ] {
        let found = find(&scores, metric);
        let expected = row[key].as_f64().expect("a number");
        println!("{metric} {:?} {expected} {:?}", found.quantized, found.ci95);
        let difference = (found.quantized.expect("a figure") - expected).abs();
        assert!(
            difference <= expected * 2e-5,
            "{metric}: {found:?}, expected {expected}"
        );
    }
}

#[test]
#[ignore = "needs QUENCH_ASSETS"]
fn rounded_weights_over_windows() {
    let spec = windows("wikitext2/test-dev.txt", 256);
    rounded_against_reference("wiki-llama-1.4m", &spec, "wikitext2/test-dev.txt [W256]");
}

#[test]
#[ignore = "needs QUENCH_ASSETS"]
fn rounded_weights_over_documents() {
    let spec = windows("tinystories/stories-dev.txt", 512).with("mode", "documents");
    rounded_against_reference("stories260k", &spec, "tinystories/stories-dev.txt [S512]");
}
