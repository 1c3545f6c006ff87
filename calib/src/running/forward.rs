//! Running the stages of a model over many batches, with one block in memory or all of them.

use crate::attention_policy::AttentionPolicy;
use crate::{Model, Stage, StageError, WeightSource};
use burn::tensor::Device;
use std::sync::Arc;

/// A model, the source of its weights and the device they run on.
///
/// Stages are built when they are needed and dropped after use; [`Forward::keep_resident`] builds
/// them once for models that fit in memory.
pub struct Forward<'a> {
    model: &'a dyn Model,
    source: &'a dyn WeightSource,
    device: Device,
    resident: Vec<Box<dyn Stage>>,
    policy: Option<Arc<dyn AttentionPolicy>>,
}

impl<'a> Forward<'a> {
    /// Prepares `model` over `source`; reads no weight yet.
    pub fn new(model: &'a dyn Model, source: &'a dyn WeightSource, device: Device) -> Self {
        Self {
            model,
            source,
            device,
            resident: Vec::new(),
            policy: None,
        }
    }

    /// The same with attention by `policy` in every block; nothing is resident yet.
    #[must_use]
    pub fn attending_by(self, policy: Arc<dyn AttentionPolicy>) -> Self {
        Self {
            policy: Some(policy),
            resident: Vec::new(),
            ..self
        }
    }

    fn build(&self, stage: usize) -> Result<Box<dyn Stage>, StageError> {
        let mut built = self.model.build(stage, self.source, &self.device)?;
        if let Some(policy) = &self.policy {
            built.attend_by(Arc::clone(policy));
        }
        Ok(built)
    }

    /// Builds every stage once and keeps it.
    ///
    /// # Errors
    /// A tensor that is missing or has another shape.
    pub fn keep_resident(&mut self) -> Result<(), StageError> {
        self.resident = (0..self.model.stages())
            .map(|stage| self.build(stage))
            .collect::<Result<_, _>>()?;
        Ok(())
    }

    /// The model.
    pub fn model(&self) -> &'a dyn Model {
        self.model
    }

    /// Where its weights come from.
    pub fn source(&self) -> &'a dyn WeightSource {
        self.source
    }

    /// The device stages are built on.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Lends one stage to `body`, building it unless it is resident.
    ///
    /// # Errors
    /// As [`Model::build`].
    pub fn with_stage<R>(
        &self,
        stage: usize,
        body: impl FnOnce(&dyn Stage) -> R,
    ) -> Result<R, StageError> {
        if let Some(built) = self.resident.get(stage) {
            return Ok(body(built.as_ref()));
        }
        let built = self.build(stage)?;
        Ok(body(built.as_ref()))
    }
}
