//! Factors per channel of least predicted error on 8-bit grids, both of activations and weights.
//!
//! The factors are those of SmoothQuant, `max|x_c|^a / max|W_c|^(1-a)`, with the exponent `a` of
//! [`EXPONENTS`] that predicts the least output error, or none. As a transform they are folded into the
//! checkpoint; the integer compiler takes the same factors, on the grids it knows, into its program.

use super::edit::BlockEdit;
use super::error::TransformError;
use super::layer_weight::LayerWeight;
use super::runner::BlockRunner;
use super::scaling::{calibrated, column_maxima, fold, shared_maxima, statistic};
use super::transform::{ConfiguredTransform, Transform};
use crate::ParamError;
use crate::graph::{Graph, Scaling};
use crate::methods::parameters::Parameters;
use crate::statistics::{INPUT_ABS_MAX, INPUT_MEAN_SQUARE, Statistic};

/// Exponents tried; 0 moves nothing.
pub const EXPONENTS: &[f64] = &[0.0, 0.2, 0.35, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0];
/// Smallest reach of activations and weights that is believed.
const FLOOR: f64 = 1e-6;
const NEEDS: &[&Statistic] = &[&INPUT_ABS_MAX, &INPUT_MEAN_SQUARE];
/// Largest code of 8 bits.
const CODES: f64 = 127.0;

/// The factor of a channel whose activations reach `reach` and whose weights reach `largest`.
pub fn factor(reach: f64, largest: f64, exponent: f64) -> f64 {
    reach.powf(exponent) / largest.powf(1.0 - exponent)
}

/// The factors of every exponent in turn, the first of which are ones; `error` predicts what each
/// costs, and the index and factors of the least are returned.
///
/// # Errors
/// What `error` returns.
pub fn least<E>(
    reach: &[f64],
    largest: &[f64],
    mut error: impl FnMut(&[f64]) -> Result<f64, E>,
) -> Result<(usize, Vec<f64>), E> {
    let mut best = (f64::INFINITY, 0, vec![1.0; reach.len()]);
    for (at, &exponent) in EXPONENTS.iter().enumerate() {
        let factors: Vec<f64> = reach
            .iter()
            .zip(largest)
            .map(|(&reach, &largest)| match at {
                0 => 1.0,
                _ => factor(reach, largest, exponent),
            })
            .collect();
        let found = error(&factors)?;
        if found < best.0 {
            best = (found, at, factors);
        }
    }
    Ok((best.1, best.2))
}

/// Expected squared error of each output of `matrix` (rows of `width` weights) when its row, moved by
/// `factor`, is rounded to 8 bits: `squares / tokens` is the mean square of an input row.
pub fn weight_rounding<'a>(
    matrix: &'a [f64],
    width: usize,
    factor: impl Fn(usize) -> f64 + 'a,
    squares: f64,
    tokens: f64,
) -> impl Iterator<Item = f64> + 'a {
    matrix.chunks_exact(width).map(move |row| {
        let reach = (0..width).fold(0.0_f64, |most, c| most.max((row[c] * factor(c)).abs()));
        let noise = (reach / CODES).powi(2) / 12.0;
        noise * squares / tokens
    })
}

/// The registry entry.
pub(super) struct Equalize;

impl Transform for Equalize {
    fn name(&self) -> &'static str {
        "equalize"
    }

    fn summary(&self) -> &'static str {
        "smoothquant with the exponent of least predicted 8-bit error for each set of layers"
    }

    fn parameters(&self) -> &'static [(&'static str, &'static str)] {
        &[]
    }

    fn configure(&self, table: &toml::Table) -> Result<Box<dyn ConfiguredTransform>, ParamError> {
        Parameters::new(self.name(), self.parameters(), table)?;
        Ok(Box::new(Equalizer))
    }
}

struct Equalizer;

impl ConfiguredTransform for Equalizer {
    fn needs(&self) -> &'static [&'static Statistic] {
        NEEDS
    }

    fn apply(
        &self,
        graph: &Graph,
        stage: usize,
        edit: &mut BlockEdit,
        runner: &dyn BlockRunner,
    ) -> Result<Vec<String>, TransformError> {
        let mut notes = Vec::new();
        for scaling in calibrated(graph, stage, runner) {
            let (at, factors) = chosen(&scaling, edit, runner)?;
            if at > 0 {
                fold(&scaling, &factors, edit, runner)?;
            }
            notes.push(format!("`{}`: exponent {}", scaling.point(), EXPONENTS[at]));
        }
        Ok(notes)
    }
}

#[expect(clippy::cast_possible_truncation, reason = "factors of f32 weights")]
fn chosen(
    scaling: &Scaling<'_>,
    edit: &BlockEdit,
    runner: &dyn BlockRunner,
) -> Result<(usize, Vec<f32>), TransformError> {
    let wide = |values: Vec<f32>| -> Vec<f64> {
        let values = values.into_iter();
        values.map(|value| f64::from(value).max(FLOOR)).collect()
    };
    let seen = statistic(scaling, &INPUT_ABS_MAX, runner)?;
    let squares = statistic(scaling, &INPUT_MEAN_SQUARE, runner)?;
    let reach = wide(shared_maxima(scaling, seen));
    let largest = wide(column_maxima(scaling, edit, runner)?);
    let width = scaling.sources.len();
    let mut matrix: Vec<f64> = Vec::new();
    for layer in &scaling.consumers {
        let weight = LayerWeight::read(layer, edit, runner)?.values;
        matrix.extend(weight.into_iter().map(f64::from));
    }
    let (at, factors) = least(&reach, &largest, |factors| {
        let moved: Vec<f64> = scaling.sources.iter().map(|&s| factors[s]).collect();
        let input = seen
            .iter()
            .zip(&moved)
            .fold(0.0_f64, |most, (&x, f)| most.max(f64::from(x) / f));
        let noise = (input / CODES).powi(2) / 12.0;
        let rounding_of_inputs: f64 = matrix
            .iter()
            .enumerate()
            .map(|(at, weight)| noise * (weight * moved[at % width]).powi(2))
            .sum();
        let mean_square = squares.iter().zip(&moved);
        let mean_square: f64 = mean_square.map(|(&x, f)| f64::from(x) / (f * f)).sum();
        let rounding_of_weights: f64 =
            weight_rounding(&matrix, width, |c| moved[c], mean_square, 1.0).sum();
        Ok::<f64, TransformError>(rounding_of_inputs + rounding_of_weights)
    })?;
    let narrow: Vec<f32> = factors.iter().map(|&factor| factor as f32).collect();
    Ok((at, narrow))
}
