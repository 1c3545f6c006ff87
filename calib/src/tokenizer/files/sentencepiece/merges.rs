//! Merges of a byte-pair vocabulary that lists only its pieces.

use super::model_file::{ModelFile, PieceKind};
use std::collections::HashMap;

/// Pairs of pieces that make a piece, those that make an earlier one first: what transformers' classes take.
pub(super) fn by_place(model: &ModelFile) -> Vec<(String, String)> {
    let pieces = model.pieces.iter().enumerate();
    let place: HashMap<&str, usize> = pieces
        .map(|(id, piece)| (piece.text.as_str(), id))
        .collect();
    let mut found = Vec::new();
    for (whole, text) in distinct(model.pieces.iter().map(|piece| piece.text.as_str()), &place) {
        for (length, (left, right)) in splits(text).enumerate() {
            if place.contains_key(left) && place.contains_key(right) {
                found.push((whole, length, left, right));
            }
        }
    }
    found.sort_unstable();
    owned(found.into_iter().map(|(.., left, right)| (left, right)))
}

/// Pairs of normal pieces that make one, those that make a piece of higher score first: what sentencepiece does.
/// `texts` are the pieces' texts as the vocabulary has them.
pub(super) fn by_score(model: &ModelFile, texts: &[String]) -> Vec<(String, String)> {
    let normal = model.of_kind(PieceKind::Normal);
    let place: HashMap<&str, usize> = normal.map(|(id, _)| (texts[id].as_str(), id)).collect();
    let mut found = Vec::new();
    for (whole, text) in distinct(texts.iter().map(String::as_str), &place) {
        let score = model.pieces[whole].score;
        for (left, right) in splits(text) {
            if place.contains_key(left) && place.contains_key(right) {
                found.push((score, whole, left, right));
            }
        }
    }
    found.sort_unstable_by(|a, b| {
        b.0.total_cmp(&a.0)
            .then_with(|| (a.1, a.2, a.3).cmp(&(b.1, b.2, b.3)))
    });
    owned(found.into_iter().map(|(.., left, right)| (left, right)))
}

/// The texts that are in the vocabulary, each at its place.
fn distinct<'t>(
    texts: impl Iterator<Item = &'t str>,
    place: &HashMap<&str, usize>,
) -> impl Iterator<Item = (usize, &'t str)> {
    let placed = |(id, text): &(usize, &str)| place.get(text) == Some(id);
    texts.enumerate().filter(placed)
}

/// The ways to cut a text in two, shorter left parts first.
fn splits(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.char_indices().skip(1).map(|(at, _)| text.split_at(at))
}

fn owned<'t>(pairs: impl Iterator<Item = (&'t str, &'t str)>) -> Vec<(String, String)> {
    pairs
        .map(|(left, right)| (left.to_owned(), right.to_owned()))
        .collect()
}
