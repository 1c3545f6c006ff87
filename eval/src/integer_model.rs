//! An integer program as a model of an evaluation.
//!
//! Floats stand at its two ends only: pixels become codes, and codes of the output become real
//! numbers (`code * factor`) that are compared with those of the original.

use crate::error::{Side, TaskError};
use crate::runner::{Progress, Runner, Wanted};
use calib::Model;
use calib::inputs::Inputs;
use quantizers::integer::{Dyadic, Executor, OutputKind, Program, ProgramError, ProgramInput};
use rayon::prelude::*;

/// A program ready to run, and the model it was compiled from.
pub struct IntegerModel<'a> {
    executor: Executor,
    model: &'a dyn Model,
}

impl<'a> IntegerModel<'a> {
    /// Packs the weights of `program`, made from `model`.
    pub fn new(program: Program, model: &'a dyn Model) -> Self {
        Self {
            executor: Executor::new(program),
            model,
        }
    }

    /// Output codes of every input: sequences run next to each other, each on one thread.
    fn codes(
        &self,
        inputs: &Inputs,
        progress: &dyn Progress,
    ) -> Result<Vec<Vec<i32>>, ProgramError> {
        let done = |codes| {
            progress.advance(1);
            codes
        };
        match inputs {
            Inputs::Tokens(sequences) => sequences
                .par_iter()
                .map(|ids| self.executor.run_tokens(ids, None).map(done))
                .collect(),
            Inputs::Pixels { images, .. } => images
                .par_iter()
                .map(|image| {
                    let codes = pixel_codes(image, self.executor.program().input());
                    self.executor.run_pixels(&codes).map(done)
                })
                .collect(),
        }
    }
}

impl Runner for IntegerModel<'_> {
    fn model(&self) -> &dyn Model {
        self.model
    }

    fn rows(
        &self,
        side: Side,
        inputs: &Inputs,
        wanted: Wanted,
        progress: &dyn Progress,
    ) -> Result<Vec<Vec<f32>>, TaskError> {
        let output = self.executor.program().output();
        let codes = self
            .codes(inputs, progress)
            .map_err(|source| TaskError::Program {
                side,
                source: Box::new(source),
            })?;
        let reduce = |values: Vec<f32>| match (output.kind, wanted) {
            (OutputKind::ClassLogits, Wanted::ClassLogits)
            | (OutputKind::Embedding, Wanted::Embedding(_)) => Some(values),
            (OutputKind::HiddenStates, Wanted::Embedding(pooling)) => {
                let tokens = values.len() / output.width.max(1);
                Some(pooling.embedding(&values, [tokens, output.width]))
            }
            _ => None,
        };
        codes
            .into_iter()
            .map(|codes| {
                reduce(real(&codes, output.factor)).ok_or_else(|| TaskError::Values {
                    side,
                    found: format!("the integer program returns {:?}", output.kind),
                })
            })
            .collect()
    }
}

/// `code * factor`.
#[expect(clippy::cast_possible_truncation, reason = "scores are f32")]
fn real(codes: &[i32], factor: Dyadic) -> Vec<f32> {
    let factor = factor.value();
    codes
        .iter()
        .map(|&code| (f64::from(code) * factor) as f32)
        .collect()
}

/// Pixels `[channels, height, width]` as the 8-bit codes a program takes: nearest, half to even.
///
/// A program of text takes none, and says so itself when it is run.
fn pixel_codes(pixels: &[f32], input: &ProgramInput) -> Vec<u8> {
    let ProgramInput::Pixels {
        image,
        factors,
        zero_points,
    } = input
    else {
        return vec![0; pixels.len()];
    };
    let of_channel = image[1] * image[2];
    let channels = pixels.chunks(of_channel.max(1));
    channels
        .zip(factors.iter().zip(zero_points))
        .flat_map(|(values, (factor, &zero_point))| {
            let factor = factor.value();
            values.iter().map(move |&value| {
                let scaled = (f64::from(value) / factor).round_ties_even() + f64::from(zero_point);
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "clamped to a byte"
                )]
                let code = scaled.clamp(0.0, 255.0) as u8;
                code
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_round_to_the_grid_of_their_channel() {
        let input = ProgramInput::Pixels {
            image: [2, 1, 3],
            factors: vec![Dyadic::of(0.5), Dyadic::of(0.25)],
            zero_points: vec![128, 0],
        };
        let codes = pixel_codes(&[0.25, 0.75, -100.0, 0.25, -1.0, 100.0], &input);
        // 0.5 and 1.5 steps are ties: to 0 and to 2.
        assert_eq!(codes, [128, 130, 0, 1, 0, 255]);
    }

    #[test]
    fn codes_become_real_by_their_factor() {
        assert_eq!(real(&[3, -2], Dyadic::of(0.125)), [0.375, -0.25]);
    }
}
