//! Token sequences sampled from the model itself: calibration without any data.

use super::{Content, DataError, DataSpec, Request, Source};

/// Writes token sequences with a model.
pub trait TokenSampler {
    /// `count` sequences of `length` tokens; the same seed gives the same tokens.
    ///
    /// # Errors
    /// The model predicts no tokens, or cannot be run.
    fn sample(
        &mut self,
        count: usize,
        length: usize,
        seed: u64,
    ) -> Result<Vec<Vec<u32>>, DataError>;
}

/// Where no model is at hand: every request for samples is refused.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoSampler;

impl TokenSampler for NoSampler {
    fn sample(&mut self, _: usize, _: usize, _: u64) -> Result<Vec<Vec<u32>>, DataError> {
        Err(DataError::NotADecoder {
            found: "is not at hand here",
        })
    }
}

/// The source `synthetic`.
#[derive(Debug, Clone, Copy)]
pub struct Synthetic;

impl Source for Synthetic {
    fn name(&self) -> &'static str {
        "synthetic"
    }

    fn summary(&self) -> &'static str {
        "token sequences sampled from the model itself with the seed; needs no data, decoders only"
    }

    fn accepts(&self, spec: &DataSpec) -> bool {
        matches!(spec, DataSpec::Synthetic)
    }

    fn load(&self, _spec: &DataSpec, request: &mut Request<'_>) -> Result<Content, DataError> {
        let tokens =
            request
                .sampler
                .sample(request.samples, request.sequence_length, request.seed)?;
        Ok(Content::Tokens(tokens))
    }
}
