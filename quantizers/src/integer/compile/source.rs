//! What the compile step is given and what it gives back.

use super::statistics::PointStatistics;
use crate::integer::Program;
use crate::matrix::MatrixRef;
use crate::tensor::QuantizedTensor;
use std::error::Error;

/// An error of whoever provides weights and statistics.
pub type SourceError = Box<dyn Error + Send + Sync>;

/// Where weights and statistics come from, and how weights are quantized.
pub trait Source {
    /// A tensor of the checkpoint, flat, as f32.
    ///
    /// # Errors
    /// No such tensor.
    fn tensor(&self, name: &str) -> Result<Vec<f32>, SourceError>;
    /// What calibration saw at a point.
    ///
    /// # Errors
    /// Nothing seen there.
    fn statistics(&self, point: &str) -> Result<PointStatistics, SourceError>;
    /// Quantizes the weight of a layer, `[rows, cols]`, which may differ from the checkpoint's by
    /// a factor per input. `mean_square` is that of each input, after the factor. The result is
    /// symmetric, uniform, one scale per channel (or for all), at most 8 bits.
    ///
    /// # Errors
    /// A method that cannot do that.
    fn quantize(
        &self,
        layer: &str,
        weight: MatrixRef<'_>,
        mean_square: &[f32],
    ) -> Result<QuantizedTensor, SourceError>;
    /// Told that the scales of some rows of `layer` were made wider than `quantize` chose them: `tensor` is what
    /// `weight` has become, and `note` says why.
    fn widened(
        &self,
        _layer: &str,
        _weight: MatrixRef<'_>,
        _mean_square: &[f32],
        _tensor: &QuantizedTensor,
        _note: String,
    ) {
    }
}

/// Which approximation a slot gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// This one everywhere.
    Named(String),
    /// Per slot, the one that loses least SQNR on the calibration data, of these families.
    Auto(Vec<String>),
}

/// How one embedding is made of the last hidden states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pooling {
    /// Mean over unmasked tokens, then unit length.
    Mean,
    /// The first token, then unit length.
    First,
}

/// How activation ranges are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RangeRule {
    /// Smallest to largest.
    MinMax,
    /// Moving average of the extremes.
    MovingAverage,
    /// 0.01th to 99.99th percentile.
    Percentile,
    /// Least mean squared rounding and clipping error.
    Mse,
}

/// What a person chose.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// GELU slots.
    pub gelu: Choice,
    /// Softmax slots.
    pub softmax: Choice,
    /// `LayerNorm` slots.
    pub layernorm: Choice,
    /// Bits of the inputs of linear layers and attention products, 4 to 8.
    pub activation_bits: u32,
    /// How ranges are chosen.
    pub range: RangeRule,
    /// Activations of linear layers on a grid with a zero point.
    pub asymmetric: bool,
    /// Factors per channel moved from normalisations into the next layers.
    pub equalize: bool,
    /// Rounding errors of weights compensated in the bias, by the mean input.
    pub bias_correction: bool,
    /// Bits of attention weights, 8 or 15.
    pub attention_bits: u32,
    /// For embedding models.
    pub pooling: Option<Pooling>,
}

impl Default for Options {
    fn default() -> Self {
        let exact = || Choice::Named("exact".to_owned());
        Self {
            gelu: exact(),
            softmax: exact(),
            layernorm: exact(),
            activation_bits: 8,
            range: RangeRule::Mse,
            asymmetric: true,
            equalize: true,
            bias_correction: true,
            attention_bits: 15,
            pooling: None,
        }
    }
}

/// What one candidate loses in one slot.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// Family.
    pub name: String,
    /// SQNR of the slot's input on the grid this candidate reads, dB.
    pub input_sqnr_db: Option<f64>,
    /// SQNR of its output, dB.
    pub output_sqnr_db: Option<f64>,
    /// Why it could not be compiled.
    pub refused: Option<String>,
}

/// The decision about one nonlinear slot.
#[derive(Debug, Clone, PartialEq)]
pub struct Slot {
    /// Where, `encoder.layer.3.attention`.
    pub name: String,
    /// Which function: `gelu`, `softmax`, `layernorm`.
    pub function: &'static str,
    /// The family taken.
    pub chosen: String,
    /// Every candidate measured.
    pub candidates: Vec<Candidate>,
}

/// A compiled model.
#[derive(Debug)]
pub struct Compilation {
    /// The program.
    pub program: Program,
    /// The weights it reads, by layer name; stored like those of any quantized layer.
    pub layers: Vec<(String, QuantizedTensor)>,
    /// The decisions about nonlinear slots.
    pub slots: Vec<Slot>,
}
