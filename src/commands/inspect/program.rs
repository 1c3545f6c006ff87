//! The integer program of a folder: operations, buffers, and the bits their values really need.

use crate::Error;
use crate::model::OpenModel;
use ::eval::report::figures;
use quantizers::integer::operation::Operation;
use quantizers::integer::{Interval, Program};
use serde::Serialize;
use std::fmt::Write;

/// What there is to say about a program.
#[derive(Debug, Serialize)]
pub(super) struct ProgramFacts {
    input: String,
    output: String,
    operations: Vec<OperationFacts>,
    buffers: Vec<BufferFacts>,
    tensors: usize,
    tensor_bytes: u64,
}

#[derive(Debug, Serialize)]
struct OperationFacts {
    kind: &'static str,
    what: String,
    reads: Vec<String>,
    writes: Vec<String>,
    /// Width of the values written, sign included, by interval analysis.
    bits: u32,
}

#[derive(Debug, Serialize)]
struct BufferFacts {
    name: String,
    width: usize,
    element: String,
    /// Most bits of anything written to it.
    bits: u32,
}

impl ProgramFacts {
    /// `None` if the folder has no program.
    ///
    /// # Errors
    /// A program that cannot be read or is not sound.
    pub(super) fn of(open: &OpenModel) -> Result<Option<Self>, Error> {
        let failed =
            |error: crate::errors::Cause| Error::io("cannot read the integer program", error);
        let program = open.artifact.reader().integer_program();
        let Some(program) = program.map_err(|error| failed(error.into()))? else {
            return Ok(None);
        };
        let after = program.intervals().map_err(|error| failed(error.into()))?;
        let name = |at: usize| {
            let buffer = program.buffers.get(at);
            buffer.map_or_else(String::new, |buffer| buffer.name.clone())
        };
        let names = |buffers: Vec<usize>| buffers.into_iter().map(name).collect::<Vec<_>>();
        let mut widest = vec![0; program.buffers.len()];
        let operations = program
            .operations
            .iter()
            .zip(&after)
            .map(|(operation, intervals)| {
                let written = operation.outputs();
                let mut bits = 0;
                for &at in &written {
                    let needed = intervals.get(at).copied().flatten().map_or(0, width);
                    widest[at] = needed.max(widest[at]);
                    bits = needed.max(bits);
                }
                facts(
                    operation.as_ref(),
                    names(operation.inputs()),
                    names(written),
                    bits,
                )
            })
            .collect();
        let buffers = program.buffers.iter().zip(widest);
        let buffers = buffers
            .map(|(buffer, bits)| BufferFacts {
                name: buffer.name.clone(),
                width: buffer.width,
                element: format!("{:?}", buffer.element).to_lowercase(),
                bits,
            })
            .collect();
        let tensors = program.tensors();
        let reader = open.artifact.reader();
        let bytes = |name: &str| {
            reader
                .folder()
                .info(name)
                .map_or(0, |info| info.bytes as u64)
        };
        Ok(Some(Self {
            input: input(&program),
            output: format!(
                "{:?} of width {}",
                program.output.kind, program.output.width
            ),
            operations,
            buffers,
            tensor_bytes: tensors.iter().map(|(name, _)| bytes(name)).sum(),
            tensors: tensors.len(),
        }))
    }

    /// As text.
    pub(super) fn render(&self) -> String {
        let mut text = format!(
            "\ninteger program: {} operations, {} buffers, {} tensors ({}); {} -> {}\n",
            self.operations.len(),
            self.buffers.len(),
            self.tensors,
            figures::bytes(self.tensor_bytes),
            self.input,
            self.output
        );
        let kind = self
            .operations
            .iter()
            .map(|o| o.kind.len())
            .max()
            .unwrap_or(0);
        for (at, operation) in self.operations.iter().enumerate() {
            let reads = operation.reads.join(", ");
            let line = format!(
                "{at:>4}  {:<kind$}  {:>2} bits  {} -> {}  {}",
                operation.kind,
                operation.bits,
                if reads.is_empty() { "input" } else { &reads },
                operation.writes.join(", "),
                operation.what,
            );
            let _ = writeln!(text, "{}", line.trim_end());
        }
        let name = self.buffers.iter().map(|b| b.name.len()).max().unwrap_or(0);
        let _ = writeln!(text, "buffers");
        for buffer in &self.buffers {
            let _ = writeln!(
                text,
                "  {:<name$}  {:>6} wide  {:<3}  {:>2} bits used",
                buffer.name, buffer.width, buffer.element, buffer.bits
            );
        }
        text
    }
}

fn facts(
    operation: &dyn Operation,
    reads: Vec<String>,
    writes: Vec<String>,
    bits: u32,
) -> OperationFacts {
    OperationFacts {
        kind: operation.kind(),
        what: operation.describe(),
        reads,
        writes,
        bits,
    }
}

fn input(program: &Program) -> String {
    use quantizers::integer::ProgramInput::{Pixels, Tokens};
    match program.input() {
        Tokens {
            vocabulary,
            max_tokens,
        } => format!("up to {max_tokens} tokens of {vocabulary}"),
        Pixels { image, .. } => format!("pixels {image:?}, 8 bits"),
    }
}

/// Bits that hold every value of an interval: with sign where it has one.
fn width(interval: Interval) -> u32 {
    let magnitude = |value: i128| 128 - value.unsigned_abs().leading_zeros();
    if interval.low >= 0 {
        return magnitude(interval.high);
    }
    // -2^(n-1) takes n bits like 2^(n-1) - 1.
    1 + magnitude(interval.high.max(0)).max(magnitude(interval.low + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_count_the_sign_where_there_is_one() {
        let bits = |low, high| width(Interval::new(low, high));
        assert_eq!([bits(0, 255), bits(-128, 127), bits(-129, 0)], [8, 8, 9]);
        assert_eq!([bits(0, 0), bits(0, 1), bits(-1, 0)], [0, 1, 1]);
    }
}
