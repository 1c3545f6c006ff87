//! A model that can be evaluated, whatever it computes with.

use crate::error::{Side, TaskError};
use calib::data::Remark;
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

/// How the states of a sentence become its embedding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pooling {
    /// Mean over all tokens.
    #[default]
    Mean,
    /// The first token.
    First,
    /// The last token.
    Last,
}

impl Pooling {
    /// One embedding from the states `[tokens, width]` of a sentence, not yet of unit length.
    pub(crate) fn embedding(self, states: &[f32], [tokens, width]: [usize; 2]) -> Vec<f32> {
        match self {
            Self::First => return states[..width].to_vec(),
            Self::Last => return states[(tokens - 1) * width..].to_vec(),
            Self::Mean => {}
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
}

/// Receives the progress of an evaluation.
pub trait Progress: Sync {
    /// `total` things called `unit` are about to be run.
    fn begin(&self, total: u64, unit: &str);
    /// `count` more of them are done.
    fn advance(&self, count: u64);
    /// A pass over all of them comes first, of `total` steps called `unit`.
    fn begin_pass(&self, total: u64, unit: &str);
    /// `count` more steps of that pass are done.
    fn advance_pass(&self, count: u64);
    /// Something a reader of the figures should know of the data.
    fn remark(&self, remark: &Remark);
}

/// Shows nothing.
impl Progress for () {
    fn begin(&self, _total: u64, _unit: &str) {}
    fn advance(&self, _count: u64) {}
    fn begin_pass(&self, _total: u64, _unit: &str) {}
    fn advance_pass(&self, _count: u64) {}
    fn remark(&self, _remark: &Remark) {}
}

/// One model of an evaluation: float stages, or an integer program.
pub trait Runner: Sync {
    /// What the model takes and returns.
    fn model(&self) -> &dyn Model;
    /// The float stages, for tasks that look at every token; `None` for an integer program.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pooling_by_hand() {
        let states = [1.0, 2.0, 3.0, 6.0];
        assert_eq!(Pooling::Mean.embedding(&states, [2, 2]), [2.0, 4.0]);
        assert_eq!(Pooling::Last.embedding(&states, [2, 2]), [3.0, 6.0]);
        assert_eq!(Pooling::First.embedding(&states, [2, 2]), [1.0, 2.0]);
    }
}
