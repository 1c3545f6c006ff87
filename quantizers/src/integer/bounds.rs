//! Interval analysis: no value can be wider than where it is kept.

use super::buffer::{Buffer, Element};
use super::error::OperationError;
use super::interface::ProgramInput;
use super::interval::Interval;
use super::weights::Weights;
use std::collections::BTreeMap;

/// Intervals of all buffers at one point of a program.
pub struct Bounds<'a> {
    /// The buffers.
    pub buffers: &'a [Buffer],
    /// Weights by layer name.
    pub weights: &'a BTreeMap<String, Weights>,
    /// Most rows a buffer can have.
    pub max_rows: usize,
    /// What the program is fed with.
    pub input: &'a ProgramInput,
    intervals: Vec<Option<Interval>>,
}

impl<'a> Bounds<'a> {
    /// Those before the first operation: nothing has been written.
    pub fn new(
        buffers: &'a [Buffer],
        weights: &'a BTreeMap<String, Weights>,
        input: &'a ProgramInput,
    ) -> Self {
        let max_rows = match input {
            ProgramInput::Tokens { max_tokens, .. } => *max_tokens,
            ProgramInput::Pixels { image, .. } => image[1] * image[2] + 1,
        };
        Self {
            buffers,
            weights,
            max_rows,
            input,
            intervals: vec![None; buffers.len()],
        }
    }

    /// Values of every buffer so far; none of one that nothing has been written to.
    pub fn intervals(&self) -> &[Option<Interval>] {
        &self.intervals
    }

    /// Buffer `at`.
    ///
    /// # Errors
    /// No such buffer.
    pub fn buffer(&self, at: usize) -> Result<&'a Buffer, OperationError> {
        self.buffers.get(at).ok_or_else(|| OperationError::Shape {
            what: "buffer".to_owned(),
            expected: format!("below {}", self.buffers.len()),
            found: at.to_string(),
        })
    }

    /// Values of buffer `at` so far.
    ///
    /// # Errors
    /// A buffer nothing has been written to.
    pub fn interval(&self, at: usize) -> Result<Interval, OperationError> {
        self.buffer(at)?;
        self.intervals[at].ok_or_else(|| OperationError::Shape {
            what: format!("buffer {at}"),
            expected: "written before it is read".to_owned(),
            found: "nothing".to_owned(),
        })
    }

    /// Weights of layer `name`.
    ///
    /// # Errors
    /// No such layer.
    pub fn weights(&self, name: &str) -> Result<&'a Weights, OperationError> {
        self.weights.get(name).ok_or_else(|| OperationError::Shape {
            what: "layer".to_owned(),
            expected: "a quantized layer of the artifact".to_owned(),
            found: format!("`{name}`"),
        })
    }

    /// Notes that buffer `at`, of rows of `width`, now holds `interval`.
    ///
    /// # Errors
    /// Another width, or values its type does not hold.
    pub fn write(
        &mut self,
        at: usize,
        width: usize,
        interval: Interval,
    ) -> Result<(), OperationError> {
        let buffer = self.buffer(at)?;
        expect(
            &format!("width of buffer `{}`", buffer.name),
            width,
            buffer.width,
        )?;
        let (low, high) = buffer.element.range();
        if interval.low < i128::from(low) || interval.high > i128::from(high) {
            return Err(OperationError::Shape {
                what: format!("values of buffer `{}`", buffer.name),
                expected: format!("from {low} to {high}"),
                found: format!("from {} to {}", interval.low, interval.high),
            });
        }
        self.intervals[at] = Some(interval);
        Ok(())
    }

    /// Buffer `at` must hold values of type `element`: the vector code of an operation reads no other.
    ///
    /// # Errors
    /// Another type, or no such buffer.
    pub fn typed(&self, at: usize, element: Element) -> Result<(), OperationError> {
        let buffer = self.buffer(at)?;
        if buffer.element == element {
            return Ok(());
        }
        Err(OperationError::Shape {
            what: format!("type of buffer `{}`", buffer.name),
            expected: format!("{element:?}"),
            found: format!("{:?}", buffer.element),
        })
    }
}

/// `found` must be `expected`.
///
/// # Errors
/// It is not.
pub fn expect(what: &str, expected: usize, found: usize) -> Result<(), OperationError> {
    if expected == found {
        return Ok(());
    }
    Err(OperationError::Shape {
        what: what.to_owned(),
        expected: expected.to_string(),
        found: found.to_string(),
    })
}

/// What constants have to be must hold.
///
/// # Errors
/// It does not.
pub fn require(expected: &str, holds: bool) -> Result<(), OperationError> {
    if holds {
        return Ok(());
    }
    Err(OperationError::Shape {
        what: "constants".to_owned(),
        expected: expected.to_owned(),
        found: "others".to_owned(),
    })
}
