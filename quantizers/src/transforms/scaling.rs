//! Factors per channel folded into what makes a block's activations and into what reads them.

use super::edit::{BlockEdit, EditedTensor};
use super::error::TransformError;
use super::layer_weight::{LayerWeight, current};
use super::runner::BlockRunner;
use crate::FloatType;
use crate::graph::{Graph, LinearRows, NormNode, Producer, Scaling, TensorSpec};
use crate::statistics::Statistic;

/// The sets of layers of the block at `stage` that can take factors and saw enough tokens to choose them by.
pub(super) fn calibrated<'g>(
    graph: &'g Graph,
    stage: usize,
    runner: &dyn BlockRunner,
) -> impl Iterator<Item = Scaling<'g>> {
    let scalings = graph.scalings_at(stage);
    scalings.filter(move |scaling| runner.is_calibrated(scaling.point()))
}

/// The statistic `stat` at the input point of `scaling`, one value per input channel.
pub(super) fn statistic<'a>(
    scaling: &Scaling<'_>,
    stat: &'static Statistic,
    runner: &'a dyn BlockRunner,
) -> Result<&'a [f32], TransformError> {
    let point = scaling.point();
    let values = runner
        .statistic(point, stat)
        .ok_or_else(|| TransformError::MissingStatistic {
            point: point.to_owned(),
            statistic: stat.name,
        })?;
    if values.len() != scaling.sources.len() {
        return Err(TransformError::Size {
            name: point.to_owned(),
            expected: scaling.sources.len(),
            found: values.len(),
        });
    }
    super::layer_weight::finite(point, values)?;
    Ok(values)
}

/// The largest value among the input channels that share a factor, for each factor.
pub(super) fn shared_maxima(scaling: &Scaling<'_>, values: &[f32]) -> Vec<f32> {
    let mut shared = vec![0.0_f32; scaling.channels()];
    for (&source, &value) in scaling.sources.iter().zip(values) {
        shared[source] = shared[source].max(value);
    }
    shared
}

/// The mean over the input channels that share a factor, for each factor.
pub(super) fn shared_means(scaling: &Scaling<'_>, values: &[f32]) -> Vec<f32> {
    let mut sums = vec![(0.0_f32, 0.0_f32); scaling.channels()];
    for (&source, &value) in scaling.sources.iter().zip(values) {
        sums[source].0 += value;
        sums[source].1 += 1.0;
    }
    sums.iter()
        .map(|(sum, count)| sum / count.max(1.0))
        .collect()
}

/// One factor per input channel of the consumers.
pub(super) fn spread(scaling: &Scaling<'_>, factors: &[f32]) -> Vec<f32> {
    scaling
        .sources
        .iter()
        .map(|&source| factors[source])
        .collect()
}

/// Folds `factors` (one per channel of the producer, above zero) into `edit`: the producer is divided
/// by them, the columns of the consumers are multiplied.
///
/// Parameters of a normalisation are stored in few bits. Its new weight is rounded to them first, and
/// the factor is what the rounding left: so that weights and file still agree. Returns the factors
/// that were folded, one per input channel of the consumers.
pub(super) fn fold(
    scaling: &Scaling<'_>,
    factors: &[f32],
    edit: &mut BlockEdit,
    runner: &dyn BlockRunner,
) -> Result<Vec<f32>, TransformError> {
    let folded = match &scaling.producer {
        Producer::Norm(norm) => into_norm(norm, factors, edit, runner)?,
        Producer::Linear(rows) => {
            into_rows(rows, factors, edit, runner)?;
            factors.to_vec()
        }
    };
    let columns = spread(scaling, &folded);
    for layer in &scaling.consumers {
        let mut weight = LayerWeight::read(layer, edit, runner)?;
        weight.scale_columns(&columns);
        weight.write(layer, edit);
    }
    Ok(columns)
}

fn into_norm(
    norm: &NormNode,
    factors: &[f32],
    edit: &mut BlockEdit,
    runner: &dyn BlockRunner,
) -> Result<Vec<f32>, TransformError> {
    let mut folded = vec![1.0; factors.len()];
    let Some(spec) = norm.weight() else {
        return Ok(folded);
    };
    let stored = runner.float_type(&spec.name);
    let mut weight = current(&spec, edit, runner)?;
    // Some norms multiply with one more than what is stored.
    let unit = if norm.one_plus { 1.0 } else { 0.0 };
    for ((value, factor), folded) in weight.values.iter_mut().zip(factors).zip(&mut folded) {
        let before = *value + unit;
        let rounded = stored.round(before / factor - unit);
        let divided = rounded + unit;
        // A channel whose weight is or would be zero keeps it; so does one that would leave the type.
        if divided != 0.0 && divided.is_finite() && (before / divided).is_normal() {
            *folded = before / divided;
            *value = rounded;
        }
    }
    edit.set(spec.name, weight);
    if let Some(bias) = norm.bias() {
        divide(&bias, 0, &folded, edit, runner)?;
    }
    Ok(folded)
}

fn into_rows(
    rows: &LinearRows<'_>,
    factors: &[f32],
    edit: &mut BlockEdit,
    runner: &dyn BlockRunner,
) -> Result<(), TransformError> {
    let layer = rows.layer;
    let mut weight = LayerWeight::read(layer, edit, runner)?;
    let cols = weight.cols;
    let part = &mut weight.values[rows.rows.start * cols..rows.rows.end * cols];
    for (row, factor) in part.chunks_exact_mut(cols).zip(factors) {
        for value in row {
            *value /= factor;
        }
    }
    weight.write(layer, edit);
    if let Some(bias) = layer.bias_tensor() {
        divide(&bias, rows.rows.start, factors, edit, runner)?;
    }
    Ok(())
}

/// Divides values of a vector from `first` on, rounded to the type they are stored in.
fn divide(
    spec: &TensorSpec,
    first: usize,
    factors: &[f32],
    edit: &mut BlockEdit,
    runner: &dyn BlockRunner,
) -> Result<(), TransformError> {
    let stored: FloatType = runner.float_type(&spec.name);
    let mut tensor: EditedTensor = current(spec, edit, runner)?;
    for (value, factor) in tensor.values[first..].iter_mut().zip(factors) {
        *value = stored.round(*value / factor);
    }
    edit.set(spec.name.clone(), tensor);
    Ok(())
}

/// Largest magnitude of a weight in the columns of each factor, over all consumers.
pub(super) fn column_maxima(
    scaling: &Scaling<'_>,
    edit: &BlockEdit,
    runner: &dyn BlockRunner,
) -> Result<Vec<f32>, TransformError> {
    let mut largest = vec![0.0_f32; scaling.sources.len()];
    for layer in &scaling.consumers {
        let weight = LayerWeight::read(layer, edit, runner)?;
        for (most, value) in largest.iter_mut().zip(weight.column_maxima()) {
            *most = most.max(value);
        }
    }
    Ok(shared_maxima(scaling, &largest))
}
