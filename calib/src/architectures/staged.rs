//! The one implementation of [`Model`]: a list of stage specifications.

use crate::layers::Loader;
use crate::model::{JointEmbedding, LargerModel, ModelOutput, Point};
use crate::{LayerSpec, Model, Stage, StageError, WeightSource};
use burn::tensor::Device;
use quantizers::graph::{Graph, StageNode, TensorSpec};

/// A stage as a node of the graph, and how it is built.
pub trait StageSpec: Send + Sync {
    /// The stage in the graph, which says what it reads and how its layers hang together.
    fn node(&self) -> StageNode;
    /// Reads the weights.
    ///
    /// # Errors
    /// A missing tensor or one of another shape.
    fn build(&self, loader: &Loader<'_>) -> Result<Box<dyn Stage>, StageError>;
}

/// A model as the list of its stages.
pub struct StagedModel {
    architecture: &'static str,
    graph: Graph,
    stages: Vec<Box<dyn StageSpec>>,
    tensors: Vec<Vec<TensorSpec>>,
    layers: Vec<LayerSpec>,
    points: Vec<Vec<Point>>,
    output: ModelOutput,
    vocabulary: Option<usize>,
    runs: bool,
    joint: Option<JointEmbedding>,
    within: Option<LargerModel>,
}

impl StagedModel {
    /// The model of family `architecture` that runs `stages` one after the other.
    pub fn new(
        architecture: &'static str,
        output: ModelOutput,
        stages: Vec<Box<dyn StageSpec>>,
    ) -> Self {
        let mut tensors = Vec::with_capacity(stages.len());
        let mut layers = Vec::new();
        let mut points = Vec::with_capacity(stages.len());
        let graph = Graph {
            architecture: architecture.to_owned(),
            stages: stages.iter().map(|stage| stage.node()).collect(),
            max_positions: None,
        };
        for (index, stage) in graph.stages.iter().enumerate() {
            let inventory = stage.inventory();
            tensors.push(inventory.tensors);
            points.push(inventory.points);
            let linears = inventory.linears.into_iter();
            layers.extend(linears.map(|linear| LayerSpec::new(linear, index)));
        }
        Self {
            architecture,
            graph,
            stages,
            tensors,
            layers,
            points,
            output,
            vocabulary: None,
            runs: true,
            joint: None,
            within: None,
        }
    }

    /// The same, known by its tensors alone.
    #[must_use]
    pub fn without_a_forward_pass(self) -> Self {
        Self {
            runs: false,
            ..self
        }
    }

    /// With the text tower of a model of two.
    #[must_use]
    pub fn with_joint(self, joint: JointEmbedding) -> Self {
        Self {
            joint: Some(joint),
            ..self
        }
    }

    /// As the language tower of a larger model.
    #[must_use]
    pub fn within(self, larger: LargerModel) -> Self {
        Self {
            within: Some(larger),
            ..self
        }
    }

    /// With the vocabulary and the longest sequence of a text model.
    #[must_use]
    pub fn with_text(self, vocabulary: usize, max_positions: usize) -> Self {
        Self {
            vocabulary: Some(vocabulary),
            graph: Graph {
                max_positions: Some(max_positions),
                ..self.graph
            },
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
        let name = self.graph.stages[stage].name();
        match &self.joint {
            Some(joint) if stage < joint.first_of_text => format!("image {name}"),
            Some(_) => format!("text {name}"),
            None => name,
        }
    }

    fn output(&self) -> ModelOutput {
        self.output
    }

    fn tensors(&self, stage: usize) -> &[TensorSpec] {
        &self.tensors[stage]
    }

    fn points(&self, stage: usize) -> Vec<Point> {
        self.points[stage].clone()
    }

    fn graph(&self) -> &Graph {
        &self.graph
    }

    fn build(
        &self,
        stage: usize,
        source: &dyn WeightSource,
        device: &Device,
    ) -> Result<Box<dyn Stage>, StageError> {
        self.stages[stage].build(&Loader::new(source, device))
    }

    fn runs(&self) -> bool {
        self.runs
    }

    fn vocabulary(&self) -> Option<usize> {
        self.vocabulary
    }

    fn joint(&self) -> Option<&JointEmbedding> {
        self.joint.as_ref()
    }

    fn within(&self) -> Option<&LargerModel> {
        self.within.as_ref()
    }

    fn max_positions(&self) -> Option<usize> {
        self.graph.max_positions
    }
}
