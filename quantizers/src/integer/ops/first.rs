//! The first row alone (class token), no arithmetic.

use crate::integer::arithmetic::Arithmetic;
use crate::integer::bounds::Bounds;
use crate::integer::error::OperationError;
use crate::integer::frame::Frame;
use crate::integer::operation::{Generic, OperationConstants, Step};
use crate::integer::weights::Weights;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct First {
    /// Buffer `[rows, width]`.
    pub input: usize,
    /// Buffer `[1, width]`.
    pub output: usize,
}

impl OperationConstants for First {
    const KIND: &'static str = "first";
    const SUMMARY: &'static str = "the first row alone";

    fn inputs(&self) -> Vec<usize> {
        vec![self.input]
    }

    fn outputs(&self) -> Vec<usize> {
        vec![self.output]
    }

    fn bounds(&self, bounds: &mut Bounds<'_>) -> Result<(), OperationError> {
        let width = bounds.buffer(self.input)?.width;
        let interval = bounds.interval(self.input)?;
        bounds.write(self.output, width, interval)
    }

    fn prepare(&self, _weights: &BTreeMap<String, Weights>) -> Box<dyn Step> {
        Box::new(self.clone())
    }
}

impl Generic for First {
    fn compute<A: Arithmetic>(&self, _arithmetic: &A, frame: &mut Frame) {
        let mut output = frame.take(self.output, 1);
        let mut row = vec![0; frame.width(self.input)];
        frame.buffer(self.input).read(0, &mut row);
        output.write(0, &row);
        frame.put(self.output, output);
    }
}
