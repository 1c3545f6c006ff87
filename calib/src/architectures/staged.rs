//! The one implementation of [`Model`]: a list of stage specifications.

use crate::encoder_graph::{GraphError, Inexpressible, Sketch};
use crate::layers::{Inventory, Loader, TensorSpec};
use crate::model::{Output, Point};
use crate::{LayerSpec, Model, Stage, StageError, WeightSource};
use burn::tensor::Device;
use quantizers::integer::compile::EncoderGraph;

/// What a stage reads, and how it is built from that.
pub trait StageSpec: Send + Sync {
    /// Short name for progress: `embedding`, `block 3`, `head`.
    fn name(&self) -> String;
    /// Adds the tensors, linear layers and points of the stage to `inventory`, in execution order.
    fn list(&self, inventory: &mut Inventory);
    /// Adds the stage to the description of an encoder for integer-only execution.
    ///
    /// # Errors
    /// What the description has no words for.
    fn describe(&self, _sketch: &mut Sketch) -> Result<(), Inexpressible> {
        Err(Inexpressible("is of a kind of its own"))
    }
    /// Reads the weights.
    ///
    /// # Errors
    /// A missing tensor or one of another shape.
    fn build(&self, loader: &Loader<'_>) -> Result<Box<dyn Stage>, StageError>;
}

/// A model as the list of its stages.
pub struct StagedModel {
    architecture: &'static str,
    stages: Vec<Box<dyn StageSpec>>,
    tensors: Vec<Vec<TensorSpec>>,
    layers: Vec<LayerSpec>,
    points: Vec<Vec<Point>>,
    output: Output,
    vocabulary: Option<usize>,
    max_positions: Option<usize>,
}

impl StagedModel {
    /// The model of family `architecture` that runs `stages` one after the other.
    pub fn new(
        architecture: &'static str,
        output: Output,
        stages: Vec<Box<dyn StageSpec>>,
    ) -> Self {
        let mut tensors = Vec::with_capacity(stages.len());
        let mut layers = Vec::new();
        let mut points = Vec::with_capacity(stages.len());
        for (index, stage) in stages.iter().enumerate() {
            let mut inventory = Inventory::default();
            stage.list(&mut inventory);
            tensors.push(inventory.tensors);
            points.push(inventory.points);
            layers.extend(inventory.linears.iter().map(|linear| linear.layer(index)));
        }
        Self {
            architecture,
            stages,
            tensors,
            layers,
            points,
            output,
            vocabulary: None,
            max_positions: None,
        }
    }

    /// With the vocabulary and the longest sequence of a text model.
    #[must_use]
    pub fn with_text(self, vocabulary: usize, max_positions: usize) -> Self {
        Self {
            vocabulary: Some(vocabulary),
            max_positions: Some(max_positions),
            ..self
        }
    }
}

impl Model for StagedModel {
    fn architecture(&self) -> &'static str {
        self.architecture
    }

    fn layers(&self) -> &[LayerSpec] {
        &self.layers
    }

    fn stages(&self) -> usize {
        self.stages.len()
    }

    fn stage_name(&self, stage: usize) -> String {
        self.stages[stage].name()
    }

    fn output(&self) -> Output {
        self.output
    }

    fn tensors(&self, stage: usize) -> &[TensorSpec] {
        &self.tensors[stage]
    }

    fn points(&self, stage: usize) -> Vec<Point> {
        self.points[stage].clone()
    }

    fn encoder_graph(&self) -> Result<EncoderGraph, GraphError> {
        let mut sketch = Sketch {
            max_tokens: self.max_positions,
            ..Sketch::default()
        };
        let error = |stage: String, Inexpressible(reason)| GraphError {
            architecture: self.architecture,
            stage,
            reason,
        };
        for stage in &self.stages {
            let described = stage.describe(&mut sketch);
            described.map_err(|reason| error(stage.name(), reason))?;
        }
        sketch
            .finish()
            .map_err(|reason| error("the model".to_owned(), reason))
    }

    fn build(
        &self,
        stage: usize,
        source: &dyn WeightSource,
        device: &Device,
    ) -> Result<Box<dyn Stage>, StageError> {
        self.stages[stage].build(&Loader::new(source, device))
    }

    fn vocabulary(&self) -> Option<usize> {
        self.vocabulary
    }

    fn max_positions(&self) -> Option<usize> {
        self.max_positions
    }
}
