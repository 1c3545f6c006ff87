//! Sentencepiece models, of the unigram and of the byte-pair kind.
//!
//! What a folder's class does with a model differs from what the model itself says: a row here for each class.

mod model_file;
mod merges;
mod generic;
mod byte_pairs;
mod unigram;

use super::super::TokenizerError;
use super::super::assembly::{Around, Assembled, Class};
use super::super::json_files::JsonFiles;
use super::super::settings::{Default, Settings};
use super::ranks::holds_ranks;
use super::{VocabularyFile, bytes_of, first_of, unusable};
use crate::foreign_code::guarded;
use model_file::ModelFile;
use std::path::{Path, PathBuf};

/// The kind.
pub(super) struct SentencePiece;

const fn token(key: &'static str, text: &'static str) -> Default {
    Default {
        key,
        text,
        left: false,
    }
}

const BEGIN_END: Around = Around::Keys {
    before: &["bos_token"],
    after: &["eos_token"],
};
const CLASS_SEPARATOR: Around = Around::Keys {
    before: &["cls_token"],
    after: &["sep_token"],
};
/// `<s>` and its like, as fairseq named them.
const FAIRSEQ: [Default; 7] = [
    token("bos_token", "<s>"),
    token("eos_token", "</s>"),
    token("unk_token", "<unk>"),
    token("sep_token", "</s>"),
    token("pad_token", "<pad>"),
    token("cls_token", "<s>"),
    token("mask_token", "<mask>"),
];
const CAMEMBERT: [Default; 7] = {
    let mut tokens = FAIRSEQ;
    tokens[6].left = true;
    tokens
};
const GEMMA: [Default; 5] = [
    token("bos_token", "<bos>"),
    token("eos_token", "<eos>"),
    token("unk_token", "<unk>"),
    token("pad_token", "<pad>"),
    token("mask_token", "<mask>"),
];

/// Classes, each with the file it reads where there is no `tokenizer.model`.
static CLASSES: &[(&str, Class<ModelFile>)] = &[
    (
        "tokenizer.model",
        Class {
            names: &[super::super::classes::GENERIC],
            tokens: &[],
            around: Around::Flags,
            again: false,
            pipeline: generic::pipeline,
        },
    ),
    (
        "tokenizer.model",
        Class {
            names: &["LlamaTokenizer", "Phi3Tokenizer"],
            tokens: &[
                token("bos_token", "<s>"),
                token("eos_token", "</s>"),
                token("unk_token", "<unk>"),
            ],
            around: Around::Flags,
            again: false,
            pipeline: byte_pairs::llama,
        },
    ),
    (
        "tokenizer.model",
        Class {
            names: &["CodeLlamaTokenizer"],
            tokens: &[
                token("bos_token", "<s>"),
                token("eos_token", "</s>"),
                token("unk_token", "<unk>"),
                token("prefix_token", "▁<PRE>"),
                token("middle_token", "▁<MID>"),
                token("suffix_token", "▁<SUF>"),
                token("eot_token", "▁<EOT>"),
            ],
            around: Around::Flags,
            again: false,
            pipeline: byte_pairs::code_llama,
        },
    ),
    (
        "tokenizer.model",
        Class {
            names: &["GemmaTokenizer"],
            tokens: &GEMMA,
            around: Around::Flags,
            again: false,
            pipeline: |model, settings| byte_pairs::gemma(model, settings, false),
        },
    ),
    (
        "tokenizer.model",
        Class {
            names: &["Siglip2Tokenizer"],
            tokens: &GEMMA,
            around: Around::Flags,
            again: false,
            pipeline: |model, settings| byte_pairs::gemma(model, settings, true),
        },
    ),
    (
        "spiece.model",
        Class {
            names: &["T5Tokenizer"],
            tokens: &[
                token("eos_token", "</s>"),
                token("unk_token", "<unk>"),
                token("pad_token", "<pad>"),
            ],
            around: Around::Keys {
                before: &[],
                after: &["eos_token"],
            },
            again: false,
            pipeline: unigram::t5,
        },
    ),
    (
        "sentencepiece.bpe.model",
        Class {
            names: &["XLMRobertaTokenizer"],
            tokens: &FAIRSEQ,
            around: BEGIN_END,
            again: false,
            pipeline: unigram::xlm_roberta,
        },
    ),
    (
        "sentencepiece.bpe.model",
        Class {
            names: &["CamembertTokenizer"],
            tokens: &CAMEMBERT,
            around: BEGIN_END,
            again: false,
            pipeline: unigram::camembert,
        },
    ),
    (
        "spiece.model",
        Class {
            names: &["AlbertTokenizer"],
            tokens: &[
                token("bos_token", "[CLS]"),
                token("eos_token", "[SEP]"),
                token("unk_token", "<unk>"),
                token("sep_token", "[SEP]"),
                token("pad_token", "<pad>"),
                token("cls_token", "[CLS]"),
                token("mask_token", "[MASK]"),
            ],
            around: CLASS_SEPARATOR,
            again: false,
            pipeline: unigram::albert,
        },
    ),
    (
        "spm.model",
        Class {
            names: &["DebertaV2Tokenizer"],
            tokens: &[
                token("bos_token", "[CLS]"),
                token("eos_token", "[SEP]"),
                token("unk_token", "[UNK]"),
                token("sep_token", "[SEP]"),
                token("pad_token", "[PAD]"),
                token("cls_token", "[CLS]"),
                token("mask_token", "[MASK]"),
            ],
            around: CLASS_SEPARATOR,
            again: false,
            pipeline: unigram::deberta_v2,
        },
    ),
];

impl VocabularyFile for SentencePiece {
    fn names(&self) -> &'static [&'static str] {
        &[
            "tokenizer.model",
            "spiece.model",
            "sentencepiece.bpe.model",
            "spm.model",
        ]
    }

    fn find(&self, class: &str, files: &JsonFiles) -> Option<PathBuf> {
        let (name, _) = CLASSES.iter().find(|(_, known)| known.is(class))?;
        let path = first_of(&files.folder, &["tokenizer.model", name])?;
        (!holds_ranks(&path)).then_some(path)
    }

    fn read(
        &self,
        path: &Path,
        class: &str,
        files: &JsonFiles,
    ) -> Result<Assembled, TokenizerError> {
        let known = CLASSES.iter().find(|(_, known)| known.is(class));
        let (_, known) =
            known.ok_or_else(|| unusable(path, format!("no class `{class}`").into()))?;
        let bytes = bytes_of(path)?;
        let model = ModelFile::parse(&bytes).map_err(|source| unusable(path, Box::new(source)))?;
        let settings = Settings::read(files)?;
        guarded(|| known.assemble(&model, settings))
            .unwrap_or_else(|message| Err(message.into()))
            .map_err(|source| unusable(path, source))
    }
}
