//! The value between two stages where texts are continued token by token.

use crate::hidden::values;
use crate::{Hidden, StageError};
use burn::tensor::{Device, Int, Tensor, TensorData};
use quantizers::scratch::Scratch;

/// The next token of each of several texts, in host memory: on a few hundred values an operation on tensors takes longer than
/// what it computes.
#[derive(Debug, Clone)]
pub enum NextTokens {
    /// Their ids, what the first stage is given.
    Ids(Scratch<u32>),
    /// A row of hidden states for each, or of logits after the last stage: `[texts, width]`.
    Rows(Scratch<f32>),
}

impl NextTokens {
    /// The last of the positions of `states`, `[texts, positions, width]`.
    pub fn last_of(states: Tensor<3>) -> Self {
        let last = states.dims()[1] - 1;
        Self::Rows(values(states.narrow(1, last, 1)).into())
    }

    /// The ids; `stage` is the name of the stage that asks.
    ///
    /// # Errors
    /// Hidden states.
    pub fn into_ids(self, stage: impl FnOnce() -> String) -> Result<Scratch<u32>, StageError> {
        match self {
            Self::Ids(ids) => Ok(ids),
            Self::Rows(_) => Err(StageError::Input {
                stage: stage(),
                expected: "token ids",
                found: "hidden states",
            }),
        }
    }

    /// The rows; `stage` is the name of the stage that asks.
    ///
    /// # Errors
    /// Ids.
    pub fn into_rows(self, stage: impl FnOnce() -> String) -> Result<Scratch<f32>, StageError> {
        match self {
            Self::Rows(rows) => Ok(rows),
            Self::Ids(_) => Err(StageError::Input {
                stage: stage(),
                expected: "hidden states",
                found: "token ids",
            }),
        }
    }

    /// That of text `at` of `texts` as one on `device`: `[1, 1]` or `[1, 1, width]`.
    pub fn hidden(&self, at: usize, texts: usize, device: &Device) -> Hidden {
        match self {
            Self::Ids(ids) => {
                let data = TensorData::new(vec![ids[at].cast_signed()], [1, 1]);
                Hidden::Tokens(Tensor::<2, Int>::from_data(data, device))
            }
            Self::Rows(rows) => {
                let width = rows.len() / texts;
                let row = rows[at * width..(at + 1) * width].to_vec();
                let data = TensorData::new(row, [1, 1, width]);
                Hidden::States(Tensor::from_data(data, device))
            }
        }
    }
}
