//! Token sequences for text encoders: words drawn as often as a language uses them.

use crate::data::{DataError, TokenSampler};
use crate::sampling::{generator, normal, unit};
use crate::tokenizer::Tokenizer;
use crate::{StageError, WeightSource};
use rand_chacha::ChaCha8Rng;

/// Share of tokens of one character in English text: punctuation, digits, `a`, `i`.
const SINGLE: f64 = 0.2;
/// Offset of the law of Zipf and Mandelbrot: the word of rank r has a frequency like `1 / (r + 2.7)`
/// (Mandelbrot 1953).
const OFFSET: f64 = 2.7;
/// Median and spread of the logarithm of sentence lengths, which are close to log-normal
/// (Williams 1940).
const MEDIAN_LENGTH: f64 = 18.0;
const LENGTH_SPREAD: f64 = 0.7;
/// Every eighth sequence is as long as can be, so that every position is seen.
const LONGEST_EVERY: usize = 8;
/// Norm of a token's vector, in those of unused tokens, up to which it counts as never trained.
const UNTRAINED: f64 = 1.1;

/// Draws tokens independently of each other, with frequencies from two things the checkpoint tells:
///
/// * Trainers of vocabularies number tokens by falling frequency, so that the place of an id is its
///   rank; tokens of one character come before all others whatever their frequency, and are ranked
///   among themselves.
/// * Tokens no training text held still have the vector they began with: those not longer than the
///   vectors of the unused tokens are left out. Where that would leave fewer than half of them,
///   lengths tell nothing, and none is left out.
///
/// Special and unused tokens are never drawn; the tokenizer's special tokens stand around each
/// sequence. Without a tokenizer every id may be drawn, by its rank.
pub struct WordSampler<'a> {
    source: &'a dyn WeightSource,
    table: String,
    max_tokens: usize,
    tokenizer: Option<&'a Tokenizer>,
}

impl<'a> WordSampler<'a> {
    /// For an encoder with the token vectors `table` (`[vocabulary, width]` in `source`) that takes
    /// up to `max_tokens`; reads nothing yet.
    pub fn new(
        source: &'a dyn WeightSource,
        table: String,
        max_tokens: usize,
        tokenizer: Option<&'a Tokenizer>,
    ) -> Self {
        Self {
            source,
            table,
            max_tokens,
            tokenizer,
        }
    }

    /// The tokens that may be drawn.
    ///
    /// # Errors
    /// The table of token vectors cannot be read.
    pub fn frequencies(&self) -> Result<Frequencies, DataError> {
        let table = self
            .source
            .tensor(&self.table)
            .map_err(|error| DataError::Stage(error.into()))?;
        let rows = table.shape[0];
        let norm = |id: u32| -> f64 {
            let width = table.data.len() / rows;
            let row = &table.data[id as usize * width..][..width];
            let squares: f64 = row.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
            squares.sqrt()
        };
        let within = |id: &u32| (*id as usize) < rows;
        let Some(tokenizer) = self.tokenizer else {
            let ids = (0..u32::try_from(rows).unwrap_or(u32::MAX)).collect();
            return Ok(Frequencies::of(Vec::new(), ids));
        };
        let tokens = tokenizer.tokens();
        let mut free: Vec<f64> = tokens
            .unused
            .iter()
            .copied()
            .filter(within)
            .map(norm)
            .collect();
        free.sort_unstable_by(f64::total_cmp);
        let untrained = free
            .get(free.len() / 2)
            .map_or(0.0, |median| median * UNTRAINED);
        let mut ordinary = tokens.ordinary;
        ordinary.retain(|(id, _)| within(id));
        let trained = |(id, _): &&(u32, String)| norm(*id) > untrained;
        if ordinary.iter().filter(trained).count() >= ordinary.len().div_ceil(2) {
            ordinary.retain(|token| trained(&token));
        }
        let one = |(_, token): &(u32, String)| token.chars().nth(1).is_none();
        let (single, longer) = ordinary.into_iter().partition::<Vec<_>, _>(one);
        let [single, longer] =
            [single, longer].map(|list| list.into_iter().map(|(id, _)| id).collect());
        Ok(Frequencies::of(single, longer))
    }
}

impl TokenSampler for WordSampler<'_> {
    fn sample(
        &mut self,
        count: usize,
        length: usize,
        seed: u64,
    ) -> Result<Vec<Vec<u32>>, DataError> {
        let special = self.tokenizer.map_or(0, Tokenizer::special_count);
        if length > self.max_tokens {
            return Err(StageError::TooLong {
                found: length,
                limit: self.max_tokens,
            }
            .into());
        }
        let frequencies = self.frequencies()?;
        let room = length.saturating_sub(special);
        if room == 0 || frequencies.is_empty() {
            return Err(DataError::TooShort {
                origin: "synthetic".to_owned(),
                needed: special + 1,
                found: length,
            });
        }
        (0..count)
            .map(|index| {
                let mut generator = generator("synthetic words", seed, index as u64);
                let length = if index % LONGEST_EVERY == LONGEST_EVERY - 1 {
                    room
                } else {
                    sentence(room, &mut generator)
                };
                let ids: Vec<u32> = (0..length)
                    .map(|_| frequencies.draw(&mut generator))
                    .collect();
                Ok(match self.tokenizer {
                    Some(tokenizer) => tokenizer.surround(&ids)?,
                    None => ids,
                })
            })
            .collect()
    }
}

/// The length of a sentence, 1 to `longest`.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a positive number below the longest length, which is one"
)]
fn sentence(longest: usize, generator: &mut ChaCha8Rng) -> usize {
    let length = MEDIAN_LENGTH * (LENGTH_SPREAD * normal(generator)).exp();
    length.round().clamp(1.0, longest as f64) as usize
}

/// Tokens with the probability of each.
#[derive(Debug, Clone, PartialEq)]
pub struct Frequencies {
    ids: Vec<u32>,
    /// Running sums of the probabilities.
    sums: Vec<f64>,
}

impl Frequencies {
    /// Two lists of tokens in the order of their frequency: those of one character, which are a
    /// share of all, and the others.
    fn of(single: Vec<u32>, longer: Vec<u32>) -> Self {
        let share = match (single.is_empty(), longer.is_empty()) {
            (true, _) => 0.0,
            (false, true) => 1.0,
            (false, false) => SINGLE,
        };
        let mut frequencies = Self {
            ids: Vec::with_capacity(single.len() + longer.len()),
            sums: Vec::with_capacity(single.len() + longer.len()),
        };
        let mut sum = 0.0;
        for (list, share) in [(single, share), (longer, 1.0 - share)] {
            let weight = |rank: usize| 1.0 / (rank as f64 + 1.0 + OFFSET);
            let total: f64 = (0..list.len()).map(weight).sum();
            for (rank, id) in list.into_iter().enumerate() {
                sum += share * weight(rank) / total;
                frequencies.ids.push(id);
                frequencies.sums.push(sum);
            }
        }
        frequencies
    }

    /// Tokens that may be drawn.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    fn draw(&self, generator: &mut ChaCha8Rng) -> u32 {
        let at = unit(generator) * self.sums.last().copied().unwrap_or(0.0);
        let index = self.sums.partition_point(|&sum| sum <= at);
        self.ids[index.min(self.ids.len() - 1)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_follow_zipf_and_single_characters_are_a_fifth() {
        let frequencies = Frequencies::of(vec![7, 8], vec![20, 21, 22]);
        let mut generator = generator("test", 0, 0);
        let mut counts: std::collections::BTreeMap<u32, i32> = [].into();
        for _ in 0..20_000 {
            *counts.entry(frequencies.draw(&mut generator)).or_insert(0) += 1;
        }
        // 1/3.7, 1/4.7, 1/5.7 of 0.8: 0.3284, 0.2585, 0.2131 of the draws; standard deviations 66 at most.
        let expected = [(20, 6567), (21, 5170), (22, 4263)];
        for (id, expected) in expected {
            assert!((counts[&id] - expected).abs() < 250, "{id}: {counts:?}");
        }
        assert!((counts[&7] + counts[&8] - 4000).abs() < 250, "{counts:?}");
    }

    #[test]
    fn sentences_have_the_median_length_and_fit() {
        let mut generator = generator("test", 1, 0);
        let mut lengths: Vec<usize> = (0..2000).map(|_| sentence(60, &mut generator)).collect();
        lengths.sort_unstable();
        assert!((17..=19).contains(&lengths[1000]), "{}", lengths[1000]);
        assert!(lengths[0] >= 1 && lengths[1999] == 60);
    }
}
