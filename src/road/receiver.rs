//! Who takes the layers as they are quantized.

use super::job::{LayerJob, LayerResult};
use crate::Error;
use quantizers::formats::StoredSize;

/// Takes the layers of a model one by one.
pub(super) trait Receiver {
    /// Takes what became of the planned layer at `index`; returns what it takes in a file.
    ///
    /// # Errors
    /// A layer that cannot be written, or measured.
    fn receive(
        &mut self,
        index: usize,
        job: &LayerJob<'_>,
        result: &LayerResult,
    ) -> Result<StoredSize, Error>;
}
