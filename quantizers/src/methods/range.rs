//! Results whose scales left the type they are stored in.

use super::QuantizeError;
use crate::grid::Grid;
use crate::tensor::{Encoding, QuantizedTensor, Uniform};
use crate::{Granularity, MatrixRef};

/// Refuses weights that the type of the grid's arithmetic has no value for: they would be rounded to infinity
/// and clipped without a word.
pub(super) fn require_weights(weight: MatrixRef<'_>, grid: Grid) -> Result<(), QuantizeError> {
    let most = super::error::most(grid.arithmetic);
    let outside = weight.data().iter().position(|value| value.abs() > most);
    match outside {
        None => Ok(()),
        Some(at) => Err(QuantizeError::ScaleRange {
            row: at / weight.cols(),
            value: weight.data()[at],
            stored: grid.arithmetic,
        }),
    }
}

/// `uniform` as the whole of a layer, its scales checked.
pub(super) fn stored(
    weight: MatrixRef<'_>,
    uniform: Uniform,
) -> Result<QuantizedTensor, QuantizeError> {
    require_scales(weight, &uniform)?;
    Ok(QuantizedTensor {
        rows: weight.rows(),
        cols: weight.cols(),
        encoding: Encoding::Uniform(uniform),
        outliers: None,
    })
}

/// Refuses scales that are no numbers, or that were cut off at the largest value of their type.
pub(super) fn require_scales(
    weight: MatrixRef<'_>,
    uniform: &Uniform,
) -> Result<(), QuantizeError> {
    let most = super::error::most(uniform.scale_type);
    let outside = uniform
        .scales
        .iter()
        .position(|scale| !scale.is_finite() || *scale >= most);
    let Some(at) = outside else {
        return Ok(());
    };
    let row = match uniform.granularity {
        Granularity::Tensor => None,
        granularity => Some(at / granularity.groups_per_row(weight.cols()).max(1)),
    };
    let values = row.map_or(weight.data(), |row| weight.row(row));
    let value = values.iter().copied().fold(0.0_f32, |most, value| {
        if value.abs() > most.abs() {
            value
        } else {
            most
        }
    });
    Err(QuantizeError::ScaleRange {
        row: row.unwrap_or(0),
        value,
        stored: uniform.scale_type,
    })
}
