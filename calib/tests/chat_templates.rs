//! Chat templates render conversations as transformers' `apply_chat_template` does.
//!
//! The expected texts are made by `tests/golden/make_chats.py`.

use calib::chat_template::ChatTemplate;
use serde_json::Value;
use std::path::{Path, PathBuf};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/chats")
}

#[test]
fn conversations_are_rendered_as_transformers_renders_them() {
    let golden = std::fs::read(fixtures().join("chats.json")).unwrap();
    let golden: Value = serde_json::from_slice(&golden).unwrap();
    let tokens = golden["tokens"].as_object().unwrap().iter();
    let tokens: Vec<(String, String)> = tokens
        .map(|(key, text)| (key.clone(), text.as_str().unwrap().to_owned()))
        .collect();
    let chats = golden["chats"].as_array().unwrap();
    let mut compared = 0;
    for (name, expected) in golden["expected"].as_object().unwrap() {
        let path = fixtures().join(format!("{name}.jinja"));
        let source = std::fs::read_to_string(&path).unwrap();
        let template = ChatTemplate::new(&path, &source, tokens.clone());
        let renderer = template.compile().unwrap();
        let mut expected = expected.as_array().unwrap().iter();
        for (at, chat) in chats.iter().enumerate() {
            for prompt in [false, true] {
                let expected = expected.next().unwrap().as_str();
                let found = renderer.render(chat.as_array().unwrap(), prompt);
                match (expected, found) {
                    (Some(expected), Ok(found)) => {
                        assert_eq!(
                            found, expected,
                            "{name}, conversation {at}, prompt {prompt}"
                        );
                    }
                    (None, Err(_)) => {}
                    (expected, found) => {
                        panic!("{name}, conversation {at}: {expected:?}, found {found:?}")
                    }
                }
                compared += 1;
            }
        }
    }
    assert_eq!(compared, 132);
}
