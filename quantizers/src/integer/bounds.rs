//! Interval analysis of a whole program: no value can be wider than where it is kept.

use super::frame::{Buffer, Element};
use super::interval::Interval;
use super::operation::Misfit;
use super::program::{Program, ProgramError, ProgramInput};
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
    /// Buffer `at`.
    ///
    /// # Errors
    /// No such buffer.
    pub fn buffer(&self, at: usize) -> Result<&'a Buffer, Misfit> {
        self.buffers.get(at).ok_or_else(|| Misfit::Shape {
            what: "buffer".to_owned(),
            expected: format!("below {}", self.buffers.len()),
            found: at.to_string(),
        })
    }

    /// Values of buffer `at` so far.
    ///
    /// # Errors
    /// A buffer nothing has been written to.
    pub fn interval(&self, at: usize) -> Result<Interval, Misfit> {
        self.buffer(at)?;
        self.intervals[at].ok_or_else(|| Misfit::Shape {
            what: format!("buffer {at}"),
            expected: "written before it is read".to_owned(),
            found: "nothing".to_owned(),
        })
    }

    /// Weights of layer `name`.
    ///
    /// # Errors
    /// No such layer.
    pub fn weights(&self, name: &str) -> Result<&'a Weights, Misfit> {
        self.weights.get(name).ok_or_else(|| Misfit::Shape {
            what: "layer".to_owned(),
            expected: "a quantized layer of the artifact".to_owned(),
            found: format!("`{name}`"),
        })
    }

    /// Notes that buffer `at`, of rows of `width`, now holds `interval`.
    ///
    /// # Errors
    /// Another width, or values its type does not hold.
    pub fn write(&mut self, at: usize, width: usize, interval: Interval) -> Result<(), Misfit> {
        let buffer = self.buffer(at)?;
        expect(
            &format!("width of buffer `{}`", buffer.name),
            width,
            buffer.width,
        )?;
        let (low, high) = buffer.element.range();
        if interval.low < i128::from(low) || interval.high > i128::from(high) {
            return Err(Misfit::Shape {
                what: format!("values of buffer `{}`", buffer.name),
                expected: format!("from {low} to {high}"),
                found: format!("from {} to {}", interval.low, interval.high),
            });
        }
        self.intervals[at] = Some(interval);
        Ok(())
    }
}

/// `found` must be `expected`.
///
/// # Errors
/// It is not.
pub fn expect(what: &str, expected: usize, found: usize) -> Result<(), Misfit> {
    if expected == found {
        return Ok(());
    }
    Err(Misfit::Shape {
        what: what.to_owned(),
        expected: expected.to_string(),
        found: found.to_string(),
    })
}

impl Bounds<'_> {
    /// Buffer `at` must hold values of type `element`: the vector code of an operation reads no other.
    ///
    /// # Errors
    /// Another type, or no such buffer.
    pub fn typed(&self, at: usize, element: Element) -> Result<(), Misfit> {
        let buffer = self.buffer(at)?;
        if buffer.element == element {
            return Ok(());
        }
        Err(Misfit::Shape {
            what: format!("type of buffer `{}`", buffer.name),
            expected: format!("{element:?}"),
            found: format!("{:?}", buffer.element),
        })
    }
}

/// What constants have to be must hold.
///
/// # Errors
/// It does not.
pub fn require(expected: &str, holds: bool) -> Result<(), Misfit> {
    if holds {
        return Ok(());
    }
    Err(Misfit::Shape {
        what: "constants".to_owned(),
        expected: expected.to_owned(),
        found: "others".to_owned(),
    })
}

/// Intervals of all buffers after each operation.
///
/// # Errors
/// The first operation that does not fit or could overflow.
pub fn check(program: &Program) -> Result<Vec<Vec<Option<Interval>>>, ProgramError> {
    let max_rows = match &program.input {
        ProgramInput::Tokens { max_tokens, .. } => *max_tokens,
        ProgramInput::Pixels { image, .. } => image[1] * image[2] + 1,
    };
    let mut bounds = Bounds {
        buffers: &program.buffers,
        weights: &program.weights,
        max_rows,
        input: &program.input,
        intervals: vec![None; program.buffers.len()],
    };
    let mut after = Vec::with_capacity(program.operations.len());
    for (at, operation) in program.operations.iter().enumerate() {
        // Outputs are taken out of the frame while inputs are read.
        let inputs = operation.inputs();
        if let Some(buffer) = operation.outputs().iter().find(|out| inputs.contains(out)) {
            return Err(ProgramError::Place {
                place: format!("operations.{at} ({})", operation.kind()),
                expected: "outputs apart from inputs".to_owned(),
                found: format!("buffer {buffer} in both"),
            });
        }
        operation
            .bounds(&mut bounds)
            .map_err(|misfit| match misfit {
                Misfit::Width(source) => ProgramError::Width {
                    at,
                    kind: operation.kind(),
                    source,
                },
                Misfit::Shape {
                    what,
                    expected,
                    found,
                } => ProgramError::Place {
                    place: format!("operations.{at} ({}): {what}", operation.kind()),
                    expected,
                    found,
                },
            })?;
        after.push(bounds.intervals.clone());
    }
    let output = program.output.buffer;
    let written = bounds.interval(output).and_then(|_| {
        let width = bounds.buffer(output)?.width;
        expect("width of the output", width, program.output.width)
    });
    written.map_err(|misfit| ProgramError::Place {
        place: "output".to_owned(),
        expected: "a buffer that is written".to_owned(),
        found: misfit.to_string(),
    })?;
    Ok(after)
}
