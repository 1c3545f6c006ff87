//! A sentencepiece model for a folder without a class of its own: the model's own settings decide.

use super::super::super::assembly::{Pipeline, part};
use super::super::super::settings::{Settings, Special};
use super::merges;
use super::model_file::{Algorithm, ModelFile, PieceKind};
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::models::unigram::Unigram;
use tokenizers::normalizers::{Precompiled, Sequence};
use tokenizers::{AddedToken, Error, ModelWrapper, NormalizerWrapper};

pub(super) fn pipeline(model: &ModelFile, settings: &mut Settings) -> Result<Pipeline, Error> {
    let normalizer = &model.normalizer;
    let legacy = settings.flag_unless_null("legacy", true);
    let texts = texts(model, settings);
    let user: Vec<&str> = model
        .of_kind(PieceKind::UserDefined)
        .map(|(id, _)| texts[id].as_str())
        .collect();
    let mut steps: Vec<Value> = Vec::new();
    if normalizer.extra_whitespace {
        steps.push(
            json!({ "type": "Replace", "pattern": { "Regex": r"\A +| +\z" }, "content": "" }),
        );
        steps.push(json!({ "type": "Replace", "pattern": { "Regex": " {2,}" }, "content": " " }));
    }
    if normalizer.escape {
        steps.push(json!({ "type": "Replace", "pattern": { "String": " " }, "content": "▁" }));
    }
    if normalizer.dummy_prefix && legacy {
        // `Metaspace` puts no prefix before a text that begins with one; sentencepiece does.
        steps.push(json!({ "type": "Replace", "pattern": { "Regex": r"\A▁" }, "content": "▁▁" }));
    }
    let mut normalizers = charsmap(model)?.into_iter().collect::<Vec<_>>();
    for step in steps {
        normalizers.push(part(step)?);
    }
    let mut cuts = Vec::new();
    if normalizer.dummy_prefix {
        let scheme = if legacy { "always" } else { "first" };
        cuts.push(json!({ "type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": false }));
    }
    if !user.is_empty() {
        let mut longest = user.clone();
        longest.sort_by_key(|text| std::cmp::Reverse(text.chars().count()));
        let pattern = longest
            .into_iter()
            .map(escape)
            .collect::<Vec<_>>()
            .join("|");
        cuts.push(json!({ "type": "Split", "pattern": { "Regex": pattern }, "behavior": "Isolated", "invert": false }));
    }
    let cut = (!cuts.is_empty()).then(|| json!({ "type": "Sequence", "pretokenizers": cuts }));
    let pre_tokenizer = cut.map(part).transpose()?;
    let decoder = part(json!({ "type": "Sequence", "decoders": decoders(model) }))?;
    let built = vocabulary(model, &texts, !user.is_empty())?;
    // Added tokens are found in the raw text, so that each part between them gets its own prefix.
    if normalizer.dummy_prefix {
        for token in settings.added.values_mut() {
            token.normalized = false;
        }
    }
    let named = [
        ("bos_token", &model.begin),
        ("eos_token", &model.end),
        ("unk_token", &Some(model.unknown_piece.clone())),
    ];
    for (key, text) in named {
        if let Some(text) = text {
            settings.set_default(key, text);
        }
    }
    Ok(Pipeline {
        model: built,
        normalizer: Some(Sequence::new(normalizers).into()),
        pre_tokenizer,
        decoder: Some(decoder),
        first: Vec::new(),
        extra: Some(control_pieces(model)),
    })
}

/// The pieces as the vocabulary names them: an added token with a piece's id takes its place.
fn texts(model: &ModelFile, settings: &Settings) -> Vec<String> {
    let renamed = |id: usize| settings.added.get(&u32::try_from(id).ok()?);
    let pieces = model.pieces.iter().enumerate();
    let kept: HashSet<&str> = (pieces.clone().filter(|(id, _)| renamed(*id).is_none()))
        .map(|(_, piece)| piece.text.as_str())
        .collect();
    let text = |(id, piece): (usize, &super::model_file::Piece)| match renamed(id) {
        Some(token) if !kept.contains(token.content.as_str()) => token.content.clone(),
        _ => piece.text.clone(),
    };
    pieces.map(text).collect()
}

/// The model over the pieces.
fn vocabulary(model: &ModelFile, texts: &[String], whole: bool) -> Result<ModelWrapper, Error> {
    if model.algorithm == Algorithm::Unigram {
        let scores = model.pieces.iter().map(|piece| f64::from(piece.score));
        // Unigram vocabularies keep the names of the model.
        let pieces = model
            .pieces
            .iter()
            .map(|piece| piece.text.clone())
            .zip(scores)
            .collect();
        return Ok(Unigram::from(pieces, Some(model.unknown), model.byte_fallback)?.into());
    }
    let ids = texts.iter().zip(0..);
    let vocabulary: HashMap<String, u32> = ids.map(|(text, id)| (text.clone(), id)).collect();
    Ok(BPE::builder()
        .vocab_and_merges(
            vocabulary.into_iter().collect::<Vocab>(),
            merges::by_score(model, texts),
        )
        .unk_token(model.unknown_piece.clone())
        .fuse_unk(true)
        .byte_fallback(model.byte_fallback)
        .ignore_merges(whole)
        .build()?
        .into())
}

/// The table of replacements of a model, if it has one.
pub(super) fn charsmap(model: &ModelFile) -> Result<Option<NormalizerWrapper>, Error> {
    let table = model.normalizer.charsmap.as_slice();
    if table.is_empty() {
        return Ok(None);
    }
    let table =
        Precompiled::from(table).map_err(|error| format!("precompiled_charsmap: {error}"))?;
    Ok(Some(table.into()))
}

/// Control pieces as special tokens.
fn control_pieces(model: &ModelFile) -> Vec<Special> {
    let control = model.of_kind(PieceKind::Control);
    control
        .map(|(_, piece)| Special::Token(AddedToken::from(piece.text.clone(), true)))
        .collect()
}

/// Control pieces and those a user named, in the order of their ids.
pub(super) fn added_pieces(model: &ModelFile) -> Vec<Special> {
    let token = |piece: &super::model_file::Piece| match piece.kind {
        PieceKind::Control => Some(AddedToken::from(piece.text.clone(), true)),
        PieceKind::UserDefined => {
            Some(AddedToken::from(piece.text.clone(), false).normalized(false))
        }
        PieceKind::Normal | PieceKind::Other => None,
    };
    model
        .pieces
        .iter()
        .filter_map(token)
        .map(Special::Token)
        .collect()
}

fn decoders(model: &ModelFile) -> Vec<Value> {
    let mut steps =
        vec![json!({ "type": "Replace", "pattern": { "String": "▁" }, "content": " " })];
    if model.byte_fallback {
        steps.push(json!({ "type": "ByteFallback" }));
    }
    if model.normalizer.dummy_prefix || model.byte_fallback {
        steps.push(json!({ "type": "Fuse" }));
    }
    if model.normalizer.dummy_prefix {
        steps.push(json!({ "type": "Strip", "content": " ", "start": 1, "stop": 0 }));
    }
    steps
}

/// `text` as an expression that matches it alone.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        if r"\.+*?()|[]{}^$#&-~".contains(letter) {
            escaped.push('\\');
        }
        escaped.push(letter);
    }
    escaped
}
