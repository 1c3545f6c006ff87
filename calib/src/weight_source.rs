//! "Give me tensor NAME as f32": the only way weights reach a model.

use quantizers::grid::InputQuantizer;
use quantizers::kernels::PackedMatrix;
use quantizers::nearest::closest_name;
use quantizers::tensor::FloatType;
use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;
use thiserror::Error;

/// A tensor as f32, row-major, in the checkpoint's own layout.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor32<'a> {
    /// Dimensions, outermost first.
    pub shape: Vec<usize>,
    /// Values; borrowed where the file already holds aligned f32.
    pub data: Cow<'a, [f32]>,
}

/// Where weights come from: a checkpoint, a quantized artifact decoded on the fly, or an overlay.
pub trait WeightSource: Send + Sync {
    /// The tensor `name`.
    ///
    /// # Errors
    /// An absent tensor, a file that cannot be read, a type that is no float.
    fn tensor(&self, name: &str) -> Result<Tensor32<'_>, SourceError>;
    /// The shape of `name` from headers alone.
    fn shape(&self, name: &str) -> Option<Vec<usize>>;
    /// Whether [`WeightSource::tensor`] would find `name`.
    fn contains(&self, name: &str) -> bool {
        self.shape(name).is_some()
    }
    /// All tensor names, sorted.
    fn names(&self) -> Vec<String>;
    /// How the inputs of the linear layer `layer` are rounded when the model runs; nothing where they stay
    /// floats.
    ///
    /// # Errors
    /// A stored scale that cannot be read.
    fn input_quantizer(&self, _layer: &str) -> Result<Option<InputQuantizer>, SourceError> {
        Ok(None)
    }
    /// The bits of `name`, row-major, where it is stored as 16-bit floats, and of which kind they are.
    ///
    /// # Errors
    /// A tensor that cannot be read.
    fn halves(&self, _name: &str) -> Result<Option<(FloatType, Vec<u16>)>, SourceError> {
        Ok(None)
    }
    /// The matrix `name`, where it is to be multiplied in the form it is stored in rather than as values.
    ///
    /// # Errors
    /// A tensor that cannot be read.
    fn packed(&self, _name: &str) -> Result<Option<Arc<PackedMatrix>>, SourceError> {
        Ok(None)
    }
    /// Whether each of a few rows that are multiplied together is to come out bit by bit as it does alone. Packed
    /// matrices always do that; matrices of values then take one after the other.
    fn keeps_rows_apart(&self) -> bool {
        false
    }
    /// Says that `name` is not needed for now: a mapped file may give its pages back. Reading it
    /// again stays valid.
    fn release(&self, _name: &str) {}
}

/// A tensor that could not be had.
#[derive(Debug, Error)]
pub enum SourceError {
    /// No such tensor.
    #[error("`{origin}` has no tensor `{name}`")]
    Missing {
        /// Folder or file looked in.
        origin: PathBuf,
        /// The name asked for.
        name: String,
        /// The nearest name present.
        nearest: Option<String>,
    },
    /// Stored in a type that is no float.
    #[error("tensor `{name}` is stored as {found}, expected f64, f32, f16 or bf16")]
    Type {
        /// Tensor.
        name: String,
        /// Its stored type.
        found: String,
    },
    /// A shape other than the model's.
    #[error("tensor `{name}` has shape {found:?}, expected {expected:?}")]
    Shape {
        /// Tensor.
        name: String,
        /// Shape the model needs.
        expected: Vec<usize>,
        /// Shape stored.
        found: Vec<usize>,
    },
    /// A file that cannot be read or decoded.
    #[error("cannot read `{origin}`")]
    File {
        /// File or folder.
        origin: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl SourceError {
    /// What the user could do about it, in one line.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Missing { nearest, .. } => nearest.as_deref().map(closest_name),
            // Eight bits and fewer are codes, which mean nothing without their scales.
            Self::Type { found, .. } if found.starts_with(['F', 'I', 'U']) => Some(
                "quantized weights are not values: start from the original, or dequantize it first"
                    .to_owned(),
            ),
            Self::Type { .. } => Some("save the model in one of these types first".to_owned()),
            Self::Shape { .. } | Self::File { .. } => None,
        }
    }
}
