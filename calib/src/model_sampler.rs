//! Text written by the model itself: one token at a time from the full distribution.

use crate::data::{DataError, TokenSampler};
use crate::key_value_cache::KeyValueCache;
use crate::sampling::{generator, unit};
use crate::{Model, NextTokens, Stage, StageError, WeightSource};
use burn::tensor::Device;
use quantizers::scratch::Scratch;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;
use rayon::prelude::*;

/// Sequences that run together. Fixed, so that the arithmetic is the same on any number of threads.
const BATCH: usize = 16;

/// Samples from a decoder at temperature 1 without cutting the distribution: calibration wants the
/// inputs the model finds likely in their own proportions, not its best text.
///
/// Every sequence starts with the begin-of-sequence token, or a token drawn uniformly where the model
/// has none; after an end-of-sequence token the next document begins in the same way. All stages are
/// in cache while it samples.
pub struct ModelSampler<'a> {
    model: &'a dyn Model,
    source: &'a dyn WeightSource,
    device: Device,
    begin: Option<u32>,
    ends: Vec<u32>,
}

impl<'a> ModelSampler<'a> {
    /// Prepares `model` over `source`; reads no weight yet.
    ///
    /// `begin` and `ends` are the begin- and end-of-sequence tokens of its tokenizer.
    pub fn new(
        model: &'a dyn Model,
        source: &'a dyn WeightSource,
        device: Device,
        begin: Option<u32>,
        ends: Vec<u32>,
    ) -> Self {
        Self {
            model,
            source,
            device,
            begin,
            ends,
        }
    }

    /// Size of the vocabulary, for models that predict tokens and have room for `length` of them.
    fn check(&self, length: usize) -> Result<u32, DataError> {
        if let Some(found) = self.model.output().instead_of_next_token() {
            return Err(DataError::NotADecoder { found });
        }
        if let Some(limit) = self.model.max_positions().filter(|&limit| length > limit) {
            return Err(StageError::TooLong {
                found: length,
                limit,
            }
            .into());
        }
        self.model
            .vocabulary()
            .and_then(|size| u32::try_from(size).ok())
            .filter(|&size| size > 0)
            .ok_or(DataError::NotADecoder {
                found: "has no vocabulary",
            })
    }

    fn first(&self, vocabulary: u32, generator: &mut ChaCha8Rng) -> u32 {
        self.begin.unwrap_or_else(|| {
            // The high half of a 32 x 32 bit product is uniform below `vocabulary` to 2^-32.
            let product = u64::from(generator.next_u32()) * u64::from(vocabulary);
            u32::try_from(product >> 32).unwrap_or(0)
        })
    }

    fn batch(
        &self,
        stages: &[Box<dyn Stage>],
        indices: std::ops::Range<usize>,
        length: usize,
        seed: u64,
        vocabulary: u32,
    ) -> Result<Vec<Vec<u32>>, DataError> {
        let mut generators: Vec<ChaCha8Rng> = indices
            .clone()
            .map(|index| generator("synthetic", seed, index as u64))
            .collect();
        let mut sequences: Vec<Vec<u32>> = generators
            .iter_mut()
            .map(|generator| {
                let mut sequence = Vec::with_capacity(length);
                sequence.push(self.first(vocabulary, generator));
                sequence
            })
            .collect();
        let of_stage = |_| {
            let each = sequences.iter().map(|_| KeyValueCache::default());
            each.collect::<Vec<_>>()
        };
        let mut caches: Vec<Vec<KeyValueCache>> = stages.iter().map(of_stage).collect();
        for _ in 1..length {
            let logits = self.logits(stages, &mut caches, &sequences)?;
            let rows = logits.chunks_exact(logits.len() / sequences.len());
            for ((sequence, generator), row) in sequences.iter_mut().zip(&mut generators).zip(rows)
            {
                let ended = sequence.last().is_some_and(|last| self.ends.contains(last));
                let next = match self.begin {
                    // A model whose documents begin and end alike is past both already.
                    Some(begin) if ended && sequence.last() != Some(&begin) => begin,
                    None if ended => self.first(vocabulary, generator),
                    _ => draw(row, generator).ok_or(DataError::NotFinite {
                        position: sequence.len(),
                    })?,
                };
                sequence.push(next);
            }
        }
        Ok(sequences)
    }

    /// Logits after the last token of each sequence, `[batch, vocabulary]`.
    fn logits(
        &self,
        stages: &[Box<dyn Stage>],
        caches: &mut [Vec<KeyValueCache>],
        sequences: &[Vec<u32>],
    ) -> Result<Scratch<f32>, DataError> {
        let last = sequences.iter().filter_map(|s| s.last().copied());
        let mut next = NextTokens::Ids(last.collect::<Vec<u32>>().into());
        for (stage, caches) in stages.iter().zip(caches) {
            let mut each: Vec<&mut KeyValueCache> = caches.iter_mut().collect();
            next = stage.next_of_each(next, &mut each, &self.device)?;
        }
        Ok(next.into_rows(|| "logits".to_owned())?)
    }
}

impl TokenSampler for ModelSampler<'_> {
    fn sample(
        &mut self,
        count: usize,
        length: usize,
        seed: u64,
    ) -> Result<Vec<Vec<u32>>, DataError> {
        let vocabulary = self.check(length)?;
        if count == 0 || length == 0 {
            return Ok(vec![Vec::new(); count]);
        }
        let stages: Vec<Box<dyn Stage>> = (0..self.model.stages())
            .map(|stage| self.model.build(stage, self.source, &self.device))
            .collect::<Result<_, _>>()?;
        let batches: Vec<Vec<Vec<u32>>> = (0..count.div_ceil(BATCH))
            .into_par_iter()
            .map(|batch| {
                let indices = batch * BATCH..count.min((batch + 1) * BATCH);
                self.batch(&stages, indices, length, seed, vocabulary)
            })
            .collect::<Result<_, _>>()?;
        Ok(batches.into_iter().flatten().collect())
    }
}

/// One index with probability `softmax(logits)`, by inversion in f64; `None` where that is not finite.
fn draw(logits: &[f32], generator: &mut ChaCha8Rng) -> Option<u32> {
    let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weight = |&logit: &f32| (f64::from(logit) - f64::from(highest)).exp();
    let total: f64 = logits.iter().map(weight).sum();
    if !total.is_finite() {
        return None;
    }
    let mut left = unit(generator) * total;
    let mut last = 0;
    for (index, logit) in logits.iter().enumerate() {
        let weight = weight(logit);
        if weight > 0.0 {
            last = index;
            if left < weight {
                break;
            }
            left -= weight;
        }
    }
    u32::try_from(last).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_follow_the_distribution() {
        // softmax(ln 1, ln 3, -inf) = 1/4, 3/4, 0.
        let logits = [0.0, 3.0_f32.ln(), f32::NEG_INFINITY];
        let mut generator = generator("test", 0, 0);
        let mut counts = [0; 3];
        for _ in 0..4000 {
            counts[draw(&logits, &mut generator).unwrap() as usize] += 1;
        }
        assert_eq!(counts[2], 0);
        // Standard deviation of the count is 27.
        assert!((900..1100).contains(&counts[0]), "{counts:?}");
    }

    #[test]
    fn logits_that_are_not_finite_are_noticed() {
        let mut generator = generator("test", 0, 0);
        assert_eq!(draw(&[f32::NAN, 0.0], &mut generator), None);
        assert_eq!(draw(&[f32::INFINITY, 0.0], &mut generator), None);
        assert_eq!(draw(&[f32::NEG_INFINITY; 2], &mut generator), None);
    }
}
