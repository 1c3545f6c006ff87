//! GGUF files as models: the logits of transformers and the ids of the tokenizers they were made from
//! (`tests/golden/make_gguf_sources.py`).
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot read its fixtures has to stop"
)]

use burn::tensor::{Device, Int, Tensor, TensorData};
use calib::artifact::Artifact;
use calib::tokenizer::Tokenizer;
use calib::{Checkpoint, Hidden, NoTap, open_model};
use quantizers::formats::TensorFolder;
use serde_json::Value;
use std::path::{Path, PathBuf};

fn fixture(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/gguf");
    folder.join(name)
}

/// The logits of the model in `file` for `ids` `[batch, tokens]`.
fn logits(file: &Path, ids: Vec<i64>, shape: [usize; 2]) -> Vec<f32> {
    let device = Device::flex();
    let checkpoint = Checkpoint::open(file).unwrap();
    let weights = Artifact::open(file).unwrap();
    let model = open_model(checkpoint.config(), &weights).unwrap();
    let ids = Tensor::<2, Int>::from_data(TensorData::new(ids, shape), &device);
    let mut hidden = Hidden::Tokens(ids);
    for stage in 0..model.stages() {
        let built = model.build(stage, &weights, &device).unwrap();
        hidden = built.forward(hidden, &mut NoTap).unwrap();
    }
    match hidden {
        Hidden::States(states) => states.into_data().try_to_vec::<f32>().unwrap(),
        other => panic!("the last stage gave {}", other.kind()),
    }
}

#[test]
fn models_give_the_logits_of_transformers() {
    for name in ["llama", "qwen3"] {
        let expected = TensorFolder::open(fixture(&format!("{name}.safetensors"))).unwrap();
        let shape = &expected.info("input_ids").unwrap().shape;
        let shape = [shape[0], shape[1]];
        let stored = expected.bytes("input_ids").unwrap();
        let bytes = stored.as_chunks::<8>().0.iter();
        let ids = bytes.map(|id| i64::from_le_bytes(*id)).collect();
        let found = logits(&fixture(&format!("{name}.gguf")), ids, shape);
        let expected = expected.floats("logits").unwrap();
        assert_eq!(found.len(), expected.len(), "{name}");
        let (mut distance, mut norm) = (0.0, 0.0);
        for (found, expected) in found.iter().zip(expected.iter()) {
            distance += f64::from(found - expected).powi(2);
            norm += f64::from(*expected).powi(2);
        }
        let deviation = (distance / norm).sqrt();
        assert!(deviation < 1e-5, "{name}: {deviation:e}");
    }
}

#[test]
fn tokenizers_give_the_ids_of_the_programs_they_come_from() {
    let text = fs_err::read(fixture("tokens.json")).unwrap();
    let expected: Value = serde_json::from_slice(&text).unwrap();
    for name in ["llama", "qwen3"] {
        let tokenizer = Tokenizer::from_folder(&fixture(&format!("{name}.gguf"))).unwrap();
        let texts = expected["texts"].as_array().unwrap().iter();
        let texts = texts.map(|text| text.as_str().unwrap());
        // Sentencepiece takes the names of special tokens for text.
        let texts: Vec<&str> = texts
            .filter(|text| name != "llama" || !text.contains('<'))
            .collect();
        let ids = expected["ids"][name].as_array().unwrap();
        for (text, ids) in texts.iter().zip(ids) {
            let found = tokenizer.encode(text).unwrap();
            assert_eq!(serde_json::json!(found), *ids, "{name}: {text:?}");
            let again = tokenizer.decode(&found).unwrap();
            assert!(
                text.contains('<') || again == *text,
                "{name}: {text:?} became {again:?}"
            );
        }
    }
}

#[test]
fn ends_and_begins_are_those_of_the_metadata() {
    let llama = Tokenizer::from_folder(&fixture("llama.gguf")).unwrap();
    assert_eq!((llama.begin(), llama.ends()), (Some(1), &[2][..]));
    assert_eq!(llama.encode_special("", None).unwrap(), [1]);
    let qwen3 = Tokenizer::from_folder(&fixture("qwen3.gguf")).unwrap();
    assert_eq!((qwen3.begin(), qwen3.ends()), (None, &[2][..]));
    assert_eq!(qwen3.max_length(), Some(64));
    // A control token in a text is that token.
    assert_eq!(qwen3.encode("<|im_end|>").unwrap(), [2]);
}
