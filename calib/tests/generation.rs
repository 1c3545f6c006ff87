//! Text token by token: what a session remembers changes no logit, and pieces of text add up to the text.

#![expect(
    clippy::unwrap_used,
    reason = "the functions the tests share fail as the tests do"
)]

use burn::tensor::{Device, Int, Tensor, TensorData};
use calib::artifact::Artifact;
use calib::generation::{Decoder, GenerationError, NextToken, Session, TextMemory, TextStream};
use calib::packed_weights::PackedWeights;
use calib::plain_cache::CacheFloats;
use calib::tokenizer::Tokenizer;
use calib::{Checkpoint, Hidden, Model, ModelOutput, NoTap, open_model};
use quantizers::kernels::Compute;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

fn fixtures(kind: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(kind)
}

fn open(folder: &Path) -> (Checkpoint, Box<dyn Model>) {
    let checkpoint = Checkpoint::open(folder).unwrap();
    let model = open_model(checkpoint.config(), &checkpoint).unwrap();
    (checkpoint, model)
}

/// Logits after the last token, from one run over the whole text.
fn whole(model: &dyn Model, checkpoint: &Checkpoint, tokens: &[u32]) -> Vec<f32> {
    let device = Device::flex();
    let ids: Vec<i32> = tokens.iter().map(|id| id.cast_signed()).collect();
    let data = TensorData::new(ids, [1, tokens.len()]);
    let mut hidden = Hidden::Tokens(Tensor::<2, Int>::from_data(data, &device));
    for stage in 0..model.stages() {
        let stage = model.build(stage, checkpoint, &device).unwrap();
        hidden = stage.forward(hidden, &mut NoTap).unwrap();
    }
    let Hidden::States(logits) = hidden else {
        panic!("a decoder returns logits");
    };
    let width = logits.dims()[2];
    let values = logits.into_data().try_to_vec::<f32>().unwrap();
    values[values.len() - width..].to_vec()
}

/// Largest distance, relative to the largest logit.
fn distance(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
    let pairs = found.iter().zip(expected);
    pairs.fold(0.0_f32, |most, (a, b)| most.max((a - b).abs())) / largest
}

fn session(
    model: &dyn Model,
    checkpoint: &Checkpoint,
    floats: CacheFloats,
) -> Result<Session, GenerationError> {
    let decoder = Decoder::new(model, checkpoint, &Device::flex(), None, &mut |_, _| {})?;
    Ok(Session::new(decoder.keeping(floats))?)
}

#[test]
fn what_a_session_remembers_changes_no_logit_of_any_decoder() {
    let mut checked = 0;
    let folders = fs_err::read_dir(fixtures("models")).unwrap();
    let mut folders: Vec<PathBuf> = folders.map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    for folder in folders {
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        let (checkpoint, model) = open(&folder);
        if model.output() != ModelOutput::TokenLogits {
            let refused = session(model.as_ref(), &checkpoint, CacheFloats::F32);
            assert!(
                matches!(refused, Err(GenerationError::NotADecoder { .. })),
                "{name}"
            );
            continue;
        }
        let vocabulary = u32::try_from(model.vocabulary().unwrap()).unwrap();
        let length = model.max_positions().unwrap_or(40).min(40);
        let text = |step: u32| -> Vec<u32> {
            (0..u32::try_from(length).unwrap())
                .map(|at| (at * step + 3) % vocabulary)
                .collect()
        };
        let one = text(37);
        // The same beginning, another end.
        let mut other = text(37);
        for (token, new) in other.iter_mut().zip(text(29)).skip(length / 2) {
            *token = new;
        }
        let sessions = CacheFloats::ALL.map(|floats| {
            (
                floats,
                session(model.as_ref(), &checkpoint, floats).unwrap(),
            )
        });
        let mut bytes = Vec::new();
        for (floats, mut session) in sessions {
            // Keys and values are rounded by up to 2^-11; twice the most that comes of it in these models.
            let most = match floats {
                CacheFloats::F32 => 1e-5,
                CacheFloats::F16 => 1e-2,
            };
            for (text, count) in [
                (&one, length / 3),
                // One by one, then too many for that, then the same again.
                (&one, length / 3 + 1),
                (&one, length / 3 + 3),
                (&one, length),
                (&one, length),
                (&other, length),
                (&other, length - 2),
                (&one, length / 2 + 2),
            ] {
                let expected = whole(model.as_ref(), &checkpoint, &text[..count]);
                let found = session.logits_after(&text[..count]).unwrap();
                let distance = distance(found, &expected);
                assert!(
                    distance < most,
                    "{name}, {floats} after {count}: {distance}"
                );
            }
            bytes.push(session.cache_bytes());
        }
        assert_eq!(bytes[1], 2 * bytes[0], "{name}");
        checked += 1;
    }
    assert!(checked > 50, "{checked}");
}

#[test]
fn texts_that_are_continued_together_come_out_bit_by_bit_as_alone() {
    let (mut checked, mut differ) = (0, Vec::new());
    let folders = fs_err::read_dir(fixtures("models")).unwrap();
    let mut folders: Vec<PathBuf> = folders.map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    for folder in folders {
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        let (checkpoint, model) = open(&folder);
        if model.output() != ModelOutput::TokenLogits {
            continue;
        }
        let artifact = Artifact::open(&folder).unwrap();
        let weights = PackedWeights::new(&checkpoint, &artifact, Compute::F32);
        let decoder = Decoder::new(
            model.as_ref(),
            &weights,
            &Device::flex(),
            None,
            &mut |_, _| {},
        )
        .unwrap();
        let vocabulary = u32::try_from(model.vocabulary().unwrap()).unwrap();
        let longest = model.max_positions().unwrap_or(30).min(30);
        // More texts than one pass takes, each of another length.
        let texts: Vec<Vec<u32>> = (0..10)
            .map(|text: u32| {
                let tokens = (0..longest - 3).map(|at| u32::try_from(at).unwrap());
                let tokens = tokens.map(|at| (at * 37 + text * 11 + 3) % vocabulary);
                tokens.skip(2 * text as usize % (longest - 4)).collect()
            })
            .collect();
        let begun = |text: &[u32]| {
            let mut memory = decoder.memory().unwrap();
            decoder.logits_after(&mut memory, text).unwrap();
            memory
        };
        let mut together: Vec<TextMemory> = texts.iter().map(|text| begun(text)).collect();
        let mut alone: Vec<TextMemory> = texts.iter().map(|text| begun(text)).collect();
        for step in 0..3 {
            let token = |text: usize| u32::try_from(text * 7 + step + 1).unwrap() % vocabulary;
            let mut all: Vec<NextToken<'_>> = together
                .iter_mut()
                .enumerate()
                .map(|(text, memory)| (memory, token(text)))
                .collect();
            decoder.step(&mut all).unwrap();
            for (text, (memory, other)) in alone.iter_mut().zip(&together).enumerate() {
                decoder.step(&mut [(&mut *memory, token(text))]).unwrap();
                let bits = |memory: &TextMemory| -> Vec<u32> {
                    let logits = memory.logits().unwrap().iter();
                    logits.map(|logit| logit.to_bits()).collect()
                };
                if bits(memory) != bits(other) {
                    differ.push(format!("{name}, text {text}, step {step}"));
                }
            }
        }
        checked += 1;
    }
    assert!(differ.is_empty(), "{}", differ.join("\n"));
    assert!(checked > 50, "{checked}");
}

#[test]
fn logits_of_all_tokens_are_those_after_each() {
    let (checkpoint, model) = open(&fixtures("models").join("arcee"));
    let decoder = Decoder::new(
        model.as_ref(),
        &checkpoint,
        &Device::flex(),
        None,
        &mut |_, _| {},
    )
    .unwrap();
    let tokens: Vec<u32> = (0..20).map(|at| (at * 37 + 3) % 90).collect();
    let mut memory = decoder.memory().unwrap();
    let mut found = Vec::new();
    let mut show = |from: usize, rows: &[&[f32]]| {
        assert_eq!(from, found.len());
        found.extend(rows.iter().map(|row| row.to_vec()));
    };
    decoder
        .logits_of_all(&mut memory, &tokens, &mut show)
        .unwrap();
    found.push(memory.logits().unwrap().to_vec());
    for (at, logits) in found.iter().enumerate() {
        let expected = whole(model.as_ref(), &checkpoint, &tokens[..=at]);
        let distance = distance(logits, &expected);
        assert!(distance < 1e-5, "after {at}: {distance}");
    }
    // The last logits are bit by bit those of a prompt that is not scored.
    let mut plain = decoder.memory().unwrap();
    let last = decoder.logits_after(&mut plain, &tokens).unwrap();
    assert_eq!(Some(last), memory.logits());
}

// Prompts are run in pieces: full and sliding attention, distances instead of positions.
#[test]
fn long_prompts_come_out_as_they_do_at_once() {
    let length = 1300;
    for name in ["llama-plain-v4", "mistral-window", "bloom-six-heads"] {
        let folder = tempfile::tempdir().unwrap();
        for entry in fs_err::read_dir(fixtures("models").join(name)).unwrap() {
            let file = entry.unwrap();
            fs_err::copy(file.path(), folder.path().join(file.file_name())).unwrap();
        }
        // None of them has weights for positions.
        let config = folder.path().join("config.json");
        let mut values: Value = serde_json::from_slice(&fs_err::read(&config).unwrap()).unwrap();
        values["max_position_embeddings"] = length.into();
        fs_err::write(&config, values.to_string()).unwrap();
        let (checkpoint, model) = open(folder.path());
        let vocabulary = u32::try_from(model.vocabulary().unwrap()).unwrap();
        let tokens: Vec<u32> = (0..length).map(|at| (at * 37 + 3) % vocabulary).collect();
        let mut session = session(model.as_ref(), &checkpoint, CacheFloats::F32).unwrap();
        for count in [1200, tokens.len()] {
            let expected = whole(model.as_ref(), &checkpoint, &tokens[..count]);
            let found = session.logits_after(&tokens[..count]).unwrap();
            let distance = distance(found, &expected);
            assert!(distance < 1e-5, "{name} after {count}: {distance}");
        }
    }
}

#[test]
fn texts_that_are_empty_or_too_long_are_refused() {
    let (checkpoint, model) = open(&fixtures("models").join("arcee"));
    let mut session = session(model.as_ref(), &checkpoint, CacheFloats::F16).unwrap();
    let refused = session.logits_after(&[]);
    assert!(matches!(refused, Err(GenerationError::NoPrompt)));
    let limit = session.limit().unwrap();
    let refused = session.logits_after(&vec![1; limit + 1]);
    assert!(matches!(refused, Err(GenerationError::TooLong { .. })));
    assert!(session.logits_after(&vec![1; limit]).is_ok());
}

fn json(name: &str) -> Value {
    serde_json::from_slice(&fs_err::read(fixtures("tokenizers").join(name)).unwrap()).unwrap()
}

/// The folder of one tokenizer.
fn folder(entry: &Value) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let map = |key: &str| entry[key].as_object().cloned().unwrap_or_else(Map::new);
    for (name, parts) in map("files") {
        let parts = parts.as_array().unwrap().iter();
        let bytes: Vec<u8> = parts
            .flat_map(|part| {
                fs_err::read(fixtures("tokenizers").join(part.as_str().unwrap())).unwrap()
            })
            .collect();
        fs_err::write(folder.path().join(name), bytes).unwrap();
    }
    for (name, value) in map("json") {
        fs_err::write(folder.path().join(name), value.to_string()).unwrap();
    }
    folder
}

#[test]
fn pieces_of_text_add_up_to_the_text_for_every_tokenizer() {
    let texts: Vec<String> = serde_json::from_value(json("texts.json")).unwrap();
    for (name, entry) in json("tokenizers.json").as_object().unwrap() {
        let folder = folder(entry);
        let tokenizer = Tokenizer::from_folder(folder.path()).unwrap();
        let texts = texts.iter().step_by(20).filter(|text| !text.is_empty());
        for text in texts {
            let ids = tokenizer.encode(text).unwrap();
            // The middle of a character is as good a place as any.
            let (prompt, new) = ids.split_at(ids.len() / 3);
            let mut stream = TextStream::new(&tokenizer, prompt).unwrap();
            let mut shown = String::new();
            for id in new {
                shown.push_str(&stream.push(*id).unwrap());
            }
            shown.push_str(&stream.finish().unwrap());
            let all = tokenizer.decode(&ids).unwrap();
            let before = tokenizer.decode(prompt).unwrap();
            let common = before
                .bytes()
                .zip(all.bytes())
                .take_while(|(a, b)| a == b)
                .count();
            let common = (0..=common)
                .rev()
                .find(|at| all.is_char_boundary(*at))
                .unwrap();
            assert_eq!(shown, all[common..], "{name}: {text:?} after {before:?}");
        }
    }
}
