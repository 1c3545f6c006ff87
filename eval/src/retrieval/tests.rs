//! Texts that hide something: of the length that was asked for, with the needle at its depth.

use super::{Depths, Filler, ProbeError, RETRIEVALS, probes};
use calib::tokenizer::Tokenizer;
use serde_json::json;

/// A token for every byte of plain text.
fn tokenizer() -> Tokenizer {
    let letters = (b'!'..=b'~').map(|byte| char::from(byte).to_string());
    // What byte-level vocabularies write for a space.
    let letters = letters.chain(["\u{120}".to_owned()]);
    let vocabulary: serde_json::Map<_, _> =
        letters.zip((0..).map(serde_json::Value::from)).collect();
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
    Tokenizer::from_file(&path).unwrap()
}

#[test]
fn texts_end_with_their_answer_and_hold_the_needle_at_its_depth() {
    let tokenizer = tokenizer();
    let asked = Depths {
        lengths: vec![1200, 2400],
        depths: vec![0, 50, 100],
        samples: 2,
    };
    for retrieval in RETRIEVALS {
        let filler = Filler::default();
        let found = probes(*retrieval, &tokenizer, &filler, &asked, 7).unwrap();
        assert_eq!(found.len(), 12, "{}", retrieval.name());
        assert_eq!(
            found,
            probes(*retrieval, &tokenizer, &filler, &asked, 7).unwrap()
        );
        assert_ne!(
            found,
            probes(*retrieval, &tokenizer, &filler, &asked, 8).unwrap()
        );
        for probe in found {
            let tokens = probe.tokens.len();
            let missing = probe.length - tokens;
            assert!(missing < 30, "{missing} tokens below {}", probe.length);
            let text = tokenizer.decode(&probe.tokens).unwrap();
            let answer = &probe.tokens[tokens - probe.answer..];
            let answer = tokenizer.decode(answer).unwrap();
            let answer = answer.trim();
            assert!(answer.len() >= 5 && answer.bytes().all(|letter| letter.is_ascii_digit()));
            assert!(text.ends_with(answer));
            let (first, last) = (text.find(answer).unwrap(), text.rfind(answer).unwrap());
            assert!(first < last, "it stands in the text before it is asked for");
            let at = first as f64 / text.len() as f64;
            let expected = probe.depth as f64 / 100.0;
            assert!((at - expected).abs() < 0.25, "{at} {expected}: {text}");
        }
    }
}

#[test]
fn a_text_without_room_says_how_much_it_needs() {
    let asked = Depths {
        lengths: vec![20],
        depths: vec![0],
        samples: 1,
    };
    let error = probes(RETRIEVALS[0], &tokenizer(), &Filler::default(), &asked, 0).unwrap_err();
    assert!(matches!(error, ProbeError::Short { needed, .. } if needed > 20));
    assert!(
        error
            .to_string()
            .starts_with("`passkey` in 20 tokens: expected at least ")
    );
}

#[test]
fn texts_are_filled_with_sentences_of_a_text() {
    let text = "A first sentence that is long enough. Short.\nAnother one that stands on its own line! no end of a sentence";
    let filler = Filler::of_text(text).unwrap();
    let asked = Depths {
        lengths: vec![1500],
        depths: vec![50],
        samples: 3,
    };
    let tokenizer = tokenizer();
    let found = probes(RETRIEVALS[0], &tokenizer, &filler, &asked, 3).unwrap();
    for probe in &found {
        let text = tokenizer.decode(&probe.tokens).unwrap();
        assert!(text.contains("long enough. Another one") && text.contains("own line! A first"));
        assert!(!text.contains("Short") && !text.contains("no end") && !text.contains("grass"));
        // No other sentence would have found room.
        assert!(probe.length - probe.tokens.len() < 45);
    }
    assert_eq!(Filler::of_text("Nothing here. Too short."), None);
}
