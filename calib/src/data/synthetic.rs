//! Data made from the model itself: calibration without any files.

use super::{Content, DataError, DataSpec, Request, Source};

/// Makes data from what a model knows; which one does it for which model says
/// [`crate::synthetic::sampler`].
pub trait Sampler {
    /// `count` sequences or images; `length` tokens at most, where they are tokens. The same seed
    /// gives the same data.
    ///
    /// # Errors
    /// There is no data for this model, or it cannot be run.
    fn content(&mut self, count: usize, length: usize, seed: u64) -> Result<Content, DataError>;
}

/// Writes token sequences with a model.
pub trait TokenSampler: Sampler {
    /// `count` sequences of `length` tokens, or up to that for models of sentences; the same seed
    /// gives the same tokens.
    ///
    /// # Errors
    /// The model knows no tokens, or cannot be run.
    fn sample(
        &mut self,
        count: usize,
        length: usize,
        seed: u64,
    ) -> Result<Vec<Vec<u32>>, DataError>;
}

impl<S: TokenSampler> Sampler for S {
    fn content(&mut self, count: usize, length: usize, seed: u64) -> Result<Content, DataError> {
        self.sample(count, length, seed).map(Content::Tokens)
    }
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
        "made with the model and the seed, no files: its own text, likely words or images for encoders"
    }

    fn accepts(&self, spec: &DataSpec) -> bool {
        matches!(spec, DataSpec::Synthetic)
    }

    fn load(&self, _spec: &DataSpec, request: &mut Request<'_>) -> Result<Content, DataError> {
        request
            .sampler
            .content(request.samples, request.sequence_length, request.seed)
    }
}
