//! Operations from one buffer to another without constants: what their checks and runs share.

use crate::integer::arithmetic::Arithmetic;
use crate::integer::bounds::Bounds;
use crate::integer::buffer::Storage;
use crate::integer::error::OperationError;
use crate::integer::frame::Frame;
use crate::integer::interval::{Interval, WidthError};
use crate::integer::operation::{Generic, OperationConstants, Step};
use crate::integer::weights::Weights;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::marker::PhantomData;

/// What an operation makes of the rows of its input.
pub trait RowFunction: Debug + Clone + Send + Sync + 'static {
    /// Name in a program.
    const KIND: &'static str;
    /// One line for `quench inspect`.
    const SUMMARY: &'static str;
    /// Values of the output for values in `input`, of at most `rows` rows of `width`.
    ///
    /// # Errors
    /// A value that could overflow.
    fn bounds(input: Interval, rows: usize, width: usize) -> Result<Interval, WidthError>;
    /// Reads the rows of buffer `input`; returns those of the output, `[rows, width]`.
    fn compute<A: Arithmetic>(arithmetic: &A, frame: &Frame, input: usize) -> Vec<i32>;
}

/// The operation that runs `F` over every row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound = "", deny_unknown_fields)]
pub struct RowOperation<F> {
    /// Buffer `[rows, width]`.
    pub input: usize,
    /// Buffer `[rows, width]`, or `[1, width]`.
    pub output: usize,
    #[serde(skip)]
    function: PhantomData<F>,
}

impl<F> RowOperation<F> {
    /// From buffer `input` to buffer `output`.
    pub fn new(input: usize, output: usize) -> Self {
        Self {
            input,
            output,
            function: PhantomData,
        }
    }
}

impl<F: RowFunction> OperationConstants for RowOperation<F> {
    const KIND: &'static str = F::KIND;
    const SUMMARY: &'static str = F::SUMMARY;

    fn inputs(&self) -> Vec<usize> {
        vec![self.input]
    }

    fn outputs(&self) -> Vec<usize> {
        vec![self.output]
    }

    fn bounds(&self, bounds: &mut Bounds<'_>) -> Result<(), OperationError> {
        let width = bounds.buffer(self.input)?.width;
        let input = bounds.interval(self.input)?;
        bounds.write(
            self.output,
            width,
            F::bounds(input, bounds.max_rows, width)?,
        )
    }

    fn prepare(&self, _weights: &BTreeMap<String, Weights>) -> Box<dyn Step> {
        Box::new(self.clone())
    }
}

impl<F: RowFunction> Generic for RowOperation<F> {
    fn compute<A: Arithmetic>(&self, arithmetic: &A, frame: &mut Frame) {
        let rows = F::compute(arithmetic, frame, self.input);
        let count = rows.len() / frame.width(self.output).max(1);
        let mut output: Storage = frame.take(self.output, count);
        output.write(0, &rows);
        frame.put(self.output, output);
    }
}
