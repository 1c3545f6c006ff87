//! Names and shapes of the model an integer-only folder was made from.

use calib::{SourceError, Tensor32, WeightSource};
use quantizers::formats::ArtifactReader;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Every tensor of the original by name and shape; none of them can be read.
pub(super) struct IntegerWeights {
    origin: PathBuf,
    shapes: BTreeMap<String, Vec<usize>>,
}

impl IntegerWeights {
    /// `None` if `reader` has float tensors.
    pub(super) fn of(reader: &ArtifactReader) -> Option<Self> {
        if !reader.is_integer_only() {
            return None;
        }
        let layers = reader.layers().iter();
        let mut shapes: BTreeMap<String, Vec<usize>> = layers
            .map(|(name, layer)| (format!("{name}.weight"), vec![layer.rows, layer.cols]))
            .collect();
        // A projection of patches is stored as a matrix, and was a convolution.
        shapes.extend(reader.replaced_tensors());
        Some(Self {
            origin: reader.folder().origin().to_path_buf(),
            shapes,
        })
    }
}

impl WeightSource for IntegerWeights {
    fn tensor(&self, name: &str) -> Result<Tensor32<'_>, SourceError> {
        Err(SourceError::File {
            origin: self.origin.clone(),
            source: format!("`{name}` is part of an integer program, and no float tensor").into(),
        })
    }

    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.shapes.get(name).cloned()
    }

    fn names(&self) -> Vec<String> {
        self.shapes.keys().cloned().collect()
    }
}
