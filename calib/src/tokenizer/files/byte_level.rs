//! `vocab.json` with `merges.txt`: byte pairs over the 256 bytes, as GPT-2 wrote them.

use super::super::TokenizerError;
use super::super::assembly::{Around, Assembled, Class, Pipeline, part};
use super::super::json_files::JsonFiles;
use super::super::settings::{Default, Settings};
use super::{VocabularyFile, first_of, unusable};
use crate::foreign_code::guarded;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use tokenizers::models::bpe::{BPE, BpeBuilder};
use tokenizers::{DecoderWrapper, Error};

/// The kind.
pub(super) struct ByteLevel;

/// The file of tokens and the file of merges.
struct Files {
    vocabulary: PathBuf,
    merges: PathBuf,
}

const VOCABULARY: &str = "vocab.json";
const MERGES: &str = "merges.txt";

/// How Qwen2 cuts a text before merging.
const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// How CLIP does.
const CLIP: &str =
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";

const fn token(key: &'static str, text: &'static str) -> Default {
    Default {
        key,
        text,
        left: false,
    }
}

/// The special tokens of GPT-2 and most of its kind.
const END_OF_TEXT: [Default; 3] = [
    token("bos_token", "<|endoftext|>"),
    token("eos_token", "<|endoftext|>"),
    token("unk_token", "<|endoftext|>"),
];

/// Classes over these files.
static CLASSES: &[Class<Files>] = &[
    Class {
        names: &["GPT2Tokenizer", "CodeGenTokenizer"],
        tokens: &END_OF_TEXT,
        around: Around::Flags,
        again: false,
        pipeline: |files, settings| pipeline(plain(files), Value::Null, bytes(settings)),
    },
    Class {
        names: &[
            "RobertaTokenizer",
            "BartTokenizer",
            "LEDTokenizer",
            "LongformerTokenizer",
        ],
        tokens: &[
            token("bos_token", "<s>"),
            token("eos_token", "</s>"),
            token("unk_token", "<unk>"),
            token("sep_token", "</s>"),
            token("pad_token", "<pad>"),
            token("cls_token", "<s>"),
            token("mask_token", "<mask>"),
        ],
        around: Around::Keys {
            before: &["cls_token"],
            after: &["sep_token"],
        },
        again: false,
        pipeline: |files, settings| pipeline(plain(files), Value::Null, bytes(settings)),
    },
    Class {
        names: &["GPTNeoXTokenizer"],
        tokens: &[
            token("bos_token", "<|endoftext|>"),
            token("eos_token", "<|endoftext|>"),
            token("unk_token", "<|endoftext|>"),
            token("pad_token", "<|padding|>"),
        ],
        around: Around::Flags,
        again: false,
        pipeline: |files, settings| {
            pipeline(plain(files), json!({ "type": "NFC" }), bytes(settings))
        },
    },
    Class {
        names: &["Qwen2Tokenizer"],
        tokens: &[
            token("eos_token", "<|endoftext|>"),
            token("unk_token", "<|endoftext|>"),
            token("pad_token", "<|endoftext|>"),
        ],
        around: Around::Flags,
        again: true,
        pipeline: |files, settings| {
            let space = settings.flag("add_prefix_space", false);
            let cut = json!({ "type": "Sequence", "pretokenizers": [
                { "type": "Split", "pattern": { "Regex": QWEN2 }, "behavior": "Isolated", "invert": false },
                { "type": "ByteLevel", "add_prefix_space": space, "trim_offsets": true, "use_regex": false }] });
            pipeline(plain(files), json!({ "type": "NFC" }), cut)
        },
    },
    Class {
        names: &["CohereTokenizer"],
        tokens: &[
            token("bos_token", "<BOS_TOKEN>"),
            token("eos_token", "<|END_OF_TURN_TOKEN|>"),
            token("unk_token", "<UNK>"),
            token("sep_token", "<SEP>"),
            token("pad_token", "<PAD>"),
            token("cls_token", "<CLS>"),
            token("mask_token", "<MASK_TOKEN>"),
        ],
        around: Around::Flags,
        again: true,
        pipeline: |files, settings| {
            let cut = json!({ "type": "Sequence", "pretokenizers": [
                { "type": "Digits", "individual_digits": true }, bytes(settings)] });
            pipeline(plain(files), json!({ "type": "NFC" }), cut)
        },
    },
    Class {
        names: &["CLIPTokenizer"],
        tokens: &[
            token("bos_token", "<|startoftext|>"),
            token("eos_token", "<|endoftext|>"),
            token("unk_token", "<|endoftext|>"),
            token("pad_token", "<|endoftext|>"),
        ],
        around: Around::Keys {
            before: &["bos_token"],
            after: &["eos_token"],
        },
        again: false,
        pipeline: clip,
    },
];

impl VocabularyFile for ByteLevel {
    fn names(&self) -> &'static [&'static str] {
        &[VOCABULARY, MERGES]
    }

    fn find(&self, class: &str, files: &JsonFiles) -> Option<PathBuf> {
        CLASSES.iter().find(|known| known.is(class))?;
        first_of(&files.folder, &[MERGES])?;
        first_of(&files.folder, &[VOCABULARY])
    }

    fn read(
        &self,
        path: &Path,
        class: &str,
        files: &JsonFiles,
    ) -> Result<Assembled, TokenizerError> {
        let known = CLASSES.iter().find(|known| known.is(class));
        let known = known.ok_or_else(|| unusable(path, format!("no class `{class}`").into()))?;
        let settings = Settings::read(files)?;
        let vocabulary = Files {
            vocabulary: path.to_owned(),
            merges: path.with_file_name(MERGES),
        };
        guarded(|| known.assemble(&vocabulary, settings))
            .unwrap_or_else(|message| Err(message.into()))
            .map_err(|source| unusable(path, source))
    }
}

fn plain(files: &Files) -> Result<BpeBuilder, Error> {
    let name = |path: &Path| {
        path.to_str()
            .map(str::to_owned)
            .ok_or("its path is no UTF-8")
    };
    let (vocabulary, merges) = BPE::read_file(&name(&files.vocabulary)?, &name(&files.merges)?)
        .map_err(|source| format!("with `{MERGES}`: {source}"))?;
    Ok(BPE::builder()
        .vocab_and_merges(vocabulary, merges)
        .continuing_subword_prefix(String::new())
        .end_of_word_suffix(String::new()))
}

/// Bytes as the 256 letters of the vocabulary, cut as GPT-2 does.
fn bytes(settings: &Settings) -> Value {
    let space = settings.flag("add_prefix_space", false);
    json!({ "type": "ByteLevel", "add_prefix_space": space, "trim_offsets": true, "use_regex": true })
}

fn pipeline(
    model: Result<BpeBuilder, Error>,
    normalizer: Value,
    cut: Value,
) -> Result<Pipeline, Error> {
    let decoder: DecoderWrapper = part(json!({ "type": "ByteLevel",
        "add_prefix_space": true, "trim_offsets": true, "use_regex": true }))?;
    Ok(Pipeline {
        model: model?.build()?.into(),
        normalizer: part(normalizer)?,
        pre_tokenizer: Some(part(cut)?),
        decoder: Some(decoder),
        first: Vec::new(),
        extra: None,
    })
}

fn clip(files: &Files, settings: &mut Settings) -> Result<Pipeline, Error> {
    let unknown = settings.text("unk_token", "<|endoftext|>");
    let model = plain(files).map(|model| {
        model
            .end_of_word_suffix("</w>".to_owned())
            .unk_token(unknown)
    });
    let normalizer = json!({ "type": "Sequence", "normalizers": [
        { "type": "NFC" },
        { "type": "Replace", "pattern": { "Regex": r"\s+" }, "content": " " },
        { "type": "Lowercase" }] });
    let cut = json!({ "type": "Sequence", "pretokenizers": [
        { "type": "Split", "pattern": { "Regex": CLIP }, "behavior": "Removed", "invert": true },
        { "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true }] });
    let mut pipeline = pipeline(model, normalizer, cut)?;
    pipeline.decoder = Some(part(json!({ "type": "Sequence", "decoders": [
        { "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true },
        { "type": "Replace", "pattern": { "String": "</w>" }, "content": " " },
        { "type": "Strip", "content": " ", "start": 0, "stop": 1 }] }))?);
    Ok(pipeline)
}
