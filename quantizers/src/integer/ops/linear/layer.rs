//! The constants of a linear layer.

use crate::integer::bounds::{Bounds, expect, require};
use crate::integer::buffer::Storage;
use crate::integer::dyadic::Dyadic;
use crate::integer::error::OperationError;
use crate::integer::frame::Frame;
use crate::integer::interval::Interval;
use crate::integer::operation::Kernel;
use crate::integer::requantize::Requantization;
use crate::integer::weights::Weights;
use serde::{Deserialize, Serialize};

/// A second branch, `round(factor (q - zero_point))`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Residual {
    /// Buffer `[rows, outputs]`.
    pub buffer: usize,
    /// Code of zero.
    pub zero_point: i32,
    /// Factor of each channel, or one for all.
    pub factors: Vec<Dyadic>,
}

/// See the module.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Linear {
    /// Layer whose weights these are.
    pub layer: String,
    /// Buffer `[rows, inputs]` of 8-bit codes.
    pub input: usize,
    /// Buffer `[rows, outputs]`.
    pub output: usize,
    /// `[outputs]`, zero point of the input folded in.
    pub bias: Vec<i32>,
    /// To codes; without it the accumulators themselves go on.
    pub requantize: Option<Requantization>,
    /// Joins before saturation.
    pub residual: Option<Residual>,
    /// Last.
    pub kernel: Option<Kernel>,
}

impl Linear {
    /// The residual's buffer.
    pub(super) fn residual_of<'f>(&self, frame: &'f Frame) -> Option<&'f Storage> {
        self.residual
            .as_ref()
            .map(|residual| frame.buffer(residual.buffer))
    }

    /// Values of each channel's accumulator for inputs in `input`.
    pub(super) fn accumulator(
        &self,
        weights: &Weights,
        channel: usize,
        input: Interval,
    ) -> Interval {
        let bias = i128::from(self.bias[channel]);
        let start = Interval::new(bias, bias);
        weights.row(channel).iter().fold(start, |sum, &weight| {
            let weight = i128::from(weight);
            sum.plus(input.times(Interval::new(weight, weight)))
        })
    }
}

impl Residual {
    /// The factor of channel `channel`.
    pub(super) fn factor(&self, channel: usize) -> Dyadic {
        if self.factors.len() == 1 {
            self.factors[0]
        } else {
            self.factors[channel]
        }
    }

    /// Values it adds to channel `channel`.
    pub(super) fn bounds(
        &self,
        bounds: &Bounds<'_>,
        channel: usize,
        rows: usize,
    ) -> Result<Interval, OperationError> {
        expect(
            "width of the residual",
            rows,
            bounds.buffer(self.buffer)?.width,
        )?;
        let lengths = self.factors.len() == 1 || self.factors.len() == rows;
        require("one residual factor or one a channel", lengths)?;
        let factor = self.factor(channel);
        let shift = u32::try_from(factor.shift).unwrap_or(0);
        require("residual shifts of 1 to 62", (1..=62).contains(&shift))?;
        let zero_point = i128::from(self.zero_point);
        let input = bounds
            .interval(self.buffer)?
            .plus(Interval::new(-zero_point, -zero_point));
        let multiplier = i128::from(factor.multiplier);
        let half = 1_i128 << (shift - 1);
        let product = input
            .within(32, "residual")?
            .times(Interval::new(multiplier, multiplier))
            .plus(Interval::new(half, half))
            .within(64, "product of the residual")?;
        Ok(Interval::new(product.low >> shift, product.high >> shift))
    }
}
