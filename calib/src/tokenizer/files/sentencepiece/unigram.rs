//! Classes that read a sentencepiece model as unigrams: T5, XLM-RoBERTa, `CamemBERT`, ALBERT, DeBERTa-v2.

use super::super::super::assembly::{Pipeline, part};
use super::super::super::settings::{Settings, Special};
use super::generic::{added_pieces, charsmap};
use super::model_file::ModelFile;
use serde_json::{Value, json};
use tokenizers::models::unigram::Unigram;
use tokenizers::normalizers::Sequence;
use tokenizers::{Error, NormalizerWrapper};

/// Pieces with their scores.
type Vocabulary = Vec<(String, f64)>;

fn pieces(model: &ModelFile) -> Vocabulary {
    let pieces = model.pieces.iter();
    pieces
        .map(|piece| (piece.text.clone(), f64::from(piece.score)))
        .collect()
}

/// The end of a model's vocabulary behind other first pieces, and a last one.
fn behind(first: Vec<(String, f64)>, model: &ModelFile, skip: usize, last: String) -> Vocabulary {
    let mut all = first;
    all.extend(pieces(model).into_iter().skip(skip));
    all.push((last, 0.0));
    all
}

/// Cuts at white space and writes `▁` before words.
fn words(scheme: &str) -> Value {
    json!({ "type": "Sequence", "pretokenizers": [{ "type": "WhitespaceSplit" }, metaspace(scheme)] })
}

fn metaspace(scheme: &str) -> Value {
    json!({ "type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": true })
}

/// The scheme of a class that puts a space before a text unless told not to.
fn scheme(settings: &Settings, otherwise: &'static str) -> &'static str {
    if settings.flag("add_prefix_space", true) {
        "always"
    } else {
        otherwise
    }
}

fn pipeline(
    vocabulary: Vocabulary,
    unknown: usize,
    normalizer: Option<NormalizerWrapper>,
    cut: Value,
    scheme: &str,
    extra: Vec<Special>,
) -> Result<Pipeline, Error> {
    Ok(Pipeline {
        model: Unigram::from(vocabulary, Some(unknown), false)?.into(),
        normalizer,
        pre_tokenizer: Some(part(cut)?),
        decoder: Some(part(metaspace(scheme))?),
        first: Vec::new(),
        extra: Some(extra),
    })
}

pub(super) fn t5(model: &ModelFile, settings: &mut Settings) -> Result<Pipeline, Error> {
    let count = settings.number("extra_ids", 100);
    let text = |number: usize| format!("<extra_id_{number}>");
    let mut vocabulary = pieces(model);
    vocabulary.extend((0..count).rev().map(|number| (text(number), 0.0)));
    let mut extra = added_pieces(model);
    if !extra
        .iter()
        .any(|token| token.text().contains("<extra_id_"))
    {
        extra.extend((0..count).map(|number| Special::Text(text(number))));
    }
    pipeline(
        vocabulary,
        2,
        charsmap(model)?,
        words("always"),
        "always",
        extra,
    )
}

pub(super) fn xlm_roberta(model: &ModelFile, settings: &mut Settings) -> Result<Pipeline, Error> {
    let special = [
        ("bos_token", "<s>"),
        ("pad_token", "<pad>"),
        ("eos_token", "</s>"),
        ("unk_token", "<unk>"),
    ];
    let first = special
        .map(|(key, text)| (settings.text(key, text), 0.0))
        .to_vec();
    let vocabulary = behind(first, model, 3, settings.text("mask_token", "<mask>"));
    let scheme = scheme(settings, "never");
    pipeline(
        vocabulary,
        3,
        charsmap(model)?,
        words(scheme),
        scheme,
        added_pieces(model),
    )
}

pub(super) fn camembert(model: &ModelFile, settings: &mut Settings) -> Result<Pipeline, Error> {
    let unknown = settings.text("unk_token", "<unk>");
    let first = vec![
        ("<s>NOTUSED".to_owned(), 0.0),
        (settings.text("pad_token", "<pad>"), 0.0),
        ("</s>NOTUSED".to_owned(), 0.0),
        (unknown.clone(), 0.0),
        ("<unk>NOTUSED".to_owned(), -100.0),
    ];
    let vocabulary = behind(first, model, 1, settings.text("mask_token", "<mask>"));
    let place = vocabulary
        .iter()
        .position(|(text, _)| *text == unknown)
        .unwrap_or(0);
    let scheme = scheme(settings, "never");
    pipeline(
        vocabulary,
        place,
        charsmap(model)?,
        words(scheme),
        scheme,
        added_pieces(model),
    )
}

pub(super) fn albert(model: &ModelFile, settings: &mut Settings) -> Result<Pipeline, Error> {
    let mut steps: Vec<NormalizerWrapper> = Vec::new();
    for quote in ["``", "''"] {
        steps.push(part(
            json!({ "type": "Replace", "pattern": { "String": quote }, "content": "\"" }),
        )?);
    }
    if !settings.flag("keep_accents", false) {
        steps.push(part(json!({ "type": "NFKD" }))?);
        steps.push(part(json!({ "type": "StripAccents" }))?);
    }
    if settings.flag("do_lower_case", true) {
        steps.push(part(json!({ "type": "Lowercase" }))?);
    }
    steps.extend(charsmap(model)?);
    let scheme = scheme(settings, "never");
    let normalizer = Some(Sequence::new(steps).into());
    pipeline(
        pieces(model),
        1,
        normalizer,
        words(scheme),
        scheme,
        added_pieces(model),
    )
}

pub(super) fn deberta_v2(model: &ModelFile, settings: &mut Settings) -> Result<Pipeline, Error> {
    let vocabulary = pieces(model);
    let unknown = settings.text("unk_token", "[UNK]");
    let scored = |(text, score): &(String, f64)| *text == unknown && score.abs() == 0.0;
    let place = vocabulary.iter().position(scored).unwrap_or(model.unknown);
    let mut steps = vec![
        json!({ "type": "Replace", "pattern": { "Regex": r"\s{2,}|[\n\r\t]" }, "content": " " }),
        json!({ "type": "NFC" }),
        json!({ "type": "Strip", "strip_left": false, "strip_right": true }),
    ];
    if settings.flag("do_lower_case", false) {
        steps.insert(0, json!({ "type": "Lowercase" }));
    }
    let normalizer = Some(part(json!({ "type": "Sequence", "normalizers": steps }))?);
    let scheme = scheme(settings, "first");
    let mut cuts = vec![metaspace(scheme)];
    if settings.flag("split_by_punct", false) {
        cuts.insert(0, json!({ "type": "Punctuation", "behavior": "Isolated" }));
    }
    let cut = json!({ "type": "Sequence", "pretokenizers": cuts });
    pipeline(
        vocabulary,
        place,
        normalizer,
        cut,
        scheme,
        added_pieces(model),
    )
}
