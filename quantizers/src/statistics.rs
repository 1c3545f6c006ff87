//! Statistics: what calibration can measure for a layer, and what quantizers read of it.
//!
//! A statistic is known by one [`Statistic`]: its name in plans, messages and cache files, the shape
//! of its values, and the pass that measures it. Adding one is a `static` here, its line in
//! [`STATISTICS`], and the observer that measures it.

mod guided;

pub use guided::{GUIDED_GROUPS, diagonals, guided_hessian, rows_of_group};

use crate::MatrixRef;
use crate::methods::QuantizeError;
use crate::outliers::MagnitudeSurvey;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;

/// Something calibration can measure; compared by name.
#[derive(Debug)]
pub struct Statistic {
    /// The name in plans, messages and cache files.
    pub name: &'static str,
    /// One line of help with the formula.
    pub summary: &'static str,
    /// Shape of its values for one layer `[rows, cols]`.
    pub shape: StatisticShape,
    /// What measures it.
    pub pass: Pass,
}

/// Shape of the values of a statistic for a layer `[rows, cols]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatisticShape {
    /// `[2]`: lowest and highest value.
    Range,
    /// `[cols]`: one value per input.
    PerInput,
    /// `[cols, cols]`: one value per pair of inputs.
    InputByInput,
    /// `[groups, cols, cols]`: one value per pair of inputs for each of this many groups of consecutive rows.
    InputByInputOfGroups(usize),
    /// `[rows, cols]`: one value per weight.
    PerWeight,
    /// `[4, cols]`: minimum, maximum, mean and mean square of each input.
    Channels,
    /// `[tokens, cols]`: inputs of some sequences, verbatim.
    Samples,
    /// `[1]`: how many tokens were seen.
    Count,
}

/// What measures a statistic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// The forward pass: an observer at the input point, shared by all layers that read that point.
    Forward,
    /// The backward pass of the loss, for each layer.
    Backward,
}

/// Lowest and highest input.
pub static MIN_MAX: Statistic = Statistic::forward(
    "min_max",
    "smallest and largest input over all calibration tokens",
    StatisticShape::Range,
);

/// Range that rare extremes do not widen.
pub static PERCENTILE: Statistic = Statistic::forward(
    "percentile",
    "0.01th and 99.99th percentile of the inputs, relative resolution 1/64",
    StatisticShape::Range,
);

/// Exponential moving average of the range of each batch.
pub static MOVING_AVERAGE: Statistic = Statistic::forward(
    "moving_average",
    "exponential moving average (0.95) of each sequence's smallest and largest input",
    StatisticShape::Range,
);

/// Mean |x| of every input.
pub static INPUT_ABS_MEAN: Statistic = Statistic::forward(
    "input_abs_mean",
    "mean |x| of every input channel",
    StatisticShape::PerInput,
);

/// Largest |x| of every input.
pub static INPUT_ABS_MAX: Statistic = Statistic::forward(
    "input_abs_max",
    "largest |x| of every input channel",
    StatisticShape::PerInput,
);

/// Mean x^2 of every input: the diagonal of the Hessian over the number of tokens.
pub static INPUT_MEAN_SQUARE: Statistic = Statistic::forward(
    "input_mean_square",
    "mean x^2 of every input channel",
    StatisticShape::PerInput,
);

/// `X^T X` over all calibration tokens: no factor, no averaging, no damping.
pub static HESSIAN: Statistic = Statistic::forward(
    "hessian",
    "X^T X over all calibration tokens",
    StatisticShape::InputByInput,
);

/// Minimum, maximum, mean and mean square of every channel.
pub static CHANNEL_RANGE: Statistic = Statistic::forward(
    "channel_range",
    "minimum, maximum, mean and mean square of every channel",
    StatisticShape::Channels,
);

/// Whole sequences, verbatim.
pub static SEQUENCE_SAMPLES: Statistic = Statistic::forward(
    "sequence_samples",
    "every value of the first calibration sequences, the same sequences at every point",
    StatisticShape::Samples,
);

/// Tokens seen at a point: what the router sent to an expert, all tokens everywhere else.
pub static TOKEN_COUNT: Statistic = Statistic::forward(
    "token_count",
    "calibration tokens seen",
    StatisticShape::Count,
);

/// Diagonal Fisher: sum over sequences of the squared gradient of the sequence's mean token loss.
pub static FISHER: Statistic = Statistic::backward(
    "fisher",
    "diagonal Fisher: squared gradients of the loss, summed over sequences",
    StatisticShape::PerWeight,
);

/// Every statistic.
pub static STATISTICS: &[&Statistic] = &[
    &MIN_MAX,
    &PERCENTILE,
    &MOVING_AVERAGE,
    &INPUT_ABS_MEAN,
    &INPUT_ABS_MAX,
    &INPUT_MEAN_SQUARE,
    &HESSIAN,
    &CHANNEL_RANGE,
    &SEQUENCE_SAMPLES,
    &TOKEN_COUNT,
    &FISHER,
    &guided::ONE_GROUP,
    &guided::TWO_GROUPS,
    &guided::FOUR_GROUPS,
    &guided::EIGHT_GROUPS,
];

impl Statistic {
    /// Measured in the forward pass.
    const fn forward(name: &'static str, summary: &'static str, shape: StatisticShape) -> Self {
        let pass = Pass::Forward;
        Self {
            name,
            summary,
            shape,
            pass,
        }
    }

    /// Measured in the backward pass.
    const fn backward(name: &'static str, summary: &'static str, shape: StatisticShape) -> Self {
        Self {
            pass: Pass::Backward,
            ..Self::forward(name, summary, shape)
        }
    }

    /// Values for a layer `[rows, cols]` that know nothing of its inputs: all of them alike and independent, no
    /// weight more sensitive than another. None where the shape has no such values.
    pub fn neutral(&self, rows: usize, cols: usize) -> Option<Vec<f32>> {
        match self.shape {
            StatisticShape::PerInput => Some(vec![1.0; cols]),
            StatisticShape::InputByInput => Some(identity(cols)),
            StatisticShape::InputByInputOfGroups(groups) => Some(identity(cols).repeat(groups)),
            // Weights of zero Fisher are fitted all alike, and none of them is set apart as sensitive.
            StatisticShape::PerWeight => Some(vec![0.0; rows * cols]),
            StatisticShape::Range
            | StatisticShape::Channels
            | StatisticShape::Samples
            | StatisticShape::Count => None,
        }
    }

    /// The statistic called `name`.
    pub fn find(name: &str) -> Option<&'static Self> {
        STATISTICS
            .iter()
            .copied()
            .find(|statistic| statistic.name == name)
    }
}

/// The unit matrix `[size, size]`.
fn identity(size: usize) -> Vec<f32> {
    let mut identity = vec![0.0; size * size];
    let diagonal = identity.iter_mut().step_by(size + 1);
    diagonal.for_each(|value| *value = 1.0);
    identity
}

impl PartialEq for Statistic {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Statistic {}

impl PartialOrd for Statistic {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Statistic {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.name.cmp(other.name)
    }
}

impl StatisticShape {
    /// Number of values for a layer `[rows, cols]`; none where it depends on the data.
    pub fn values(self, rows: usize, cols: usize) -> Option<usize> {
        match self {
            Self::Count => Some(1),
            Self::Range => Some(2),
            Self::PerInput => Some(cols),
            Self::InputByInput => Some(cols * cols),
            Self::InputByInputOfGroups(groups) => Some(groups * cols * cols),
            Self::PerWeight => Some(rows * cols),
            Self::Channels => Some(4 * cols),
            Self::Samples => None,
        }
    }
}

/// A reference to an entry of [`STATISTICS`] that plans can hold: written as its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stat(pub &'static Statistic);

impl Serialize for Stat {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.name)
    }
}

impl<'de> Deserialize<'de> for Stat {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let found = Statistic::find(&name).map(Self);
        found.ok_or_else(|| serde::de::Error::custom(format!("unknown statistic `{name}`")))
    }
}

/// Statistics of one layer; only those that were asked for.
#[derive(Debug, Clone, Default)]
pub struct LayerStats<'a> {
    /// Layer name, for messages and for splitting the seed.
    pub name: &'a str,
    /// Interquartile-range factor shared by every layer with the same outlier target; see
    /// [`crate::outliers::shared_factor`]. Present when the quantizer asked for a survey.
    pub outlier_factor: Option<f64>,
    /// Seed of the run, already split by layer name.
    pub seed: u64,
    values: BTreeMap<&'static str, &'a [f32]>,
}

impl<'a> LayerStats<'a> {
    /// Nothing measured for layer `name`; `seed` is already split by its name.
    pub fn new(name: &'a str, seed: u64) -> Self {
        Self {
            name,
            seed,
            ..Self::default()
        }
    }

    /// Adds the outlier factor that this layer shares with others.
    #[must_use]
    pub fn with_outlier_factor(self, outlier_factor: Option<f64>) -> Self {
        Self {
            outlier_factor,
            ..self
        }
    }

    /// Adds the values of one statistic, row-major.
    #[must_use]
    pub fn with(mut self, statistic: &'static Statistic, values: &'a [f32]) -> Self {
        self.values.insert(statistic.name, values);
        self
    }

    /// The values of `statistic`, where they were measured.
    pub fn get(&self, statistic: &Statistic) -> Option<&'a [f32]> {
        self.values.get(statistic.name).copied()
    }

    /// The values of `statistic` for a layer `[rows, cols]`.
    ///
    /// # Errors
    /// Not measured, or of another size.
    pub fn require(
        &self,
        statistic: &'static Statistic,
        rows: usize,
        cols: usize,
    ) -> Result<&'a [f32], QuantizeError> {
        let name = statistic.name;
        let values = self
            .get(statistic)
            .ok_or(QuantizeError::MissingStat(name))?;
        match statistic.shape.values(rows, cols) {
            Some(expected) if expected != values.len() => Err(QuantizeError::StatShape {
                stat: name,
                expected,
                found: values.len(),
            }),
            _ => Ok(values),
        }
    }

    /// [`Self::require`] as one non-negative weight per value: for statistics that errors are weighted with.
    ///
    /// # Errors
    /// Also a value that is negative or not finite.
    pub fn require_weights(
        &self,
        statistic: &'static Statistic,
        rows: usize,
        cols: usize,
    ) -> Result<&'a [f32], QuantizeError> {
        let values = self.require(statistic, rows, cols)?;
        let bad = |value: &f32| !(value.is_finite() && *value >= 0.0);
        match values.iter().position(bad) {
            Some(at) => Err(QuantizeError::StatValue {
                stat: statistic.name,
                row: at / cols.max(1),
                col: at % cols.max(1),
                value: values[at],
            }),
            None => Ok(values),
        }
    }

    /// `X^T X` `[cols, cols]`.
    ///
    /// # Errors
    /// As [`Self::require`].
    pub fn hessian(&self, cols: usize) -> Result<MatrixRef<'a>, QuantizeError> {
        let values = self.require(&HESSIAN, cols, cols)?;
        MatrixRef::new(values, cols, cols).map_err(|_| QuantizeError::StatShape {
            stat: HESSIAN.name,
            expected: cols * cols,
            found: values.len(),
        })
    }
}

/// What a quantizer wants to know about ALL layers before the first is quantized.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SurveyRequest {
    /// Share of weights (0..1) the magnitude outliers of all surveyed layers should add up to.
    pub outlier_fraction: f64,
}

/// What one layer contributes to a [`SurveyRequest`].
pub type Survey = MagnitudeSurvey;

#[cfg(test)]
mod tests;
