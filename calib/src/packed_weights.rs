//! Weights that are multiplied in the form they are stored in.

use crate::artifact::Artifact;
use crate::{SourceError, Tensor32, WeightSource};
use quantizers::grid::InputQuantizer;
use quantizers::kernels::{Compute, PackedMatrix};
use std::sync::Arc;

/// A source whose matrices are packed: codes stay codes, and values that are 16-bit floats stay such. What has no packed
/// form is given as values.
pub struct PackedWeights<'a> {
    source: &'a dyn WeightSource,
    artifact: &'a Artifact,
    compute: Compute,
    many_as_few: bool,
}

impl<'a> PackedWeights<'a> {
    /// The tensors of `source`, those that `artifact` holds quantized as it has them, multiplied as `compute` says.
    pub fn new(source: &'a dyn WeightSource, artifact: &'a Artifact, compute: Compute) -> Self {
        Self {
            source,
            artifact,
            compute,
            many_as_few: false,
        }
    }

    /// The same, with whole texts computed as tokens are one at a time.
    #[must_use]
    pub fn many_as_few(mut self) -> Self {
        self.many_as_few = true;
        self
    }
}

impl WeightSource for PackedWeights<'_> {
    fn tensor(&self, name: &str) -> Result<Tensor32<'_>, SourceError> {
        self.source.tensor(name)
    }

    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.source.shape(name)
    }

    fn names(&self) -> Vec<String> {
        self.source.names()
    }

    fn input_quantizer(&self, layer: &str) -> Result<Option<InputQuantizer>, SourceError> {
        self.source.input_quantizer(layer)
    }

    fn packed(&self, name: &str) -> Result<Option<Arc<PackedMatrix>>, SourceError> {
        // What would only be decoded is left to whoever asks for its values.
        let scheme = self.artifact.scheme(name);
        if scheme.is_some_and(|scheme| !PackedMatrix::executes(scheme)) {
            return Ok(None);
        }
        if let Some(quantized) = self.artifact.quantized(name)? {
            let packed = PackedMatrix::of_quantized(&quantized);
            let computing = |packed: PackedMatrix| {
                let packed = packed.computing(self.compute);
                if self.many_as_few {
                    packed.many_as_few()
                } else {
                    packed
                }
            };
            return Ok(packed.map(|packed| Arc::new(computing(packed))));
        }
        let tensor = self.source.tensor(name)?;
        let [_, cols] = tensor.shape[..] else {
            return Ok(None);
        };
        let packed = PackedMatrix::of_values(&tensor.data, cols);
        self.source.release(name);
        Ok(packed.map(Arc::new))
    }

    fn keeps_rows_apart(&self) -> bool {
        true
    }

    fn release(&self, name: &str) {
        self.source.release(name);
    }
}
