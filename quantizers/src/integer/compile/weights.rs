//! Quantized weights as the codes and scales of an integer product.

use super::error::CompileError;
use crate::tensor::{Encoding, Granularity, QuantizedTensor};

/// Codes with one scale per output channel: `W = scales[r] codes[r][c]`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct LayerCodes {
    /// Output channels.
    pub(super) rows: usize,
    /// Inputs.
    pub(super) cols: usize,
    /// `[rows, cols]`.
    pub(super) codes: Vec<i8>,
    /// `[rows]`, above zero.
    pub(super) scales: Vec<f64>,
}

impl LayerCodes {
    /// The codes of a quantized layer.
    pub(super) fn of(layer: &str, tensor: &QuantizedTensor) -> Result<Self, CompileError> {
        let refuse = |found| {
            Err(CompileError::Weights {
                layer: layer.to_owned(),
                found,
            })
        };
        if tensor.outliers.is_some() {
            return refuse("outliers");
        }
        let Encoding::Uniform(grid) = &tensor.encoding else {
            return refuse("codes of a table");
        };
        if grid.zero_points.is_some() {
            return refuse("zero points");
        }
        let scales: Vec<f64> = match grid.granularity {
            Granularity::Group(_) => return refuse("a scale per group"),
            Granularity::Tensor => vec![f64::from(grid.scales[0]); tensor.rows],
            Granularity::Channel => grid.scales.iter().map(|&s| f64::from(s)).collect(),
        };
        Ok(Self {
            rows: tensor.rows,
            cols: tensor.cols,
            codes: grid.codes.clone(),
            scales: positive(scales),
        })
    }

    /// `weight` `[rows, cols]` rounded to 8 bits, for matrices that are not layers.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "within 8 bits by the scale"
    )]
    pub(super) fn rounded(weight: &[f64], rows: usize, cols: usize) -> Self {
        let scales = weight.chunks_exact(cols).map(|row| {
            row.iter()
                .fold(0.0_f64, |most, value| most.max(value.abs()))
                / 127.0
        });
        let scales = positive(scales.collect());
        let codes = weight
            .chunks_exact(cols)
            .zip(&scales)
            .flat_map(|(row, &scale)| {
                row.iter()
                    .map(move |value| (value / scale).round_ties_even().clamp(-127.0, 127.0) as i8)
            })
            .collect();
        Self {
            rows,
            cols,
            codes,
            scales,
        }
    }

    /// Codes of one output channel.
    pub(super) fn row(&self, row: usize) -> &[i8] {
        &self.codes[row * self.cols..(row + 1) * self.cols]
    }
}

/// Puts rows of `tensor` on wider scales and rounds their weights, `exact`, again; one scale for all rows is
/// widened for all. Returns how many rows changed.
#[expect(
    clippy::cast_possible_truncation,
    reason = "within 8 bits by the clamp; scales are f32"
)]
pub(super) fn widen(tensor: &mut QuantizedTensor, exact: &[f64], wider: &[Option<f64>]) -> usize {
    let Encoding::Uniform(grid) = &mut tensor.encoding else {
        return 0;
    };
    let most = f64::from((1_i16 << (grid.bits - 1)) - 1);
    let whole = (grid.granularity == Granularity::Tensor).then(|| {
        let largest = wider.iter().flatten().copied();
        largest.fold(0.0, f64::max)
    });
    let mut changed = 0;
    for (row, wider) in wider.iter().enumerate() {
        let Some(wanted) = whole.or(*wider) else {
            continue;
        };
        changed += 1;
        let scale = grid.scale_type.round(wanted as f32);
        let at = if whole.is_some() { 0 } else { row };
        grid.scales[at] = scale;
        let cols = tensor.cols;
        let codes = &mut grid.codes[row * cols..(row + 1) * cols];
        for (code, value) in codes.iter_mut().zip(&exact[row * cols..]) {
            *code = (value / f64::from(scale))
                .round_ties_even()
                .clamp(-most - 1.0, most) as i8;
        }
    }
    changed
}

/// A channel of zeros has no scale: any will do.
fn positive(scales: Vec<f64>) -> Vec<f64> {
    scales
        .into_iter()
        .map(|scale| if scale > 0.0 { scale } else { 1e-6 })
        .collect()
}
