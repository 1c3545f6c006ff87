//! What an approximation loses in its slot, on calibration samples.
//!
//! SQNR is `20 log10(mean over sequences of |x| / |x - y|)` (Kim et al. 2024, mixed non-linear
//! quantization), of the input on the grid a candidate reads and of its output.

use crate::integer::{ArithmeticError, Mode};
use crate::nonlinear::{Compiled, Grid};

/// SQNR in one slot, dB.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Sqnr {
    /// Of the input on the grid that is read.
    pub(super) input_db: f64,
    /// Of the output.
    pub(super) output_db: f64,
}

impl Sqnr {
    /// Of the ratios of each sequence, inputs and outputs.
    pub(super) fn of(sequences: &[(Ratio, Ratio)]) -> Self {
        let mean = |each: fn(&(Ratio, Ratio)) -> f64| {
            let sum: f64 = sequences.iter().map(each).sum();
            20.0 * (sum / sequences.len().max(1) as f64).max(1e-12).log10()
        };
        Self {
            input_db: mean(|(input, _)| input.value()),
            output_db: mean(|(_, output)| output.value()),
        }
    }
}

/// `|x| / |x - y|` of one sequence.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Ratio {
    signal: f64,
    noise: f64,
}

impl Ratio {
    pub(super) fn add(&mut self, exact: f64, approximate: f64) {
        self.signal += exact * exact;
        self.noise += (exact - approximate).powi(2);
    }

    fn value(&self) -> f64 {
        // Exact results would make the mean infinite: capped at 240 dB.
        (self.signal.sqrt() / self.noise.sqrt().max(1e-300)).min(1e12)
    }
}

/// Rows of one sequence of a slot: exact inputs and outputs.
#[derive(Debug, Clone)]
pub(super) struct Rows {
    /// Inputs, row-major.
    pub(super) inputs: Vec<f64>,
    /// Outputs of the float function.
    pub(super) outputs: Vec<f64>,
    /// Values in a row.
    pub(super) width: usize,
}

/// SQNR of a kernel that reads codes on the grid `input`.
///
/// # Errors
/// A fault of the kernel.
pub(super) fn rows(
    input: &Grid,
    compiled: &Compiled,
    sequences: &[Rows],
) -> Result<Sqnr, ArithmeticError> {
    let mut ratios = Vec::with_capacity(sequences.len());
    for rows in sequences {
        let width = rows.width.max(1);
        let mut codes = vec![0; width];
        let mut results = vec![0; width];
        let (mut of_input, mut of_output) = (Ratio::default(), Ratio::default());
        let pairs = rows.inputs.chunks_exact(width);
        for (exact, wanted) in pairs.zip(rows.outputs.chunks_exact(width)) {
            for (channel, (slot, &value)) in codes.iter_mut().zip(exact).enumerate() {
                *slot = code(input, value, channel);
                of_input.add(value, input.value(*slot, channel));
            }
            compiled.kernel.run(Mode::Fast, &codes, &mut results)?;
            for (channel, (&result, &value)) in results.iter().zip(wanted).enumerate() {
                of_output.add(value, compiled.output.value(result, channel));
            }
        }
        ratios.push((of_input, of_output));
    }
    Ok(Sqnr::of(&ratios))
}

/// The code of a real value.
#[expect(clippy::cast_possible_truncation, reason = "clamped to codes")]
pub(super) fn code(grid: &Grid, value: f64, channel: usize) -> i32 {
    let scaled = (value / grid.scale(channel)).round_ties_even() + f64::from(grid.zero_point);
    scaled.clamp(f64::from(grid.low), f64::from(grid.high)) as i32
}
