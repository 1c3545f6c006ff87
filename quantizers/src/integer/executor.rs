//! Runs a program.

use super::error::ProgramError;
use super::frame::Frame;
use super::interface::ProgramInput;
use super::kernel::Mode;
use super::operation::Step;
use super::program::Program;
use std::sync::{Mutex, PoisonError};

/// A program with packed weights, ready to run; sequences run independently of each other, on as
/// many threads as call it.
pub struct Executor {
    program: Program,
    steps: Vec<Box<dyn Step>>,
    /// Buffers of finished runs, to be used again.
    frames: Mutex<Vec<Frame>>,
}

impl Executor {
    /// Packs the weights.
    pub fn new(program: Program) -> Self {
        let steps = program
            .operations
            .iter()
            .map(|operation| operation.prepare(&program.weights))
            .collect();
        Self {
            steps,
            program,
            frames: Mutex::new(Vec::new()),
        }
    }

    /// The program.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// Runs one token sequence; `mask` says which tokens count, all if absent. Returns the output
    /// rows.
    ///
    /// # Errors
    /// A program of images, ids or lengths it does not take.
    pub fn run_tokens(&self, ids: &[u32], mask: Option<&[bool]>) -> Result<Vec<i32>, ProgramError> {
        self.run(Mode::Fast, ids, mask, &[])
    }

    /// Runs one image of 8-bit codes `[channels, height, width]`.
    ///
    /// # Errors
    /// A program of text, or an image of another size.
    pub fn run_pixels(&self, codes: &[u8]) -> Result<Vec<i32>, ProgramError> {
        self.run(Mode::Fast, &[], None, codes)
    }

    /// Runs in either arithmetic.
    ///
    /// # Errors
    /// As [`Executor::run_tokens`]; in [`Mode::Checked`] also the first fault.
    pub fn run(
        &self,
        mode: Mode,
        ids: &[u32],
        mask: Option<&[bool]>,
        pixels: &[u8],
    ) -> Result<Vec<i32>, ProgramError> {
        let mut rows = Vec::new();
        self.observe(mode, ids, mask, pixels, &mut |at, frame| {
            if at + 1 == self.steps.len() {
                rows = frame.buffer(self.program.output.buffer).to_i32();
            }
        })?;
        Ok(rows)
    }

    /// Runs and shows the buffers after each operation.
    ///
    /// # Errors
    /// As [`Executor::run`].
    pub fn observe(
        &self,
        mode: Mode,
        ids: &[u32],
        mask: Option<&[bool]>,
        pixels: &[u8],
        after: &mut dyn FnMut(usize, &Frame),
    ) -> Result<(), ProgramError> {
        self.check(ids, mask, pixels)?;
        let pooled = self.pool(Vec::pop);
        let mut frame = pooled.unwrap_or_else(|| Frame::new(&self.program.buffers));
        frame.ids.clear();
        frame.ids.extend_from_slice(ids);
        frame.pixels.clear();
        frame.pixels.extend_from_slice(pixels);
        frame.mask.clear();
        frame.mask.extend_from_slice(mask.unwrap_or(&[]));
        for (at, step) in self.steps.iter().enumerate() {
            step.run(mode, &mut frame)
                .map_err(|source| ProgramError::Arithmetic {
                    at,
                    kind: self.program.operations[at].kind(),
                    source,
                })?;
            after(at, &frame);
        }
        self.pool(|frames| frames.push(frame));
        Ok(())
    }

    fn pool<R>(&self, body: impl FnOnce(&mut Vec<Frame>) -> R) -> R {
        body(&mut self.frames.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn check(&self, ids: &[u32], mask: Option<&[bool]>, pixels: &[u8]) -> Result<(), ProgramError> {
        let refuse = |what, expected: String, found: String| {
            Err(ProgramError::Input {
                what,
                expected,
                found,
            })
        };
        match self.program.input() {
            ProgramInput::Tokens {
                vocabulary,
                max_tokens,
            } => {
                let length = ids.len();
                if length == 0 || length > *max_tokens {
                    let expected = format!("1 to {max_tokens}");
                    return refuse("tokens of a sequence", expected, length.to_string());
                }
                if let Some(id) = ids.iter().find(|&&id| id as usize >= *vocabulary) {
                    return refuse("token id", format!("below {vocabulary}"), id.to_string());
                }
                match mask {
                    Some(mask) if mask.len() != length => refuse(
                        "values of the mask",
                        length.to_string(),
                        mask.len().to_string(),
                    ),
                    _ => Ok(()),
                }
            }
            ProgramInput::Pixels { image, .. } => {
                let size: usize = image.iter().product();
                if pixels.len() == size {
                    return Ok(());
                }
                refuse(
                    "pixels of an image",
                    size.to_string(),
                    pixels.len().to_string(),
                )
            }
        }
    }
}
