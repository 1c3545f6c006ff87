//! A linear layer: `acc = W u + bias`, then what follows it in one pass.
//!
//! `u` are 8-bit codes; their zero point is folded into the bias, `bias - zero_point sum(W)`.
//! After the product come, each optional: a requantization per channel, a residual that joins
//! before saturation (each branch rounded by itself, one clamp), a nonlinear kernel.
//!
//! Widths: accumulators 32 bits (proven per channel from the weights), products 63 bits.

mod fused;
mod layer;
mod step;

pub use layer::{Linear, Residual};

use crate::integer::bounds::{Bounds, expect, require};
use crate::integer::buffer::Element;
use crate::integer::error::OperationError;
use crate::integer::interval::Interval;
use crate::integer::operation::{OperationConstants, Step};
use crate::integer::weights::Weights;
use std::collections::BTreeMap;
use step::LinearStep;

impl OperationConstants for Linear {
    const KIND: &'static str = "linear";
    const SUMMARY: &'static str =
        "8-bit matrix product, bias, then requantization, residual, nonlinearity as compiled";

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

    fn bounds(&self, bounds: &mut Bounds<'_>) -> Result<(), OperationError> {
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
