//! Cutting text into token sequences, and drawing some of them.

use crate::data::DataError;
use crate::tokenizer::Tokenizer;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

/// How a text becomes sequences: the keys of `[calibration]` and `[[evaluate]]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TextMode {
    /// The whole text as one stream without special tokens, cut in windows of equal length.
    Windows {
        /// Tokens between the starts of two windows; the window length unless given.
        stride: Option<usize>,
    },
    /// The text split at a separator; each part after a begin-of-sequence token, cut at the length.
    Documents {
        /// What stands between documents.
        separator: String,
    },
}

impl Default for TextMode {
    fn default() -> Self {
        Self::Windows { stride: None }
    }
}

/// What conversations become before they are tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Template {
    /// What the model's chat template makes of them.
    #[default]
    Chat,
    /// The contents of their messages, a line each.
    None,
}

impl Template {
    /// Whether the model's template renders conversations: the usual, which a plan does not mention.
    pub fn is_chat(&self) -> bool {
        *self == Self::Chat
    }
}

/// Which of the sequences are taken where there are more than wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Selection {
    /// The first.
    #[default]
    First,
    /// Drawn without replacement with the seed, kept in their order.
    Random,
}

/// Windows of `length` tokens, `stride` apart; a last shorter one is dropped.
///
/// # Panics
/// `length` or `stride` is 0.
pub fn windows(tokens: &[u32], length: usize, stride: usize) -> Vec<Vec<u32>> {
    assert!(
        length > 0 && stride > 0,
        "windows and their distance hold tokens"
    );
    tokens
        .windows(length)
        .step_by(stride)
        .map(<[u32]>::to_vec)
        .collect()
}

/// The parts of `text` between separators, white space around them and empty ones dropped.
pub fn split_documents<'a>(text: &'a str, separator: &'a str) -> impl Iterator<Item = &'a str> {
    let parts: Vec<&str> = if separator.is_empty() {
        vec![text]
    } else {
        text.split(separator).collect()
    };
    parts
        .into_iter()
        .map(str::trim)
        .filter(|part| !part.is_empty())
}

/// Each document of `text` as a begin-of-sequence token and its ids, uncut. Where the text writes that token or an
/// end-of-sequence token around its documents, they are not taken for text.
///
/// # Errors
/// The tokenizer names no begin-of-sequence token or refuses a document.
pub fn documents(
    text: &str,
    separator: &str,
    tokenizer: &Tokenizer,
) -> Result<Vec<Vec<u32>>, DataError> {
    let begin = tokenizer.begin().ok_or(DataError::NoBeginToken)?;
    let written = tokenizer.token(begin).filter(|token| token.len() > 2);
    let ends: Vec<String> = tokenizer
        .ends()
        .iter()
        .filter_map(|&end| tokenizer.token(end))
        .filter(|token| token.len() > 2)
        .collect();
    split_documents(text, separator)
        .map(|document| {
            let begun = written.as_deref().unwrap_or_default();
            let document = document.strip_prefix(begun).unwrap_or(document);
            let ended = ends
                .iter()
                .find_map(|end| document.strip_suffix(end.as_str()));
            let document = ended.unwrap_or(document).trim();
            let mut ids = vec![begin];
            ids.extend(tokenizer.encode(document)?);
            Ok(ids)
        })
        .collect()
}

/// Token sequences of `text` by `mode`, at most `length` tokens each.
///
/// Windows hold exactly `length`; documents are cut at it and hold at least two tokens.
///
/// # Errors
/// As [`documents`]; a text that gives no sequence at all, named by `origin`.
pub fn text_sequences(
    text: &str,
    mode: &TextMode,
    length: usize,
    tokenizer: &Tokenizer,
    origin: &str,
) -> Result<Vec<Vec<u32>>, DataError> {
    let (sequences, found) = match mode {
        TextMode::Windows { stride } => {
            let tokens = tokenizer.encode(text)?;
            (
                windows(&tokens, length, stride.unwrap_or(length)),
                tokens.len(),
            )
        }
        TextMode::Documents { separator } => {
            let mut documents = documents(text, separator, tokenizer)?;
            let found = documents.iter().map(Vec::len).sum();
            for document in &mut documents {
                document.truncate(length);
            }
            documents.retain(|document| document.len() > 1);
            (documents, found)
        }
    };
    if sequences.is_empty() {
        return Err(DataError::TooShort {
            origin: origin.to_owned(),
            needed: length,
            found,
        });
    }
    Ok(sequences)
}

/// A beginning of `text` that holds its first `samples` sequences, so that a few of them do not
/// cost the tokens of a whole corpus. Windows near its end are not among them: what is cut away may
/// change the tokens there.
///
/// # Errors
/// The tokenizer refuses the text.
pub(crate) fn beginning<'a>(
    text: &'a str,
    mode: &TextMode,
    length: usize,
    samples: usize,
    tokenizer: &Tokenizer,
) -> Result<&'a str, DataError> {
    match mode {
        TextMode::Documents { separator } if !separator.is_empty() => {
            let (mut start, mut found) = (0, 0);
            for (at, separator) in text.match_indices(separator.as_str()) {
                found += usize::from(!text[start..at].trim().is_empty());
                if found == samples {
                    return Ok(&text[..at]);
                }
                start = at + separator.len();
            }
            Ok(text)
        }
        TextMode::Documents { .. } => Ok(text),
        TextMode::Windows { stride } => {
            const MARGIN: usize = 256;
            let wanted = samples
                .saturating_mul(stride.unwrap_or(length))
                .saturating_add(length + MARGIN);
            let mut bytes = wanted.saturating_mul(6);
            while bytes < text.len() {
                let part = &text[..text.floor_char_boundary(bytes)];
                if tokenizer.encode(part)?.len() >= wanted {
                    return Ok(part);
                }
                bytes *= 2;
            }
            Ok(text)
        }
    }
}

/// Indices of `count` of `available` things, ascending; all of them where there are fewer.
pub fn select(available: usize, count: usize, selection: Selection, seed: u64) -> Vec<usize> {
    match selection {
        Selection::First => (0..available.min(count)).collect(),
        Selection::Random => {
            // The things with the smallest of equally likely keys: a draw without replacement.
            let mut generator = generator("select", seed, 0);
            let mut keyed: Vec<(u64, usize)> = (0..available)
                .map(|index| (generator.next_u64(), index))
                .collect();
            keyed.sort_unstable();
            keyed.truncate(count);
            let mut chosen: Vec<usize> = keyed.into_iter().map(|(_, index)| index).collect();
            chosen.sort_unstable();
            chosen
        }
    }
}

/// A random generator of its own for every (purpose, seed, index).
pub(crate) fn generator(purpose: &str, seed: u64, index: u64) -> ChaCha8Rng {
    let mut hasher = blake3::Hasher::new();
    hasher
        .update(&seed.to_le_bytes())
        .update(&index.to_le_bytes())
        .update(purpose.as_bytes());
    ChaCha8Rng::from_seed(*hasher.finalize().as_bytes())
}

/// A number in 0..1: 53 random bits, a multiple of 2^-53.
pub(crate) fn unit(generator: &mut ChaCha8Rng) -> f64 {
    (generator.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
}

/// A number with mean 0 and variance 1 of the normal distribution (Box & Muller 1958).
pub(crate) fn normal(generator: &mut ChaCha8Rng) -> f64 {
    // 1 - u is never 0.
    let radius = (-2.0 * (1.0 - unit(generator)).ln()).sqrt();
    radius * (std::f64::consts::TAU * unit(generator)).cos()
}

/// Groups of indices of equal length for batches without padding, at most `limit` per group.
///
/// Lengths keep the order of their first appearance, indices their own.
///
/// # Panics
/// `limit` is 0.
pub fn equal_length_batches(lengths: &[usize], limit: usize) -> Vec<Vec<usize>> {
    assert!(limit > 0, "a batch holds something");
    let mut order: Vec<usize> = Vec::new();
    let mut groups: std::collections::BTreeMap<usize, Vec<usize>> =
        std::collections::BTreeMap::new();
    for (index, &length) in lengths.iter().enumerate() {
        groups.entry(length).or_insert_with(|| {
            order.push(length);
            Vec::new()
        });
        groups.entry(length).and_modify(|group| group.push(index));
    }
    order
        .iter()
        .flat_map(|length| groups[length].chunks(limit).map(<[usize]>::to_vec))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn windows_drop_the_rest() {
        let tokens: Vec<u32> = (0..10).collect();
        assert_eq!(windows(&tokens, 4, 4), [[0, 1, 2, 3], [4, 5, 6, 7]]);
        assert_eq!(windows(&tokens, 4, 3).len(), 3);
        assert!(windows(&tokens, 11, 1).is_empty());
    }

    #[test]
    fn documents_are_stripped_and_empty_ones_dropped() {
        let parts: Vec<&str> = split_documents(" a b<|>\n<|> c\n", "<|>").collect();
        assert_eq!(parts, ["a b", "c"]);
        assert_eq!(split_documents("a b", "").count(), 1);
    }

    #[test]
    fn batches_hold_one_length() {
        let batches = equal_length_batches(&[5, 3, 5, 5, 3], 2);
        assert_eq!(batches, [vec![0, 2], vec![3], vec![1, 4]]);
    }

    #[test]
    fn a_draw_is_fixed_by_its_seed() {
        let draw = |seed| select(1000, 10, Selection::Random, seed);
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        assert_eq!(select(3, 10, Selection::First, 0), [0, 1, 2]);
    }

    proptest! {
        #[test]
        fn draws_are_ascending_distinct_and_in_range(n in 0usize..200, k in 0usize..250, seed: u64) {
            let chosen = select(n, k, Selection::Random, seed);
            prop_assert_eq!(chosen.len(), n.min(k));
            prop_assert!(chosen.windows(2).all(|pair| pair[0] < pair[1]));
            prop_assert!(chosen.iter().all(|&index| index < n));
        }

        #[test]
        fn batches_hold_every_index_once(lengths in prop::collection::vec(0usize..6, 0..40), limit in 1usize..7) {
            let batches = equal_length_batches(&lengths, limit);
            let mut all: Vec<usize> = batches.iter().flatten().copied().collect();
            all.sort_unstable();
            prop_assert_eq!(all, (0..lengths.len()).collect::<Vec<_>>());
            for batch in batches {
                prop_assert!(batch.len() <= limit && !batch.is_empty());
                prop_assert!(batch.iter().all(|&index| lengths[index] == lengths[batch[0]]));
            }
        }
    }
}
