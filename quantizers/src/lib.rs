//! Numerics of quench on plain slices: grids, codebooks, quantizers, and the files they end in.
//!
//! Nothing here knows a model or a tensor library. A weight matrix is a [`MatrixRef`] whose rows are
//! OUTPUT channels; a quantizer turns it into a [`QuantizedTensor`]; a format turns that into named
//! safetensors entries and back.

pub mod linalg;
pub mod matrix;
pub mod nearest;
pub mod allocate;
pub mod statistics;
pub mod outliers;
pub mod codebook;
pub mod trellis;
pub mod tensor;
pub mod error_metrics;
pub mod sensitivity;
pub mod grid;
pub mod pack;
pub mod graph;
pub mod methods;
pub mod caches;
pub mod transforms;
pub mod integer;
pub mod nonlinear;
pub mod search;
pub mod scratch;
pub mod kernels;
pub mod attentions;
pub mod formats;

pub use matrix::{Matrix, MatrixRef, ShapeError};
pub use methods::{
    LayerPlan, METHODS, Method, ParamError, QuantizeError, Quantized, Quantizer, Sequential,
};
pub use statistics::{LayerStats, Stat, Statistic};
pub use tensor::{
    Codebook, Csr, Encoding, FloatType, Granularity, QuantizedTensor, Scheme, Uniform,
};
