//! Conversations from files, rendered and packed; the same rows from JSON lines and from Parquet.
//!
//! The files are made by `tests/golden/make_chats.py`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on may stop")]

use calib::data::{Content, DataError, DataSpec, NoSampler, Request, load};
use calib::hub::{FetchOptions, Silent};
use calib::inputs::{Draw, Inputs, calibration_inputs};
use calib::sampling::{Selection, Template, TextMode};
use calib::tokenizer::Tokenizer;
use std::path::{Path, PathBuf};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn read(spec: &str) -> Result<Content, DataError> {
    let spec = DataSpec::parse(spec, &fixtures().join("chats")).unwrap();
    let mut request = Request {
        samples: 1,
        sequence_length: 8,
        seed: 0,
        sampler: &mut NoSampler,
        hub: &FetchOptions::default(),
        progress: &Silent,
        remarks: Vec::new(),
    };
    load(&spec, &mut request)
}

/// A byte-level tokenizer with the template given.
fn tokenizer(template: &str) -> (tempfile::TempDir, Tokenizer) {
    let folder = tempfile::tempdir().unwrap();
    let copy = |from: &str, name: &str| {
        let bytes = fs_err::read(fixtures().join(from)).unwrap();
        fs_err::write(folder.path().join(name), bytes).unwrap();
    };
    copy("tokenizers/bytes.vocab.json", "vocab.json");
    copy("tokenizers/bytes.merges.txt", "merges.txt");
    let write = |name: &str, text: &str| fs_err::write(folder.path().join(name), text).unwrap();
    write("config.json", "{\"model_type\": \"gpt2\"}");
    write(
        "tokenizer_config.json",
        "{\"add_bos_token\": true, \"bos_token\": \"<s>\"}",
    );
    if !template.is_empty() {
        copy(template, "chat_template.jinja");
    }
    let tokenizer = Tokenizer::from_folder(folder.path()).unwrap();
    (folder, tokenizer)
}

fn draw(mode: TextMode, template: Template) -> Draw {
    Draw {
        samples: 3,
        sequence_length: 32,
        selection: Selection::First,
        seed: 0,
        mode,
        template,
    }
}

fn sequences(
    content: &Content,
    tokenizer: &Tokenizer,
    draw: &Draw,
) -> Result<Vec<Vec<u32>>, DataError> {
    let inputs = calibration_inputs(
        content,
        "rows",
        Some(tokenizer),
        None,
        draw,
        &mut Vec::new(),
    )?;
    let Inputs::Tokens(sequences) = inputs else {
        panic!("tokens")
    };
    Ok(sequences)
}

#[test]
fn conversations_are_packed_as_the_template_writes_them_with_no_second_begin_token() {
    let (_folder, tokenizer) = tokenizer("chats/llama3.jinja");
    let content = read("rows.jsonl").unwrap();
    let windows = draw(TextMode::default(), Template::Chat);
    let packed = sequences(&content, &tokenizer, &windows).unwrap();
    assert!(packed.iter().all(|window| window.len() == 32));
    let text = tokenizer.decode(&packed.concat()).unwrap();
    assert!(text.contains("Today: 26 Jul 2024"), "{text}");
    let begin = tokenizer.begin().unwrap();
    let documents = TextMode::Documents {
        separator: String::new(),
    };
    let apart = sequences(&content, &tokenizer, &draw(documents, Template::Chat)).unwrap();
    assert_eq!(apart.len(), 3);
    for ids in &apart {
        assert_eq!(ids.iter().filter(|&&id| id == begin).count(), 1);
        assert_eq!(ids[0], begin);
    }
    assert_eq!(packed[0], apart[0]);
}

#[test]
fn without_a_template_conversations_are_an_error_unless_their_text_alone_is_wanted() {
    let (_folder, tokenizer) = tokenizer("");
    let content = read("rows.jsonl").unwrap();
    let windows = draw(TextMode::default(), Template::Chat);
    let error = sequences(&content, &tokenizer, &windows).unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("the model folder has no chat template")
    );
    assert!(error.hint().unwrap().contains("template = \"none\""));
    let plain = draw(TextMode::default(), Template::None);
    let packed = sequences(&content, &tokenizer, &plain).unwrap();
    let text = tokenizer.decode(&packed.concat()).unwrap();
    assert!(
        text.starts_with("Hello, what is a weight?\nA number"),
        "{text}"
    );
}

#[test]
fn a_conversation_that_the_template_refuses_is_named_with_its_line() {
    let (_folder, tokenizer) = tokenizer("chats/gemma.jinja");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bad.jsonl");
    let turn = "{\"role\": \"user\", \"content\": \"a\"}";
    let rows = format!("{{\"messages\": [{turn}]}}\n{{\"messages\": [{turn}, {turn}]}}\n");
    fs_err::write(&path, rows).unwrap();
    let content = read(path.to_str().unwrap()).unwrap();
    let error = sequences(
        &content,
        &tokenizer,
        &draw(TextMode::default(), Template::Chat),
    )
    .unwrap_err();
    assert!(error.to_string().ends_with("line 2"), "{error}");
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(
        cause.contains("Conversation roles must alternate"),
        "{cause}"
    );
    assert!(cause.contains("chat_template.jinja"), "{cause}");
}

#[cfg(feature = "parquet")]
#[test]
fn parquet_holds_the_same_rows_as_json_lines() {
    let (Content::Chats(lines), Content::Chats(columns)) =
        (read("rows.jsonl").unwrap(), read("rows.parquet").unwrap())
    else {
        panic!("conversations")
    };
    assert_eq!(lines.rows(), columns.rows());
    let Content::Table(table) = read("texts.parquet").unwrap() else {
        panic!("a table")
    };
    assert_eq!(table.names(), ["text", "score", "kept"]);
    assert_eq!(table.column("score").unwrap()[3], "1.5");
    let Content::Table(table) = read("texts.parquet#text").unwrap() else {
        panic!("a table")
    };
    let texts = table.texts().unwrap();
    assert_eq!(
        (texts.rows[0].1, &texts.missing[..]),
        ("Hello, what is a weight?", &[2][..])
    );
    let error = read("texts.parquet#txt").unwrap_err();
    assert_eq!(error.hint().unwrap(), "did you mean `text`?");
}

#[cfg(feature = "parquet")]
#[test]
fn a_damaged_parquet_file_is_an_error_with_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bad.parquet");
    let whole = fs_err::read(fixtures().join("chats/texts.parquet")).unwrap();
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x55;
        fs_err::write(&path, &bytes).unwrap();
        if let Err(error) = read(path.to_str().unwrap()) {
            assert!(error.to_string().contains("bad.parquet"), "{error}");
        }
    }
    fs_err::write(&path, &whole[..whole.len() / 2]).unwrap();
    assert!(read(path.to_str().unwrap()).is_err());
}
