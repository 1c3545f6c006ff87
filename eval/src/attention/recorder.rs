//! Queries, keys and values of a block as exact attention meets them.

use burn::tensor::Tensor;
use calib::attention_policy::{Attending, AttentionPolicy};
use calib::layers::attention::attend;
use calib::policy_error::PolicyError;
use std::sync::{Mutex, PoisonError};

/// Attends exactly and keeps what it has seen until it is taken.
#[derive(Debug, Default)]
pub struct Recorder(Mutex<Option<Attending>>);

impl Recorder {
    /// What the last batch had.
    pub fn take(&self) -> Option<Attending> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl AttentionPolicy for Recorder {
    fn attend(&self, input: Attending) -> Result<Tensor<4>, PolicyError> {
        let attended = attend(
            input.query.clone(),
            input.key.clone(),
            input.value.clone(),
            &input.scores,
        );
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(input);
        Ok(attended)
    }
}
