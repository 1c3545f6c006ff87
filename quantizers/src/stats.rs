//! What calibration measured for one layer, as quantizers see it.

use crate::MatrixRef;
use crate::outliers::MagnitudeSurvey;

/// A statistic a quantizer can ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stat {
    /// Smallest and largest input value of the layer.
    InputRange,
    /// Mean |x| of every input channel.
    InputAbsMean,
    /// Mean x^2 of every input channel: the diagonal of the Hessian over the number of tokens.
    InputMeanSquare,
    /// `X^T X` over all calibration tokens, no factor, no averaging, no damping.
    Hessian,
    /// Diagonal Fisher: sum over sequences of the squared gradient of the sequence's mean token loss.
    Fisher,
}

impl Stat {
    /// The glossary name, as recipes, messages and cache files write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::InputRange => "input_range",
            Self::InputAbsMean => "input_abs_mean",
            Self::InputMeanSquare => "input_mean_square",
            Self::Hessian => "hessian",
            Self::Fisher => "fisher",
        }
    }
}

/// Statistics of one layer; absent ones were not asked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct LayerStats<'a> {
    /// Layer name, for messages and for splitting the seed.
    pub name: &'a str,
    /// Diagonal Fisher `[rows, cols]`.
    pub fisher: Option<MatrixRef<'a>>,
    /// `X^T X`, `[cols, cols]`.
    pub hessian: Option<MatrixRef<'a>>,
    /// Mean |x| per input channel, `[cols]`.
    pub input_abs_mean: Option<&'a [f32]>,
    /// Mean x^2 per input channel, up to one factor for all, `[cols]`.
    pub input_mean_square: Option<&'a [f32]>,
    /// Smallest and largest input.
    pub input_range: Option<(f32, f32)>,
    /// Interquartile-range factor shared by every layer with the same outlier target; see
    /// [`crate::outliers::shared_factor`]. Present when the quantizer asked for a survey.
    pub outlier_factor: Option<f64>,
    /// Seed of the run, already split by layer name.
    pub seed: u64,
}

/// What a quantizer wants to know about ALL layers before the first is quantized.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SurveyRequest {
    /// Share of weights (0..1) the magnitude outliers of all surveyed layers should add up to.
    pub outlier_fraction: f64,
}

/// One layer's answer to a [`SurveyRequest`].
pub type Survey = MagnitudeSurvey;
