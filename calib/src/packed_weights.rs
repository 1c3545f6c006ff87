//! Weights that are multiplied in the form they are stored in.

use crate::artifact::Artifact;
use crate::heap;
use crate::{SourceError, Tensor32, WeightSource};
use quantizers::grid::InputQuantizer;
use quantizers::kernels::{Compute, PackedMatrix};
use quantizers::tensor::FloatType;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// A source whose matrices are packed: codes stay codes, and values that are 16-bit floats stay such. What has no packed
/// form is given as values.
pub struct PackedWeights<'a> {
    source: &'a dyn WeightSource,
    artifact: &'a Artifact,
    compute: Compute,
    many_as_few: bool,
    /// Matrices that are in use, by name: two stages that read one hold it once.
    in_use: Mutex<HashMap<String, Weak<PackedMatrix>>>,
}

impl<'a> PackedWeights<'a> {
    /// The tensors of `source`, those that `artifact` holds quantized as it has them, multiplied as `compute` says.
    pub fn new(source: &'a dyn WeightSource, artifact: &'a Artifact, compute: Compute) -> Self {
        Self {
            source,
            artifact,
            compute,
            many_as_few: false,
            in_use: Mutex::default(),
        }
    }

    /// The same, with whole texts computed as tokens are one at a time.
    #[must_use]
    pub fn many_as_few(mut self) -> Self {
        self.many_as_few = true;
        self
    }

    /// Moves the matrices that are in use to large pages. To be called once all of them are.
    pub fn use_large_pages(&self) {
        let in_use = self.in_use.lock().unwrap_or_else(PoisonError::into_inner);
        let matrices: Vec<Arc<PackedMatrix>> = in_use.values().filter_map(Weak::upgrade).collect();
        let blocks: Vec<&[u8]> = matrices.iter().flat_map(|matrix| matrix.memory()).collect();
        heap::use_large_pages(&blocks);
    }

    /// The matrix `name`, read.
    fn read(&self, name: &str) -> Result<Option<PackedMatrix>, SourceError> {
        // What would only be decoded is left to whoever asks for its values.
        let scheme = self.artifact.scheme(name);
        if scheme.is_some_and(|scheme| !PackedMatrix::executes(scheme)) {
            return Ok(None);
        }
        if let Some(quantized) = self.artifact.quantized(name)? {
            self.artifact.release(name);
            let packed = PackedMatrix::of_quantized(&quantized);
            return Ok(packed.map(|packed| {
                let packed = packed.computing(self.compute);
                if self.many_as_few {
                    packed.many_as_few()
                } else {
                    packed
                }
            }));
        }
        let Some(&[_, cols]) = self.source.shape(name).as_deref() else {
            return Ok(None);
        };
        let packed = match self.source.halves(name)? {
            Some((kind, bits)) => PackedMatrix::of_halves(kind, bits, cols),
            None => PackedMatrix::of_values(&self.source.tensor(name)?.data, cols),
        };
        self.source.release(name);
        Ok(packed)
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

    fn halves(&self, name: &str) -> Result<Option<(FloatType, Vec<u16>)>, SourceError> {
        self.source.halves(name)
    }

    fn input_quantizer(&self, layer: &str) -> Result<Option<InputQuantizer>, SourceError> {
        self.source.input_quantizer(layer)
    }

    fn packed(&self, name: &str) -> Result<Option<Arc<PackedMatrix>>, SourceError> {
        // A panic elsewhere leaves a whole entry or none behind: poisoning means nothing here.
        let in_use = || self.in_use.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(matrix) = in_use().get(name).and_then(Weak::upgrade) {
            return Ok(Some(matrix));
        }
        let matrix = self.read(name)?.map(Arc::new);
        if let Some(matrix) = &matrix {
            in_use().insert(name.to_owned(), Arc::downgrade(matrix));
        }
        Ok(matrix)
    }

    fn keeps_rows_apart(&self) -> bool {
        true
    }

    fn release(&self, name: &str) {
        self.source.release(name);
    }
}
