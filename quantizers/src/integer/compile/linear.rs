//! Linear layers: weights on the grid of their input, the zero point and offsets in the bias.

use super::builder::{Builder, Tensor, requantization};
use super::error::CompileError;
use super::weights::{self, LayerCodes};
use crate::graph::LinearNode;
use crate::integer::ops::linear::{Linear, Residual};
use crate::integer::weights::Weights;
use crate::matrix::MatrixRef;
use crate::nonlinear::Grid;

/// Units of its accumulators that the bias of a widened row takes, of 2^31 there are.
const ROOM: f64 = (1_u32 << 30) as f64;

/// A linear layer whose accumulators are known, not yet what becomes of them.
pub(super) struct Product {
    pub(super) layer: String,
    pub(super) input: usize,
    pub(super) rows: usize,
    /// Zero point, offsets and corrections folded in, in units of the accumulators.
    pub(super) bias: Vec<i32>,
    /// Of the accumulators, `[rows]`.
    pub(super) scales: Vec<f64>,
}

impl Product {
    /// The operation, to codes of `grid` in `output`.
    pub(super) fn to(&self, output: usize, grid: &Grid) -> Linear {
        Linear {
            requantize: Some(requantization(&self.scales, grid)),
            ..self.raw(output)
        }
    }

    /// The operation, its accumulators as they are.
    pub(super) fn raw(&self, output: usize) -> Linear {
        Linear {
            layer: self.layer.clone(),
            input: self.input,
            output,
            bias: self.bias.clone(),
            requantize: None,
            residual: None,
            kernel: None,
        }
    }

    /// The operation with `other` added, to codes of `grid`.
    pub(super) fn plus(&self, other: &Tensor, output: usize, grid: &Grid) -> Linear {
        let channels = other.grid.scales.len().max(grid.scales.len());
        let factors = (0..channels)
            .map(|channel| super::builder::bounded(other.grid.scale(channel) / grid.scale(channel)))
            .collect();
        Linear {
            residual: Some(Residual {
                buffer: other.buffer,
                zero_point: other.grid.zero_point,
                factors,
            }),
            ..self.to(output, grid)
        }
    }
}

/// What every row of a product has besides its codes.
struct Constants<'a> {
    node: &'a LinearNode,
    /// `[rows, cols]`.
    weight: &'a [f64],
    bias: &'a [f64],
    /// `weight` times the factors of the input channels.
    moved: &'a [f64],
    /// Of each input, after it is moved.
    mean: &'a [f64],
    input: &'a Tensor,
    /// Rounding errors are made up for in the bias.
    corrected: bool,
}

impl Constants<'_> {
    /// Bias of `row` with offsets and corrections, as a real number.
    fn of_row(&self, codes: &LayerCodes, row: usize) -> f64 {
        let cols = self.node.cols;
        let real = &self.weight[row * cols..(row + 1) * cols];
        let channels = &self.input.channels;
        let shifted: f64 = (0..cols).map(|c| real[c] * channels.offset(c)).sum();
        let mut constant = self.bias[row] + shifted;
        if self.corrected {
            let exact = &self.moved[row * cols..(row + 1) * cols];
            let errors = exact.iter().zip(codes.row(row)).zip(self.mean);
            constant += errors
                .map(|((exact, &code), mean)| (exact - codes.scales[row] * f64::from(code)) * mean)
                .sum::<f64>();
        }
        constant
    }

    /// The scale each row needs for its accumulators to fit; nothing for rows that have room.
    fn wider(&self, codes: &LayerCodes) -> Vec<Option<f64>> {
        let grid = &self.input.grid;
        let zero_point = f64::from(grid.zero_point);
        let reach = (f64::from(grid.high) - zero_point).max(zero_point - f64::from(grid.low));
        let rows = 0..self.node.rows;
        rows.map(|row| {
            let constant = self.of_row(codes, row);
            let weights: f64 = codes
                .row(row)
                .iter()
                .map(|&code| f64::from(code).abs())
                .sum();
            let units = constant.abs() / (codes.scales[row] * grid.scale(0));
            // The bias itself holds the zero point too.
            let folded = units + weights * zero_point.abs();
            let most = (units + weights * reach).max(folded);
            (most >= f64::from(i32::MAX)).then(|| constant.abs() / (ROOM * grid.scale(0)))
        })
        .collect()
    }
}

impl Builder<'_> {
    /// Weights of `node` in `[rows, cols]`.
    pub(super) fn weight(&self, node: &LinearNode) -> Result<Vec<f64>, CompileError> {
        self.tensor(&format!("{}.weight", node.name), node.rows * node.cols)
    }

    /// Quantizes a layer over `input` and folds everything constant into its bias.
    pub(super) fn product(
        &mut self,
        node: &LinearNode,
        input: &Tensor,
    ) -> Result<Product, CompileError> {
        let weight = self.weight(node)?;
        let bias = if node.bias {
            self.tensor(&format!("{}.bias", node.name), node.rows)?
        } else {
            vec![0.0; node.rows]
        };
        self.product_of(node, &weight, &bias, input)
    }

    /// As [`Builder::product`], of given weights and bias.
    pub(super) fn product_of(
        &mut self,
        node: &LinearNode,
        weight: &[f64],
        bias: &[f64],
        input: &Tensor,
    ) -> Result<Product, CompileError> {
        let (rows, cols) = (node.rows, node.cols);
        let channels = &input.channels;
        let moved: Vec<f64> = weight
            .iter()
            .enumerate()
            .map(|(at, &value)| value * channels.factor(at % cols))
            .collect();
        let seen = self.statistics(&node.input_point)?;
        let seen = seen.channels.ok_or_else(|| CompileError::Missing {
            point: node.input_point.clone(),
            statistic: "channel_range",
        })?;
        let (mut mean, mut mean_square) = (vec![0.0; cols], vec![0.0_f32; cols]);
        for channel in 0..cols {
            let (offset, factor) = (channels.offset(channel), channels.factor(channel));
            let first = f64::from(seen.mean[channel]);
            let second = f64::from(seen.mean_square[channel]);
            mean[channel] = (first - offset) / factor;
            let moved = (second - 2.0 * offset * first + offset * offset) / (factor * factor);
            #[expect(clippy::cast_possible_truncation, reason = "a statistic")]
            {
                mean_square[channel] = moved.max(0.0) as f32;
            }
        }
        let constants = Constants {
            node,
            weight,
            bias,
            moved: &moved,
            mean: &mean,
            input,
            corrected: self.options.bias_correction,
        };
        let codes = self.quantized(&constants, &mean_square)?;
        let scale = input.grid.scale(0);
        let zero_point = i64::from(input.grid.zero_point);
        let mut product = Product {
            layer: node.name.clone(),
            input: input.buffer,
            rows,
            bias: Vec::with_capacity(rows),
            scales: codes.scales.iter().map(|weight| weight * scale).collect(),
        };
        for row in 0..rows {
            let constant = constants.of_row(&codes, row);
            let sum: i64 = codes.row(row).iter().map(|&code| i64::from(code)).sum();
            product
                .bias
                .push(folded(constant / product.scales[row], zero_point * sum));
        }
        Ok(product)
    }

    /// Quantizes the weights; rows whose bias would not fit 32 bits in units of their accumulators get a wider
    /// scale, which costs weights too small to matter beside that bias.
    fn quantized(
        &mut self,
        constants: &Constants<'_>,
        mean_square: &[f32],
    ) -> Result<LayerCodes, CompileError> {
        let (node, moved) = (constants.node, constants.moved);
        let failed = |source| CompileError::Source {
            name: node.name.clone(),
            source,
        };
        #[expect(clippy::cast_possible_truncation, reason = "weights are f32")]
        let values: Vec<f32> = moved.iter().map(|&value| value as f32).collect();
        let matrix = MatrixRef::new(&values, node.rows, node.cols)
            .map_err(|error| failed(Box::new(error)))?;
        let mut tensor = self
            .source
            .quantize(&node.name, matrix, mean_square)
            .map_err(failed)?;
        let mut codes = LayerCodes::of(&node.name, &tensor)?;
        let wider = constants.wider(&codes);
        if wider.iter().any(Option::is_some) {
            let changed = weights::widen(&mut tensor, moved, &wider);
            codes = LayerCodes::of(&node.name, &tensor)?;
            let note = format!(
                "scale of {changed} of {} rows widened: beside such small weights their bias needs more than 32 bits",
                node.rows
            );
            self.source
                .widened(&node.name, matrix, mean_square, &tensor, note);
        }
        self.weights.insert(
            node.name.clone(),
            Weights::new(codes.rows, codes.cols, codes.codes.clone()),
        );
        self.layers.push((node.name.clone(), tensor));
        Ok(codes)
    }
}

/// `real - folded` in 32 bits; what does not fit is found by the interval analysis as a channel
/// that saturates everything, so saturating here hides nothing.
#[expect(clippy::cast_possible_truncation, reason = "clamped")]
fn folded(real: f64, folded: i64) -> i32 {
    let value = real.round_ties_even().clamp(-4e18, 4e18) as i64;
    value
        .saturating_sub(folded)
        .clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32
}
