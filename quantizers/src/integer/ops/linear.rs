//! A linear layer: `acc = W u + bias`, then what follows it in one pass.
//!
//! `u` are 8-bit codes; their zero point is folded into the bias, `bias - zero_point sum(W)`.
//! After the product come, each optional: a requantization per channel, a residual that joins
//! before saturation (each branch rounded by itself, one clamp), a nonlinear kernel.
//!
//! Widths: accumulators 32 bits (proven per channel from the weights), products 63 bits.

use super::linear_step::LinearStep;
use crate::integer::bounds::{Bounds, expect, require};
use crate::integer::dyadic::Dyadic;
use crate::integer::frame::Element;
use crate::integer::interval::Interval;
use crate::integer::operation::{Kernel, Misfit, Operation, OperationKind, Step, read};
use crate::integer::requantize::Requantization;
use crate::integer::weights::Weights;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// The registry entry.
pub(crate) const KIND: OperationKind = OperationKind {
    kind: "linear",
    summary: "8-bit matrix product, bias, then requantization, residual, nonlinearity as compiled",
    read: read::<Linear>,
};

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
    /// Values of each channel's accumulator for inputs in `input`.
    fn accumulator(&self, weights: &Weights, channel: usize, input: Interval) -> Interval {
        let bias = i128::from(self.bias[channel]);
        let start = Interval::new(bias, bias);
        weights.row(channel).iter().fold(start, |sum, &weight| {
            let weight = i128::from(weight);
            sum.plus(input.times(Interval::new(weight, weight)))
        })
    }
}

impl Operation for Linear {
    fn kind(&self) -> &'static str {
        KIND.kind
    }

    fn constants(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }

    fn layers(&self) -> Vec<&str> {
        vec![&self.layer]
    }

    fn inputs(&self) -> Vec<usize> {
        let residual = self.residual.iter().map(|residual| residual.buffer);
        std::iter::once(self.input).chain(residual).collect()
    }

    fn outputs(&self) -> Vec<usize> {
        vec![self.output]
    }

    fn bounds(&self, bounds: &mut Bounds<'_>) -> Result<(), Misfit> {
        let weights = bounds.weights(&self.layer)?;
        let input = bounds.interval(self.input)?;
        let rows = weights.rows;
        expect("inputs", weights.cols, bounds.buffer(self.input)?.width)?;
        expect("biases", rows, self.bias.len())?;
        expect("codes", rows * weights.cols, weights.codes.len())?;
        bounds.typed(self.input, Element::U8)?;
        if let Some(requantize) = &self.requantize {
            require(
                "one factor or one a channel, shifts of 1 to 62, a range of codes",
                requantize.is_valid(rows),
            )?;
        } else {
            expect(
                "residuals without requantization",
                0,
                self.residual.iter().count(),
            )?;
        }
        let mut all: Option<Interval> = None;
        for channel in 0..rows {
            let sum = self
                .accumulator(weights, channel, input)
                .within(32, "accumulator")?;
            let codes = match &self.requantize {
                None => sum,
                Some(requantize) => {
                    let mut codes = requantize.unclamped(sum, channel)?;
                    if let Some(residual) = &self.residual {
                        codes = codes.plus(residual.bounds(bounds, channel, rows)?);
                    }
                    let (low, high) = (i128::from(requantize.low), i128::from(requantize.high));
                    codes.within(64, "sum of the branches")?.clamped(low, high)
                }
            };
            all = Some(all.map_or(codes, |all| all.union(codes)));
        }
        let all = all.unwrap_or(Interval::new(0, 0));
        let written = match &self.kernel {
            Some(kernel) => kernel.bounds(all, rows)?,
            None => all,
        };
        bounds.write(self.output, rows, written)
    }

    fn prepare(&self, weights: &BTreeMap<String, Weights>) -> Box<dyn Step> {
        Box::new(LinearStep::new(self.clone(), &weights[&self.layer]))
    }

    fn describe(&self) -> String {
        let kernel = self.kernel.as_ref().map(|k| format!(", {}", k.kind()));
        let residual = self.residual.as_ref().map_or("", |_| " + residual");
        format!("`{}`{residual}{}", self.layer, kernel.unwrap_or_default())
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
    fn bounds(&self, bounds: &Bounds<'_>, channel: usize, rows: usize) -> Result<Interval, Misfit> {
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
