//! A toy text that hides something: the answer is in its first sentence.

use calib::tokenizer::Tokenizer;
use eval::retrieval::{Depths, Filler, Random, Retrieval, Story, probes};
use serde_json::json;

struct First;

impl Retrieval for First {
    fn name(&self) -> &'static str {
        "first"
    }

    fn summary(&self) -> &'static str {
        "the answer is in the first sentence"
    }

    fn story(&self, _random: &mut Random) -> Story {
        Story {
            opening: "Seven.".to_owned(),
            needle: "Nothing.".to_owned(),
            others: Vec::new(),
            question: "How many?".to_owned(),
            answer: "Seven".to_owned(),
        }
    }
}

#[test]
fn a_text_that_hides_something_is_one_file() {
    // A token for every letter.
    let letters = (b'!'..=b'~').map(|byte| char::from(byte).to_string());
    let letters = letters.chain(["\u{120}".to_owned()]).zip(0..);
    let vocabulary: serde_json::Map<_, _> =
        letters.map(|(letter, id)| (letter, json!(id))).collect();
    let byte_level = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true});
    let tokenizer = json!({
        "version": "1.0",
        "pre_tokenizer": byte_level,
        "decoder": byte_level,
        "model": {"type": "BPE", "vocab": vocabulary, "merges": []},
    });
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokenizer.json");
    fs_err::write(&path, tokenizer.to_string()).unwrap();
    let tokenizer = Tokenizer::from_file(&path).unwrap();
    let asked = Depths {
        lengths: vec![200],
        depths: vec![50],
        samples: 1,
    };
    let found = probes(&First, &tokenizer, &Filler::default(), &asked, 0).unwrap();
    let text = tokenizer.decode(&found[0].tokens).unwrap();
    assert!(
        text.starts_with("Seven. ") && text.ends_with("How many? Seven"),
        "{text}"
    );
    // The space before it is part of the answer.
    assert_eq!(found[0].answer, 6);
}
