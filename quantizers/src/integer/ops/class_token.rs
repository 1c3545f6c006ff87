//! A class token and others in front, positions added: `out[k] = token[k]`, `out[leading + i] = in[i] +
//! position[i]`, all requantized per channel. Positions and tokens are on the scale of the input.

use crate::integer::arithmetic::Arithmetic;
use crate::integer::bounds::{Bounds, expect, require};
use crate::integer::error::OperationError;
use crate::integer::frame::Frame;
use crate::integer::interval::Interval;
use crate::integer::operation::{Generic, OperationConstants, Step};
use crate::integer::requantize::Requantization;
use crate::integer::weights::Weights;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassToken {
    /// Buffer `[patches, width]`.
    pub input: usize,
    /// Buffer `[leading + patches, width]`.
    pub output: usize,
    /// Channels.
    pub width: usize,
    /// Rows in front of the patches; programs of before there were several have a class token alone.
    #[serde(default = "class_token_alone")]
    pub leading: usize,
    /// `[leading + patches, width]`: each token plus its position, then the positions of the patches.
    pub rows: Vec<i32>,
    /// To the grid of the output.
    pub requantize: Requantization,
}

fn class_token_alone() -> usize {
    1
}

impl OperationConstants for ClassToken {
    const KIND: &'static str = "class-token";
    const SUMMARY: &'static str = "tokens in front, positions added, requantized";

    fn inputs(&self) -> Vec<usize> {
        vec![self.input]
    }

    fn outputs(&self) -> Vec<usize> {
        vec![self.output]
    }

    fn bounds(&self, bounds: &mut Bounds<'_>) -> Result<(), OperationError> {
        expect(
            "width of the input",
            self.width,
            bounds.buffer(self.input)?.width,
        )?;
        expect(
            "values beside whole rows",
            0,
            self.rows.len() % self.width.max(1),
        )?;
        require(
            "one factor or one a channel, shifts of 1 to 62, a range of codes",
            self.requantize.is_valid(self.width),
        )?;
        let largest = self.rows.iter().copied().max().unwrap_or(0);
        let smallest = self.rows.iter().copied().min().unwrap_or(0);
        let rows = Interval::new(i128::from(smallest), i128::from(largest));
        let sum = bounds.interval(self.input)?.plus(rows).union(rows);
        for channel in 0..self.width {
            self.requantize.unclamped(sum, channel)?;
        }
        bounds.write(self.output, self.width, self.requantize.codes())
    }

    fn prepare(&self, _weights: &BTreeMap<String, Weights>) -> Box<dyn Step> {
        Box::new(self.clone())
    }

    fn describe(&self) -> String {
        format!("{} positions", self.rows.len() / self.width.max(1))
    }
}

impl Generic for ClassToken {
    fn compute<A: Arithmetic>(&self, arithmetic: &A, frame: &mut Frame) {
        let width = self.width;
        let rows = self.rows.len() / width.max(1);
        let mut output = frame.take(self.output, rows);
        let mut row = vec![0; width];
        for (at, constants) in self.rows.chunks_exact(width).enumerate() {
            row.fill(0);
            if let Some(patch) = at.checked_sub(self.leading) {
                frame.buffer(self.input).read(patch * width, &mut row);
            }
            for (channel, value) in row.iter_mut().enumerate() {
                let sum = arithmetic.add(i64::from(*value), i64::from(constants[channel]));
                *value = self.requantize.apply(arithmetic, sum, channel);
            }
            output.write(at * width, &row);
        }
        frame.put(self.output, output);
    }
}
