//! Keys and values of calibration data.

use super::error::CacheError;
use super::shape::{CacheShape, Part};
use crate::MatrixRef;

/// Keys and values of one layer on calibration data: a matrix for each sequence, `[tokens, kv_heads dim]`, the first
/// row the first token; keys as the hook of the plan sees them.
#[derive(Debug, Clone, Copy, Default)]
pub struct CacheSamples<'a> {
    /// Keys.
    pub keys: &'a [MatrixRef<'a>],
    /// Values.
    pub values: &'a [MatrixRef<'a>],
    /// Gradients of the loss of each sequence (mean over its tokens) with respect to the keys, shaped as they are.
    pub key_gradients: Option<&'a [MatrixRef<'a>]>,
    /// The same for the values.
    pub value_gradients: Option<&'a [MatrixRef<'a>]>,
}

impl<'a> CacheSamples<'a> {
    /// The sequences of `part`.
    pub fn of(&self, part: Part) -> &'a [MatrixRef<'a>] {
        match part {
            Part::Keys => self.keys,
            Part::Values => self.values,
        }
    }

    /// The gradients of `part`.
    pub fn gradients(&self, part: Part) -> Option<&'a [MatrixRef<'a>]> {
        match part {
            Part::Keys => self.key_gradients,
            Part::Values => self.value_gradients,
        }
    }

    /// Refuses rows of another length than `shape` has, gradients of another shape than the samples, and values that
    /// are not finite.
    ///
    /// # Errors
    /// The first of them.
    pub fn check(&self, shape: CacheShape) -> Result<(), CacheError> {
        for part in Part::ALL {
            let samples = self.of(part);
            for (sequence, sample) in samples.iter().enumerate() {
                check_columns(part, sequence, *sample, shape.channels(part))?;
            }
            let Some(gradients) = self.gradients(part) else {
                continue;
            };
            if gradients.len() != samples.len() {
                return Err(CacheError::GradientSequences {
                    part,
                    expected: samples.len(),
                    found: gradients.len(),
                });
            }
            for (sequence, (gradient, sample)) in gradients.iter().zip(samples).enumerate() {
                if gradient.rows() != sample.rows() {
                    return Err(CacheError::GradientTokens {
                        part,
                        sequence,
                        expected: sample.rows(),
                        found: gradient.rows(),
                    });
                }
                check_columns(part, sequence, *gradient, shape.channels(part))?;
            }
        }
        Ok(())
    }

    /// As [`Self::check`], and refuses having no token to learn from behind the `first` ones of every sequence.
    ///
    /// # Errors
    /// The first problem found.
    pub fn require(&self, shape: CacheShape, first: usize) -> Result<(), CacheError> {
        self.check(shape)?;
        for part in Part::ALL {
            let mut samples = self.of(part).iter();
            if samples.all(|sample| sample.rows() <= first) {
                return Err(CacheError::NoSamples { part, first });
            }
        }
        Ok(())
    }
}

fn check_columns(
    part: Part,
    sequence: usize,
    matrix: MatrixRef<'_>,
    expected: usize,
) -> Result<(), CacheError> {
    if matrix.cols() != expected {
        return Err(CacheError::Channels {
            part,
            sequence,
            expected,
            found: matrix.cols(),
        });
    }
    match matrix.first_not_finite() {
        None => Ok(()),
        Some((token, channel, value)) => Err(CacheError::NotFinite {
            part,
            sequence,
            token,
            channel,
            value,
        }),
    }
}
