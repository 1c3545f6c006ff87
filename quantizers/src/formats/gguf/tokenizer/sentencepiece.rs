//! BPE of sentencepiece (`llama`): pieces with scores, from which the merges follow.

use super::super::header::Header;
use super::super::values::Value as Stored;
use super::Parts;
use super::vocabulary::{Kind, Vocabulary};
use serde_json::{Value, json};
use std::cmp::Reverse;
use std::collections::HashMap;

/// What stands for a space in pieces.
const SPACE: &str = "\u{2581}";

/// The parts of `tokenizer.json`.
///
/// # Errors
/// No scores, or another number of them than there are pieces.
pub(super) fn parts(header: &Header<'_>, vocabulary: &Vocabulary) -> Result<Parts, String> {
    let scores = header
        .array("tokenizer.ggml.scores")
        .ok_or("it has no `tokenizer.ggml.scores`")?;
    if scores.len() != vocabulary.tokens.len() {
        return Err(format!(
            "tokenizer.ggml.scores: expected {} entries, found {}",
            vocabulary.tokens.len(),
            scores.len()
        ));
    }
    let architecture = header.text("general.architecture").unwrap_or_default();
    let by_place = architecture.starts_with("gemma");
    let scores: Vec<f64> = scores
        .elements()
        .enumerate()
        .map(|(place, score)| match score {
            // Its scores do not follow the order its merges were found in; its ids do.
            _ if by_place => -(place as f64),
            Stored::Float(score) => score,
            other => other.number().map_or(0.0, |number| number as f64),
        })
        .collect();
    let prefix = header
        .flag("tokenizer.ggml.add_space_prefix")
        .unwrap_or(true);
    let unknown = vocabulary.named(header, "unknown").map(|(_, token)| token);
    let replace = |from: &str, to: &str| json!({ "type": "Replace", "pattern": { "String": from }, "content": to });
    let mut normalizers = vec![replace(" ", SPACE)];
    let mut decoders = vec![
        replace(SPACE, " "),
        json!({ "type": "ByteFallback" }),
        json!({ "type": "Fuse" }),
    ];
    if prefix {
        normalizers.insert(0, json!({ "type": "Prepend", "prepend": SPACE }));
        decoders.push(json!({ "type": "Strip", "content": " ", "start": 1, "stop": 0 }));
    }
    Ok(Parts {
        model: json!({
            "type": "BPE",
            "dropout": null,
            "unk_token": unknown,
            "continuing_subword_prefix": null,
            "end_of_word_suffix": null,
            "fuse_unk": true,
            "byte_fallback": true,
            "ignore_merges": false,
            "vocab": vocabulary.ids(),
            "merges": merges(vocabulary, &scores),
        }),
        normalizer: json!({ "type": "Sequence", "normalizers": normalizers }),
        pre_tokenizer: Value::Null,
        decoder: json!({ "type": "Sequence", "decoders": decoders }),
        add_begin: true,
    })
}

/// Every way to put a piece together from two, best first: by the score of the piece, then by the lengths of its
/// parts. Sentencepiece merges the neighbours that make the piece of the highest score, which comes to the same.
fn merges(vocabulary: &Vocabulary, scores: &[f64]) -> Vec<Value> {
    let is_piece = |kind: Kind| matches!(kind, Kind::Normal | Kind::UserDefined | Kind::Unused);
    let pieces = vocabulary.tokens.iter().zip(&vocabulary.kinds).enumerate();
    let pieces = pieces.filter(|(_, (_, kind))| is_piece(**kind));
    let ids: HashMap<&str, usize> = pieces
        .map(|(id, (token, _))| (token.as_str(), id))
        .collect();
    let mut found: Vec<(usize, &str, &str)> = Vec::new();
    for (id, token) in vocabulary.tokens.iter().enumerate() {
        if ids.get(token.as_str()) != Some(&id) {
            continue;
        }
        let cuts = token
            .char_indices()
            .skip(1)
            .map(|(at, _)| token.split_at(at));
        let mut of_token: Vec<(usize, usize)> = cuts
            .filter_map(|(left, right)| Some((*ids.get(left)?, *ids.get(right)?)))
            .collect();
        of_token.sort_unstable();
        let parts = of_token.into_iter();
        found.extend(parts.map(|(left, right)| {
            (
                id,
                vocabulary.tokens[left].as_str(),
                vocabulary.tokens[right].as_str(),
            )
        }));
    }
    let length = |text: &str| Reverse(text.chars().count());
    found.sort_by(|a, b| {
        let by_score = scores[b.0].total_cmp(&scores[a.0]);
        by_score
            .then_with(|| length(a.1).cmp(&length(b.1)))
            .then_with(|| length(a.2).cmp(&length(b.2)))
    });
    let pairs = found.into_iter();
    pairs.map(|(_, left, right)| json!([left, right])).collect()
}
