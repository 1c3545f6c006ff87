//! `vocab.txt`: a token a line, words cut into the longest pieces that are there, as BERT does.

use super::super::TokenizerError;
use super::super::assembly::{Around, Assembled, Class, Pipeline, part};
use super::super::json_files::JsonFiles;
use super::super::settings::{Default, Settings};
use super::{VocabularyFile, bytes_of, first_of, unusable};
use serde_json::json;
use std::path::{Path, PathBuf};
use tokenizers::Error;
use tokenizers::models::wordpiece::WordPiece;

/// The kind.
pub(super) struct WordPieces;

/// The content of the file.
struct Lines {
    bytes: Vec<u8>,
}

const fn token(key: &'static str, text: &'static str) -> Default {
    Default {
        key,
        text,
        left: false,
    }
}

/// Classes over this file.
static CLASSES: &[Class<Lines>] = &[
    Class {
        names: &[
            "BertTokenizer",
            "ConvBertTokenizer",
            "DistilBertTokenizer",
            "ElectraTokenizer",
            "LayoutLMTokenizer",
            "LxmertTokenizer",
            "MobileBertTokenizer",
            "SqueezeBertTokenizer",
        ],
        tokens: &[
            token("unk_token", "[UNK]"),
            token("sep_token", "[SEP]"),
            token("pad_token", "[PAD]"),
            token("cls_token", "[CLS]"),
            token("mask_token", "[MASK]"),
        ],
        around: AROUND,
        again: false,
        pipeline,
    },
    Class {
        names: &["MPNetTokenizer"],
        tokens: &[
            token("bos_token", "<s>"),
            token("eos_token", "</s>"),
            token("unk_token", "[UNK]"),
            token("sep_token", "</s>"),
            token("pad_token", "<pad>"),
            token("cls_token", "<s>"),
            Default {
                left: true,
                ..token("mask_token", "<mask>")
            },
        ],
        around: AROUND,
        again: false,
        pipeline,
    },
];

const AROUND: Around = Around::Keys {
    before: &["cls_token"],
    after: &["sep_token"],
};

impl VocabularyFile for WordPieces {
    fn names(&self) -> &'static [&'static str] {
        &["vocab.txt"]
    }

    fn find(&self, class: &str, files: &JsonFiles) -> Option<PathBuf> {
        CLASSES.iter().find(|known| known.is(class))?;
        first_of(&files.folder, self.names())
    }

    fn read(
        &self,
        path: &Path,
        class: &str,
        files: &JsonFiles,
    ) -> Result<Assembled, TokenizerError> {
        let known = CLASSES.iter().find(|known| known.is(class));
        let known = known.ok_or_else(|| unusable(path, format!("no class `{class}`").into()))?;
        let lines = Lines {
            bytes: bytes_of(path)?,
        };
        let settings = Settings::read(files)?;
        let assembled = known.assemble(&lines, settings);
        assembled.map_err(|source| unusable(path, source))
    }
}

fn pipeline(vocabulary: &Lines, settings: &mut Settings) -> Result<Pipeline, Error> {
    let model = WordPiece::builder()
        .vocab(WordPiece::read_bytes(&vocabulary.bytes)?)
        .unk_token(settings.text("unk_token", "[UNK]"))
        .build()?;
    // Left open, accents go where upper case goes.
    let accents = settings.flag_or_open("strip_accents");
    let normalizer = json!({ "type": "BertNormalizer", "clean_text": true,
        "handle_chinese_chars": settings.flag("tokenize_chinese_chars", true),
        "strip_accents": accents, "lowercase": settings.flag("do_lower_case", true) });
    Ok(Pipeline {
        model: model.into(),
        normalizer: Some(part(normalizer)?),
        pre_tokenizer: Some(part(json!({ "type": "BertPreTokenizer" }))?),
        decoder: Some(part(
            json!({ "type": "WordPiece", "prefix": "##", "cleanup": true }),
        )?),
        first: Vec::new(),
        extra: None,
    })
}
