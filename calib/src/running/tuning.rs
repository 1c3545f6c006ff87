//! Layers of a block that are tuned together, by what the block makes of them.
//!
//! The error is the mean squared difference between what the original block returns for the original inputs and what the
//! block with the quantized layers returns for the inputs that quantized blocks before it made. Each step runs some of the
//! sequences through the block and sends the difference back; the layers move by the derivative of their weights
//! ([`TunedLayer`]), and remember the state that takes most of the error which nearest rounding has on the same sequences.
//!
//! Sums are taken sequence after sequence, so the thread count does not change a bit.

use super::error::CollectError;
use super::overlay::Overlay;
use super::workers::Workers;
use crate::artifact::transpose;
use crate::hidden::values;
use crate::sampling::generator;
use crate::{Hidden, LayerSpec, Model, NoTap, Stage, StageError, Tape};
use burn::tensor::{Device, Tensor};
use quantizers::methods::{TunedLayer, Tuning};
use rand::seq::index;
use rayon::prelude::*;

/// A block and the data around it.
pub struct BlockTuning<'a> {
    /// The model.
    pub model: &'a dyn Model,
    /// Which of its stages.
    pub stage: usize,
    /// Weights of the other layers, and of those that are tuned before.
    pub source: &'a Overlay<'a>,
    /// Where the block runs.
    pub device: &'a Device,
    /// What enters it, a batch for each sequence.
    pub inputs: &'a [Hidden],
    /// What the original block returns, likewise.
    pub targets: &'a [Hidden],
    /// Of the choice of sequences.
    pub seed: u64,
}

/// A layer of the block that is tuned.
pub struct TunedSlot<'a> {
    /// The layer.
    pub spec: &'a LayerSpec,
    /// Its state.
    pub layer: Box<dyn TunedLayer + 'a>,
}

/// What one sequence says of a step.
struct Seen {
    squares: f64,
    /// In the order of the slots, `[rows, cols]`; nothing where the layer had no part.
    gradients: Vec<Option<Vec<f32>>>,
}

impl BlockTuning<'_> {
    /// Tunes `slots`, `on_step` being called after each step; every slot remembers its best state. Returns the error of that
    /// state on the sequences it was seen with, as a share of that of nearest rounding: 1 where nothing was better.
    ///
    /// # Errors
    /// A block that cannot be built or run, an error that is not finite.
    pub fn run(
        &self,
        slots: &mut [TunedSlot<'_>],
        tuning: Tuning,
        on_step: &mut dyn FnMut(),
    ) -> Result<f64, CollectError> {
        let workers = Workers::new()?;
        let nearest = self.errors(slots)?;
        for slot in &mut *slots {
            slot.layer.keep();
        }
        let mut best = 1.0;
        let count = self.inputs.len();
        let mut generator = generator("tuning", self.seed, self.stage as u64);
        for _ in 0..tuning.steps {
            let mut chosen =
                index::sample(&mut generator, count, tuning.batch.min(count)).into_vec();
            chosen.sort_unstable();
            let seen = self.step(slots, &chosen, &workers)?;
            let before: f64 = chosen.iter().map(|&index| nearest[index]).sum();
            let share = if before > 0.0 {
                seen.squares / before
            } else {
                1.0
            };
            // What was seen is the state before this step.
            if share < best {
                best = share;
                for slot in &mut *slots {
                    slot.layer.keep();
                }
            }
            for (slot, gradient) in slots.iter_mut().zip(seen.gradients) {
                if let Some(gradient) = gradient {
                    slot.layer.step(&gradient);
                }
            }
            on_step();
        }
        Ok(best)
    }

    /// Squared error of each sequence with the slots as they are.
    fn errors(&self, slots: &[TunedSlot<'_>]) -> Result<Vec<f64>, CollectError> {
        let built = self.build(slots, self.device)?;
        let sequences = self.inputs.par_iter().zip(self.targets).enumerate();
        let errors = sequences.map(|(index, (input, target))| {
            let output = built.forward(input.clone(), &mut NoTap)?;
            let output = output.into_states(|| self.name())?;
            let difference = output - self.states(target)?;
            self.finite(squares(difference), index)
        });
        errors.collect()
    }

    /// The error of the `chosen` sequences and its derivatives.
    fn step(
        &self,
        slots: &[TunedSlot<'_>],
        chosen: &[usize],
        workers: &Workers,
    ) -> Result<Seen, CollectError> {
        let device = self.device.clone().autodiff();
        let built = self.build(slots, &device)?;
        let mut sum = Seen {
            squares: 0.0,
            gradients: slots.iter().map(|_| None).collect(),
        };
        for part in chosen.chunks(workers.count()) {
            let seen = workers.map(part.to_vec(), |index| {
                self.back(built.as_ref(), slots, index)
            });
            for (seen, &index) in seen.into_iter().zip(part) {
                let seen = seen?;
                sum.squares += self.finite(seen.squares, index)?;
                for (sum, gradient) in sum.gradients.iter_mut().zip(seen.gradients) {
                    match (sum.as_mut(), gradient) {
                        (Some(sum), Some(gradient)) => {
                            let entries = sum.par_iter_mut().zip(gradient);
                            entries.for_each(|(sum, gradient)| *sum += gradient);
                        }
                        (None, gradient) => *sum = gradient,
                        (Some(_), None) => {}
                    }
                }
            }
        }
        Ok(sum)
    }

    /// One sequence through the block and back.
    fn back(
        &self,
        built: &dyn Stage,
        slots: &[TunedSlot<'_>],
        index: usize,
    ) -> Result<Seen, StageError> {
        let input = self.states(&self.inputs[index])?;
        let layers = slots.iter().map(|slot| slot.spec);
        let (tape, output) = Tape::record(built, layers, input)?;
        let difference = output - self.states(&self.targets[index])?;
        let squares = squares(difference.clone());
        let mut gradients: Vec<Option<Vec<f32>>> = slots.iter().map(|_| None).collect();
        for gradient in tape.back(difference).weight_gradients {
            let at = slots
                .iter()
                .position(|slot| slot.spec.name == gradient.layer);
            let Some(at) = at else {
                continue;
            };
            let spec = slots[at].spec;
            let dense = values(gradient.dense());
            let dense = if spec.transposed {
                transpose(&dense, spec.cols, spec.rows)
            } else {
                dense
            };
            match &mut gradients[at] {
                Some(sum) => sum.iter_mut().zip(dense).for_each(|(sum, own)| *sum += own),
                none => *none = Some(dense),
            }
        }
        Ok(Seen { squares, gradients })
    }

    fn build(
        &self,
        slots: &[TunedSlot<'_>],
        device: &Device,
    ) -> Result<Box<dyn Stage>, StageError> {
        let mut overlay = self.source.clone();
        for slot in slots {
            let (rows, cols) = (slot.spec.rows, slot.spec.cols);
            let weights = slot.layer.weights();
            let (shape, values) = if slot.spec.transposed {
                (vec![cols, rows], transpose(weights, rows, cols))
            } else {
                (vec![rows, cols], weights.to_vec())
            };
            overlay.set(&slot.spec.weight_name(), shape, values);
        }
        self.model.build(self.stage, &overlay, device)
    }

    fn name(&self) -> String {
        self.model.stage_name(self.stage)
    }

    fn states(&self, hidden: &Hidden) -> Result<Tensor<3>, StageError> {
        hidden.clone().into_states(|| self.name())
    }

    fn finite(&self, squares: f64, sequence: usize) -> Result<f64, CollectError> {
        if squares.is_finite() {
            return Ok(squares);
        }
        Err(CollectError::NotFinite {
            point: self.name(),
            sequence,
        })
    }
}

fn squares(difference: Tensor<3>) -> f64 {
    let difference = values(difference).into_iter();
    difference.map(|value| f64::from(value).powi(2)).sum()
}
