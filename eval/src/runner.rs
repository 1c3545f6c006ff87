//! A model that can be judged, whatever it computes with.

use crate::subject::Pooling;
use crate::tasks::{Progress, Side, TaskError, passes};
use calib::inputs::Inputs;
use calib::{Forward, Model};

/// What a task wants of every input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// `[classes]`.
    ClassLogits,
    /// `[width]`, of any length.
    Embedding(Pooling),
}

/// One model of an evaluation: float stages, or an integer program.
pub trait Runner: Sync {
    /// What it is: what it returns, how much it takes.
    fn model(&self) -> &dyn Model;
    /// The float stages, for tasks that look at every token; nothing where there are none.
    fn stages(&self) -> Option<&Forward<'_>> {
        None
    }
    /// One vector for each of `inputs`, in their order; the same on any number of threads.
    ///
    /// # Errors
    /// Inputs the model does not take, or a model that returns something else.
    fn rows(
        &self,
        side: Side,
        inputs: &Inputs,
        wanted: Wanted,
        progress: &dyn Progress,
    ) -> Result<Vec<Vec<f32>>, TaskError>;
}

impl Runner for Forward<'_> {
    fn model(&self) -> &dyn Model {
        Forward::model(self)
    }

    fn stages(&self) -> Option<&Forward<'_>> {
        Some(self)
    }

    fn rows(
        &self,
        side: Side,
        inputs: &Inputs,
        wanted: Wanted,
        progress: &dyn Progress,
    ) -> Result<Vec<Vec<f32>>, TaskError> {
        passes::outputs(self, side, inputs, progress, |states, shape| match wanted {
            Wanted::ClassLogits => states.to_vec(),
            Wanted::Embedding(pooling) => pool(states, shape, pooling),
        })
    }
}

/// One embedding from the states `[tokens, width]` of a sentence, not yet of unit length.
pub(crate) fn pool(states: &[f32], [tokens, width]: [usize; 2], pooling: Pooling) -> Vec<f32> {
    if pooling == Pooling::First {
        return states[..width].to_vec();
    }
    let mut sums = vec![0.0_f64; width];
    for token in states.chunks_exact(width.max(1)) {
        for (sum, &value) in sums.iter_mut().zip(token) {
            *sum += f64::from(value);
        }
    }
    #[expect(clippy::cast_possible_truncation, reason = "an embedding is f32")]
    sums.into_iter()
        .map(|sum| (sum / tokens as f64) as f32)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pooling_by_hand() {
        let states = [1.0, 2.0, 3.0, 6.0];
        assert_eq!(pool(&states, [2, 2], Pooling::Mean), [2.0, 4.0]);
        assert_eq!(pool(&states, [2, 2], Pooling::First), [1.0, 2.0]);
    }
}
