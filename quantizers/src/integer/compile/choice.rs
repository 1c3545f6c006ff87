//! Which approximation a slot gets: every candidate is compiled and run on calibration samples.
//!
//! SQNR is `20 log10(mean over sequences of |x| / |x - y|)` (Kim et al. 2024, mixed non-linear
//! quantization), of the input on the grid a candidate reads and of its output. They take the
//! candidate whose output loses least against its own input; that prefers coarse inputs, whose loss
//! is already made, so here all are measured from the same float input: the largest output SQNR
//! wins, if by more than a margin over those named before it, and both figures are reported.

use super::builder::Builder;
use super::error::CompileError;
use super::source::{Candidate, Choice, Slot};
use crate::integer::{Fault, Mode};
use crate::nonlinear::{self, Approximation, Compiled, Grid, Nonlinearity, Request};

/// By how much a family has to beat one named before it. Differences below are of the order of what
/// rounding to 8 bits does by luck, and ours, which is named first, runs on vectors.
const MARGIN_DB: f64 = 1.0;

/// Rows of one sequence of a slot: exact inputs and outputs.
#[derive(Debug, Clone, Default)]
pub(super) struct Rows {
    /// Inputs, row-major.
    pub(super) inputs: Vec<f64>,
    /// Outputs of the float function.
    pub(super) outputs: Vec<f64>,
    /// Values in a row.
    pub(super) width: usize,
}

/// One slot being decided.
pub(super) struct Contest<'a> {
    /// Name in the report.
    pub(super) slot: String,
    /// The function.
    pub(super) function: Nonlinearity,
    /// What it is compiled for, given the approximation.
    pub(super) request: &'a dyn Fn(&dyn Approximation) -> Result<Request, CompileError>,
    /// Sequences to measure on.
    pub(super) sequences: &'a [Rows],
}

/// The winner.
pub(super) struct Chosen {
    pub(super) approximation: &'static dyn Approximation,
    pub(super) request: Request,
    pub(super) compiled: Compiled,
}

impl Builder<'_> {
    /// Decides a slot and notes why.
    pub(super) fn choose(&mut self, contest: &Contest<'_>) -> Result<Chosen, CompileError> {
        let choice = match contest.function {
            Nonlinearity::Gelu => self.options.gelu.clone(),
            Nonlinearity::Softmax => self.options.softmax.clone(),
            Nonlinearity::LayerNorm => self.options.layernorm.clone(),
            Nonlinearity::GeluTanh
            | Nonlinearity::Relu
            | Nonlinearity::Silu
            | Nonlinearity::Tanh
            | Nonlinearity::RmsNorm => Choice::Named("exact".to_owned()),
        };
        let families = match &choice {
            Choice::Named(family) => vec![family.clone()],
            Choice::Auto(families) => families.clone(),
        };
        let mut best: Option<(f64, Chosen)> = None;
        let mut candidates = Vec::new();
        for family in &families {
            let Some(approximation) = nonlinear::find(contest.function, family) else {
                if let Choice::Auto(_) = choice {
                    // A family need not replace every function.
                    continue;
                }
                return Err(CompileError::Unknown {
                    family: family.clone(),
                    function: contest.function.name(),
                });
            };
            let request = (contest.request)(approximation)?;
            match approximation.compile(&request) {
                Err(refusal) => {
                    if let Choice::Named(_) = choice {
                        return Err(CompileError::Refused {
                            slot: contest.slot.clone(),
                            source: refusal,
                        });
                    }
                    candidates.push(Candidate {
                        name: family.clone(),
                        input_sqnr_db: None,
                        output_sqnr_db: None,
                        refused: Some(refusal.to_string()),
                    });
                }
                Ok(compiled) => {
                    let (input, output) = measure(&request.input, &compiled, contest.sequences)
                        .map_err(|source| CompileError::Fault {
                            slot: contest.slot.clone(),
                            source,
                        })?;
                    candidates.push(Candidate {
                        name: family.clone(),
                        input_sqnr_db: Some(input),
                        output_sqnr_db: Some(output),
                        refused: None,
                    });
                    let better = best
                        .as_ref()
                        .is_none_or(|(most, _)| output > most + MARGIN_DB);
                    if better {
                        best = Some((
                            output,
                            Chosen {
                                approximation,
                                request,
                                compiled,
                            },
                        ));
                    }
                }
            }
        }
        let reasons = || {
            let reasons = candidates.iter().filter_map(|c| c.refused.clone());
            reasons.collect::<Vec<_>>().join("; ")
        };
        let Some((_, chosen)) = best else {
            return Err(CompileError::NoCandidate {
                slot: contest.slot.clone(),
                families: families.join(", "),
                reasons: reasons(),
            });
        };
        self.slots.push(Slot {
            name: contest.slot.clone(),
            function: contest.function.name(),
            chosen: chosen.approximation.name().to_owned(),
            candidates,
        });
        Ok(chosen)
    }
}

/// The code of a real value.
#[expect(clippy::cast_possible_truncation, reason = "clamped to codes")]
pub(super) fn code(grid: &Grid, value: f64, channel: usize) -> i32 {
    let scaled = (value / grid.scale(channel)).round_ties_even() + f64::from(grid.zero_point);
    scaled.clamp(f64::from(grid.low), f64::from(grid.high)) as i32
}

/// SQNR of inputs and outputs, dB.
fn measure(input: &Grid, compiled: &Compiled, sequences: &[Rows]) -> Result<(f64, f64), Fault> {
    let (mut inputs, mut outputs) = (Vec::new(), Vec::new());
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
        inputs.push(of_input.value());
        outputs.push(of_output.value());
    }
    Ok((decibel(&inputs), decibel(&outputs)))
}

/// `|x| / |x - y|` of one sequence.
#[derive(Default)]
struct Ratio {
    signal: f64,
    noise: f64,
}

impl Ratio {
    fn add(&mut self, exact: f64, approximate: f64) {
        self.signal += exact * exact;
        self.noise += (exact - approximate).powi(2);
    }

    fn value(&self) -> f64 {
        // Exact results would make the mean infinite: capped at 240 dB.
        (self.signal.sqrt() / self.noise.sqrt().max(1e-300)).min(1e12)
    }
}

fn decibel(ratios: &[f64]) -> f64 {
    let mean = ratios.iter().sum::<f64>() / (ratios.len().max(1) as f64);
    20.0 * mean.max(1e-12).log10()
}
