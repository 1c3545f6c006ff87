//! `synthetic` for encoders: words and images made without any data.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on may stop")]
#![expect(clippy::print_stdout, reason = "figures are shown under `--nocapture`")]

#[path = "models/checkpoints.rs"]
mod checkpoints;

use burn::tensor::Device;
use calib::data::{Content, DataSpec, Request, load};
use calib::hub::{FetchOptions, Silent};
use calib::image_processor::ImageProcessor;
use calib::inputs::{Draw, Inputs, calibration_inputs};
use calib::running::collect::collect;
use calib::running::measured::Wants;
use calib::running::point_statistics::stage_statistics;
use calib::running::stats_store::{Key, StatsStore};
use calib::sampling::{Selection, Template, TextMode};
use calib::tokenizer::Tokenizer;
use calib::{Forward, Model, WeightSource, synthetic};
use checkpoints::{fixture, open};
use quantizers::statistics::MIN_MAX;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

fn assets() -> PathBuf {
    PathBuf::from(std::env::var_os("QUENCH_ASSETS").expect("QUENCH_ASSETS names the assets"))
}

/// A tokenizer of 96 words like BERT's: special and unused ones first, then letters, then words.
fn write_tokenizer(folder: &Path) {
    let names: Vec<String> = (0..96)
        .map(|id| match id {
            0 => "[PAD]".to_owned(),
            1 => "[UNK]".to_owned(),
            2 => "[CLS]".to_owned(),
            3 => "[SEP]".to_owned(),
            4..12 => format!("[unused{id}]"),
            12..38 => char::from(b'a' + id - 12).to_string(),
            _ => format!("word{id}"),
        })
        .collect();
    let vocab: serde_json::Map<String, serde_json::Value> = names
        .iter()
        .zip(0..)
        .map(|(name, id)| (name.clone(), json!(id)))
        .collect();
    let special = |id: usize| {
        json!({ "id": id, "content": names[id], "single_word": false, "lstrip": false,
            "rstrip": false, "normalized": false, "special": true })
    };
    let token = |id: usize| json!({ "id": names[id], "ids": [id], "tokens": [names[id]] });
    let part = |id: usize| json!({ "SpecialToken": { "id": names[id], "type_id": 0 } });
    let text = json!({ "Sequence": { "id": "A", "type_id": 0 } });
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": [special(0), special(1), special(2), special(3)],
        "normalizer": null, "pre_tokenizer": { "type": "Whitespace" }, "decoder": null,
        "post_processor": { "type": "TemplateProcessing", "single": [part(2), text, part(3)],
            "pair": [text, text], "special_tokens": { "[CLS]": token(2), "[SEP]": token(3) } },
        "model": { "type": "WordLevel", "unk_token": "[UNK]", "vocab": vocab },
    });
    fs_err::write(folder.join("tokenizer.json"), tokenizer.to_string()).unwrap();
}

fn tokenizer() -> Tokenizer {
    let folder = tempfile::tempdir().unwrap();
    write_tokenizer(folder.path());
    Tokenizer::from_folder(folder.path()).unwrap()
}

fn processor(side: usize) -> ImageProcessor {
    let config = json!({ "do_resize": true, "size": { "height": side, "width": side },
        "resample": 2, "do_rescale": true, "rescale_factor": 1.0 / 255.0, "do_normalize": true,
        "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5] });
    ImageProcessor::from_config(&config, Path::new("preprocessor_config.json")).unwrap()
}

/// What `data` gives a calibration of `samples` sequences of up to `length` tokens.
fn inputs(
    data: &str,
    (model, source): (&dyn Model, &dyn WeightSource),
    tokenizer: Option<&Tokenizer>,
    processor: Option<&ImageProcessor>,
    (samples, length, seed): (usize, usize, u64),
) -> Inputs {
    let forward = Forward::new(model, source, Device::flex());
    let hub = FetchOptions {
        offline: true,
        ..FetchOptions::default()
    };
    let mut sampler = synthetic::sampler(&forward, tokenizer);
    let mut request = Request {
        samples,
        sequence_length: length,
        seed,
        sampler: sampler.as_mut(),
        hub: &hub,
        progress: &Silent,
        remarks: Vec::new(),
    };
    let spec = DataSpec::parse(data, Path::new("")).unwrap();
    let content = load(&spec, &mut request).unwrap();
    let draw = Draw {
        samples,
        sequence_length: length,
        selection: Selection::First,
        seed,
        mode: TextMode::default(),
        template: Template::default(),
    };
    calibration_inputs(&content, data, tokenizer, processor, &draw, &mut Vec::new()).unwrap()
}

fn on_threads<R: Send>(threads: usize, body: impl FnOnce() -> R + Send) -> R {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .unwrap();
    pool.install(body)
}

#[test]
fn a_text_encoder_gets_sentences_of_ordinary_tokens() {
    let (checkpoint, model) = open(&fixture("bert-classifier-relu"));
    let model = (model.as_ref(), &checkpoint as &dyn WeightSource);
    let tokenizer = tokenizer();
    let make = |samples, seed| {
        let Inputs::Tokens(sequences) = inputs(
            "synthetic",
            model,
            Some(&tokenizer),
            None,
            (samples, 40, seed),
        ) else {
            panic!("tokens expected");
        };
        sequences
    };
    let sequences = on_threads(1, || make(64, 3));
    assert_eq!(sequences, on_threads(2, || make(64, 3)));
    assert_eq!(sequences[..5], make(5, 3), "each depends on its own number");
    assert_ne!(sequences[..5], make(5, 4));
    for sequence in &sequences {
        let [2, inner @ .., 3] = &sequence[..] else {
            panic!("{sequence:?} does not stand between [CLS] and [SEP]");
        };
        assert!((1..=38).contains(&inner.len()), "{sequence:?}");
        assert!(inner.iter().all(|&id| id >= 12), "{sequence:?}");
    }
    let longest = sequences.iter().filter(|sequence| sequence.len() == 40);
    assert!(longest.count() >= 8, "every position is seen");
    // Only tokens whose vectors are longer than those of the unused ones, 4..12.
    let table = model
        .1
        .tensor("bert.embeddings.word_embeddings.weight")
        .unwrap();
    let norms: Vec<f32> = table
        .data
        .chunks_exact(32)
        .map(|row| row.iter().map(|x| x * x).sum::<f32>().sqrt())
        .collect();
    let mut unused = norms[4..12].to_vec();
    unused.sort_by(f32::total_cmp);
    let trained: BTreeSet<u32> = (12..96)
        .filter(|&id| norms[id as usize] > 1.1 * unused[4])
        .collect();
    let mut seen: BTreeSet<u32> = sequences.concat().into_iter().collect();
    seen.retain(|&id| id >= 12);
    assert_eq!(seen, trained);
    assert!(seen.len() >= 42, "{seen:?}");
}

#[test]
fn a_vision_encoder_gets_images_like_photographs() {
    let (checkpoint, model) = open(&fixture("vit-classifier-no-bias"));
    let model = (model.as_ref(), &checkpoint as &dyn WeightSource);
    let processor = processor(16);
    let make = |samples, seed| {
        let found = inputs(
            "synthetic",
            model,
            None,
            Some(&processor),
            (samples, 0, seed),
        );
        let Inputs::Pixels { images, sides } = found else {
            panic!("pixels expected");
        };
        assert_eq!(sides, [16, 16]);
        images
    };
    let images = on_threads(1, || make(64, 3));
    assert_eq!(images, on_threads(2, || make(64, 3)));
    assert_eq!(images[..5], make(5, 3));
    assert_ne!(images[..5], make(5, 4));
    let values = images.concat();
    assert!(values.iter().all(|value| (-1.0..=1.0).contains(value)));
    let spread = values.iter().map(|x| x * x).sum::<f32>() / values.len() as f32;
    assert!((0.1..0.5).contains(&spread), "{spread}");
    // Variance per octave: what 2 x 2 means lose against pixels, and 4 x 4 means against those. It is
    // 1 in photographs and 4 for white noise; at 16 pixels the octaves are few.
    let means = |size: usize| -> Vec<f32> {
        let planes = values.chunks_exact(16 * 16);
        planes
            .flat_map(|plane| {
                (0..16 * 16)
                    .map(|at| {
                        let [top, left] = [at / 16, at % 16].map(|x| x / size * size);
                        let rows = (top..top + size).map(|y| &plane[y * 16 + left..][..size]);
                        rows.flatten().sum::<f32>() / (size * size) as f32
                    })
                    .collect::<Vec<_>>()
            })
            .collect()
    };
    let lost = |fine: &[f32], coarse: &[f32]| {
        let pairs = fine.iter().zip(coarse);
        pairs.map(|(a, b)| (a - b).powi(2)).sum::<f32>() / fine.len() as f32
    };
    let (two, four) = (means(2), means(4));
    let ratio = lost(&values, &two) / lost(&two, &four);
    println!("finest octave against the next: {ratio}");
    assert!((0.4..2.0).contains(&ratio), "{ratio}");
}

#[test]
fn a_headless_decoder_is_refused_with_a_hint() {
    let (checkpoint, model) = open(&fixture("gpt2-model"));
    let forward = Forward::new(model.as_ref(), &checkpoint, Device::flex());
    let mut sampler = synthetic::sampler(&forward, None);
    let error = sampler.content(1, 8, 0).unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("this one returns hidden states"),
        "{error}"
    );
    assert!(error.hint().is_some());
}

#[test]
fn a_decoder_still_writes_its_own_text() {
    let (checkpoint, model) = open(&fixture("llama-plain-v4"));
    let forward = Forward::new(model.as_ref(), &checkpoint, Device::flex());
    let content = synthetic::sampler(&forward, None).content(2, 8, 0).unwrap();
    assert!(matches!(content, Content::Tokens(found) if found.len() == 2 && found[0].len() == 8));
}

/// `[min, max]` at every point.
fn ranges(
    model: &dyn Model,
    source: &dyn WeightSource,
    inputs: &Inputs,
) -> BTreeMap<String, (f32, f32)> {
    let folder = tempfile::tempdir().unwrap();
    let store = StatsStore::open(folder.path(), &Key::default()).unwrap();
    let forward = Forward::new(model, source, Device::flex());
    let batches = (0..inputs.len())
        .map(|index| inputs.batch(&[index], forward.device()))
        .collect();
    let mut wants = Wants::default();
    for point in (0..model.stages()).flat_map(|stage| model.points(stage)) {
        wants.point(&point.name, &MIN_MAX);
    }
    collect(&forward, batches, &wants, &store, &mut |_, _| {}).unwrap();
    (0..model.stages())
        .flat_map(|stage| stage_statistics(&store, stage).unwrap())
        .map(|(point, statistics)| (point, statistics.ranges["min_max"]))
        .collect()
}

/// Largest magnitudes at all points, synthetic over real, from the smallest to the largest ratio.
fn compare(folder: &Path, data: &Path, column: &str, samples: usize) -> Vec<(f32, String)> {
    let (checkpoint, model) = open(folder);
    let tokenizer = Tokenizer::from_folder(folder).ok();
    let processor = ImageProcessor::from_folder(folder).ok();
    let [real, made] = [
        format!("{}{column}", data.display()),
        "synthetic".to_owned(),
    ]
    .map(|data| {
        let inputs = inputs(
            &data,
            (model.as_ref(), &checkpoint),
            tokenizer.as_ref(),
            processor.as_ref(),
            (samples, 64, 0),
        );
        ranges(model.as_ref(), &checkpoint, &inputs)
    });
    let magnitude = |(low, high): (f32, f32)| high.max(-low);
    let mut ratios: Vec<(f32, String)> = real
        .iter()
        .map(|(point, &range)| (magnitude(made[point]) / magnitude(range), point.clone()))
        .collect();
    ratios.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    for (ratio, point) in &ratios {
        println!("{ratio:.3} {point}");
    }
    let at = |share: usize| ratios[(ratios.len() - 1) * share / 100].0;
    println!(
        "{}: synthetic over real magnitudes {:.2} to {:.2}, median {:.2}, middle four fifths {:.2} to {:.2}",
        folder.display(),
        at(0),
        at(100),
        at(50),
        at(10),
        at(90)
    );
    ratios
}

#[test]
#[ignore = "needs QUENCH_ASSETS"]
fn words_reach_the_ranges_of_sentences() {
    let data = assets().join("data/sst2/calib-512.tsv");
    let ratios = compare(&assets().join("minilm-sst2"), &data, "#text_a", 128);
    assert!(ratios[0].0 > 0.5 && ratios[ratios.len() - 1].0 < 2.0);
}

#[test]
#[ignore = "needs QUENCH_ASSETS"]
fn discs_reach_the_ranges_of_photographs() {
    let data = assets().join("data/cifar10/calib-256.safetensors");
    let ratios = compare(&assets().join("vit-cifar10"), &data, "", 256);
    assert!(ratios[0].0 > 0.5 && ratios[ratios.len() - 1].0 < 2.0);
}
