//! Token counts of the protocols the reference results were measured with.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on may stop")]

use calib::data::{Content, DataSpec, NoSampler, Request, load};
use calib::hub::{FetchOptions, Silent};
use calib::image_processor::ImageProcessor;
use calib::inputs::{Draw, Inputs, calibration_inputs};
use calib::sampling::{Selection, Template, TextMode, documents, text_sequences, windows};
use calib::tokenizer::Tokenizer;
use std::path::PathBuf;

fn assets() -> PathBuf {
    PathBuf::from(std::env::var("QUENCH_ASSETS").expect("QUENCH_ASSETS names the assets folder"))
}

fn read(spec: &str) -> Content {
    let mut request = Request {
        samples: 0,
        sequence_length: 0,
        seed: 0,
        sampler: &mut NoSampler,
        hub: &FetchOptions::default(),
        progress: &Silent,
        remarks: Vec::new(),
    };
    load(
        &DataSpec::parse(spec, &assets().join("data")).unwrap(),
        &mut request,
    )
    .unwrap()
}

fn text(spec: &str) -> String {
    match read(spec) {
        Content::Text(text) => text,
        other => panic!("expected text, found {}", other.kind()),
    }
}

fn tokenizer(model: &str) -> Tokenizer {
    Tokenizer::from_folder(&assets().join(model)).unwrap()
}

/// Tokens after the first of each sequence.
fn scored(sequences: &[Vec<u32>]) -> usize {
    sequences.iter().map(|sequence| sequence.len() - 1).sum()
}

#[test]
#[ignore = "needs QUENCH_ASSETS"]
fn stories_as_documents_and_as_one_stream() {
    let tokenizer = tokenizer("stories260k");
    let text = text("tinystories/stories-dev.txt");
    let separator = "<|endoftext|>".to_owned();
    let stories = documents(&text, &separator, &tokenizer).unwrap();
    let stream = windows(&stories.concat(), 256, 256);
    assert_eq!((stream.len(), scored(&stream)), (247, 62_985));
    let mode = TextMode::Documents { separator };
    let cut = text_sequences(&text, &mode, 512, &tokenizer, "stories").unwrap();
    assert_eq!((cut.len(), scored(&cut)), (160, 62_377));
    assert!(cut.iter().all(|story| story[0] == 1 && story.len() <= 512));
}

#[test]
#[ignore = "needs QUENCH_ASSETS"]
fn wikitext_in_windows() {
    let tokenizer = tokenizer("wiki-llama-1.4m");
    let text = text("wikitext2/test-dev.txt");
    let mode = TextMode::default();
    let cut = text_sequences(&text, &mode, 256, &tokenizer, "wikitext").unwrap();
    assert_eq!((cut.len(), scored(&cut)), (815, 207_825));
}

#[test]
#[ignore = "needs QUENCH_ASSETS"]
fn tables_and_images_become_inputs() {
    let draw = |samples, sequence_length| Draw {
        samples,
        sequence_length,
        selection: Selection::Random,
        seed: 3,
        mode: TextMode::default(),
        template: Template::default(),
    };
    let sst2 = tokenizer("minilm-sst2");
    let table = read("sst2/dev-436.tsv#text_a");
    let inputs = calibration_inputs(
        &table,
        "sst2",
        Some(&sst2),
        None,
        &draw(500, 64),
        &mut Vec::new(),
    )
    .unwrap();
    let Inputs::Tokens(rows) = &inputs else {
        panic!("tokens")
    };
    assert_eq!(rows.len(), 436);
    assert!(
        rows.iter()
            .all(|row| row[0] == 101 && *row.last().unwrap() == 102)
    );
    assert!(rows.iter().all(|row| row.len() <= 64));

    let Content::Table(pairs) = read("stsb/stsb-dev.tsv") else {
        panic!("a table")
    };
    assert_eq!(pairs.numbers("score").unwrap().len(), 1000);

    let images = read("cifar10/calib-256.safetensors");
    let processor = ImageProcessor::from_folder(&assets().join("vit-cifar10")).unwrap();
    let inputs = calibration_inputs(
        &images,
        "cifar",
        None,
        Some(&processor),
        &draw(8, 0),
        &mut Vec::new(),
    )
    .unwrap();
    let Inputs::Pixels { images, sides } = &inputs else {
        panic!("pixels")
    };
    assert_eq!((images.len(), *sides), (8, [32, 32]));
    assert!(
        images
            .iter()
            .flatten()
            .all(|value| (-1.0..=1.0).contains(value))
    );
    let error = calibration_inputs(
        &table,
        "sst2",
        None,
        Some(&processor),
        &draw(1, 8),
        &mut Vec::new(),
    );
    assert!(
        error
            .unwrap_err()
            .to_string()
            .starts_with("`sst2` holds a table, expected images")
    );
}

#[test]
fn the_first_sequences_are_those_of_the_whole_text() {
    let fixtures = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures");
    let tokenizer = Tokenizer::from_folder(&fixtures.join("wiki-llama-1.4m")).unwrap();
    let text = fs_err::read_to_string(fixtures.join("text/sampled.txt")).unwrap();
    let separator = "<|endoftext|>".to_owned();
    for mode in [TextMode::default(), TextMode::Documents { separator }] {
        let all = text_sequences(&text, &mode, 64, &tokenizer, "sampled").unwrap();
        let draw = Draw {
            samples: 20,
            sequence_length: 64,
            selection: Selection::First,
            seed: 0,
            mode,
            template: Template::default(),
        };
        let content = Content::Text(text.clone());
        let inputs = calibration_inputs(
            &content,
            "sampled",
            Some(&tokenizer),
            None,
            &draw,
            &mut Vec::new(),
        )
        .unwrap();
        assert_eq!(inputs, Inputs::Tokens(all[..20].to_vec()));
    }
}
