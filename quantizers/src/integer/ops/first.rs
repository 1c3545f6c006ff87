//! The first row alone (class token), no arithmetic.

use super::rows::{RowFunction, RowOperation};
use crate::integer::arithmetic::Arithmetic;
use crate::integer::frame::Frame;
use crate::integer::interval::{Interval, WidthError};

/// To a buffer `[1, width]`.
pub type First = RowOperation<FirstRow>;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirstRow;

impl RowFunction for FirstRow {
    const KIND: &'static str = "first";
    const SUMMARY: &'static str = "the first row alone";

    fn bounds(input: Interval, _rows: usize, _width: usize) -> Result<Interval, WidthError> {
        Ok(input)
    }

    fn compute<A: Arithmetic>(_arithmetic: &A, frame: &Frame, input: usize) -> Vec<i32> {
        let mut row = vec![0; frame.width(input)];
        frame.buffer(input).read(0, &mut row);
        row
    }
}
