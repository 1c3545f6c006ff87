//! A model is a list of stages: embedding, block 0 .. block L-1, head.

use crate::attention_policy::AttentionPolicy;
use crate::plain_cache::CacheFloats;
use crate::{Hidden, KeyValueCache, NextTokens, NoTap, SourceError, StageError, Tap, WeightSource};
use burn::tensor::Device;
use quantizers::graph::{Graph, LinearNode, TensorSpec, output_point};
use quantizers::nearest::closest_name;
use quantizers::scratch::Scratch;
use std::sync::Arc;
use thiserror::Error;

pub use quantizers::graph::Point;

/// One linear layer that can be quantized.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerSpec {
    /// Module name as in the checkpoint, without `.weight`.
    pub name: String,
    /// Output channels.
    pub rows: usize,
    /// Inputs.
    pub cols: usize,
    /// The checkpoint stores the weight as `[in, out]` (Conv1D).
    pub transposed: bool,
    /// The stage that uses it.
    pub stage: usize,
    /// The input point a [`Tap`] sees its input at; layers with the same input share it.
    pub input_point: String,
    /// Inside a block: what `match = "*"` means. Embeddings, heads and poolers are not.
    pub in_block: bool,
}

impl LayerSpec {
    /// `layer` of the graph, used in `stage`.
    pub fn new(layer: LinearNode, stage: usize) -> Self {
        Self {
            name: layer.name,
            rows: layer.rows,
            cols: layer.cols,
            transposed: layer.transposed,
            stage,
            input_point: layer.input_point,
            in_block: layer.in_block,
        }
    }

    /// Checkpoint name of the weight.
    pub fn weight_name(&self) -> String {
        format!("{}.weight", self.name)
    }

    /// Where a [`Tap`] sees its output.
    pub fn output_point(&self) -> String {
        output_point(&self.name)
    }
}

/// What the last stage returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModelOutput {
    /// Next-token logits `[batch, tokens, vocabulary]`; the last stage works position by position.
    TokenLogits,
    /// Logits of the token at each position, seen with those on both sides, `[batch, tokens, vocabulary]`.
    MaskedTokenLogits,
    /// Class logits of each token `[batch, tokens, classes]`.
    TokenClassLogits,
    /// Class logits `[batch, 1, classes]`.
    ClassLogits,
    /// Hidden states `[batch, tokens, width]`.
    HiddenStates,
}

impl ModelOutput {
    /// What a model does instead of predicting the next token; nothing where it does that.
    pub fn instead_of_next_token(self) -> Option<&'static str> {
        match self {
            Self::TokenLogits => None,
            Self::MaskedTokenLogits => Some("predicts tokens from both sides"),
            Self::TokenClassLogits | Self::ClassLogits => Some("predicts classes"),
            Self::HiddenStates => Some("returns hidden states"),
        }
    }
}

/// How a model of two towers, one of images and one of texts, compares what they return. Each tower turns one
/// kind of input into an embedding `[batch, 1, width]`; the stages of the other let it pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JointEmbedding {
    /// First stage of the text tower; those of the image tower come before it.
    pub first_of_text: usize,
    /// Longest text, in tokens.
    pub longest: usize,
    /// Token that texts are filled up to the longest length with; absent: they are not.
    pub filler: Option<u32>,
    /// Tensor of one value: the natural logarithm of the factor on cosines.
    pub log_scale: String,
    /// Tensor of one value that is added to the product.
    pub offset: Option<String>,
}

/// The model that a language tower is a part of. What its other parts read stays as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LargerModel {
    /// Its `model_type`.
    pub model_type: String,
    /// What the names of the language tower's tensors begin with.
    pub prefix: String,
}

/// A model opened from its configuration; holds no weights.
pub trait Model: Send + Sync {
    /// Name of the family.
    fn architecture(&self) -> &'static str;
    /// Every linear layer, in execution order.
    fn layers(&self) -> &[LayerSpec];
    /// Number of stages.
    fn stages(&self) -> usize;
    /// Short name of a stage for progress: `embedding`, `block 3`, `head`.
    fn stage_name(&self, stage: usize) -> String;
    /// What the last stage returns.
    fn output(&self) -> ModelOutput;
    /// Every tensor a stage reads, for missing/unused checks and for copying.
    fn tensors(&self, stage: usize) -> &[TensorSpec];
    /// The names of [`Model::tensors`].
    fn tensor_names(&self, stage: usize) -> Vec<String> {
        self.tensors(stage)
            .iter()
            .map(|tensor| tensor.name.clone())
            .collect()
    }
    /// Everything a [`Tap`] sees while a stage runs, each point once; at least the inputs of its
    /// linear layers, which are all unless a model says more.
    fn points(&self, stage: usize) -> Vec<Point> {
        let mut points: Vec<Point> = Vec::new();
        for layer in self.layers().iter().filter(|layer| layer.stage == stage) {
            if points.iter().all(|point| point.name != layer.input_point) {
                points.push(Point {
                    name: layer.input_point.clone(),
                    width: layer.cols,
                });
            }
        }
        points
    }
    /// How its layers hang together: which reads what.
    fn graph(&self) -> &Graph;
    /// Builds one stage. Nothing in it is a leaf of a tape, so stages on an autodiff device can be
    /// shared by many [`Tape`](crate::Tape)s.
    ///
    /// # Errors
    /// A missing tensor or one of another shape.
    fn build(
        &self,
        stage: usize,
        source: &dyn WeightSource,
        device: &Device,
    ) -> Result<Box<dyn Stage>, StageError>;
    /// Whether its stages can be built and run; a model of unknown architecture has weights and nothing more.
    fn runs(&self) -> bool {
        true
    }
    /// Vocabulary size of a text model.
    fn vocabulary(&self) -> Option<usize> {
        None
    }
    /// How images and texts are compared, where it is a model of two towers.
    fn joint(&self) -> Option<&JointEmbedding> {
        None
    }
    /// The larger model it is the language tower of, where it is one.
    fn within(&self) -> Option<&LargerModel> {
        None
    }
    /// Longest sequence the model takes.
    fn max_positions(&self) -> Option<usize> {
        None
    }
}

/// One stage with its weights.
pub trait Stage: Send + Sync {
    /// Runs the stage.
    ///
    /// # Errors
    /// An input of the wrong kind.
    fn forward(&self, hidden: Hidden, tap: &mut dyn Tap) -> Result<Hidden, StageError>;
    /// Attends by `policy` in [`Stage::forward`] from now on; a stage without attention has no use for one.
    fn attend_by(&mut self, _policy: Arc<dyn AttentionPolicy>) {}
    /// Runs the stage on the next token of each of several texts, each after those
    /// in its own cache, which it joins; only for stages that never look ahead (decoders). A text comes out bit by bit as
    /// it does alone, if the source of the weights keeps rows apart ([`WeightSource::keeps_rows_apart`]).
    ///
    /// The default runs each of the whole texts again, which is right for every such stage.
    ///
    /// # Errors
    /// As [`Stage::forward`].
    fn next_of_each(
        &self,
        next: NextTokens,
        caches: &mut [&mut KeyValueCache],
        device: &Device,
    ) -> Result<NextTokens, StageError> {
        let texts = caches.len();
        let mut rows = Scratch::default();
        for (at, cache) in caches.iter_mut().enumerate() {
            let inputs = cache.with_input(next.hidden(at, texts, device));
            let all = self.forward(inputs, &mut NoTap)?;
            let states = all.into_states(|| "stage".to_owned())?;
            let last = NextTokens::last_of(states);
            rows.extend_from_slice(&last.into_rows(|| "stage".to_owned())?);
        }
        Ok(NextTokens::Rows(rows))
    }
    /// An empty cache for [`Stage::begin`] and [`Stage::next_of_each`]; keys and values that no policy packs are kept as
    /// `floats`.
    ///
    /// # Errors
    /// A policy of attention that cannot continue a sequence.
    fn cache(&self, floats: CacheFloats) -> Result<KeyValueCache, StageError> {
        Ok(KeyValueCache::of_floats(floats))
    }
    /// Whether [`Stage::begin`] may be given a text piece by piece.
    fn takes_pieces(&self) -> bool {
        false
    }
    /// Runs the stage on the first tokens of a text, `[1, tokens]` or `[1, tokens, width]`, as [`Stage::forward`] does, and
    /// remembers them in `cache` for [`Stage::next_of_each`]. The cache is empty unless the stage
    /// [takes pieces](Stage::takes_pieces): then these are the tokens after those it holds.
    ///
    /// # Errors
    /// As [`Stage::forward`].
    fn begin(&self, hidden: Hidden, cache: &mut KeyValueCache) -> Result<Hidden, StageError> {
        self.forward(cache.with_input(hidden), &mut NoTap)
    }
}

/// A configuration no architecture here can open.
#[derive(Debug, Error)]
pub enum ModelError {
    /// No architecture knows this `model_type`.
    #[error("config.json: expected a `model_type` that `quench list architectures` shows, found {}", found.as_ref().map_or("none".to_owned(), |name| format!("`{name}`")))]
    UnknownType {
        /// From config.json.
        found: Option<String>,
    },
    /// A key of config.json is missing or has a value the architecture cannot take.
    #[error("config.json: `{key}`: expected {expected}, found {found}")]
    Config {
        /// Key.
        key: String,
        /// What would do.
        expected: String,
        /// What is there.
        found: String,
    },
    /// The checkpoint lacks tensors.
    #[error(
        "checkpoint has no tensor `{first}`: architecture `{architecture}` needs {needed} tensors, {found} found"
    )]
    MissingTensors {
        /// Architecture.
        architecture: String,
        /// How many it reads.
        needed: usize,
        /// How many of them exist.
        found: usize,
        /// The first one missing.
        first: String,
        /// The nearest name in the checkpoint.
        nearest: Option<String>,
    },
    /// A tensor could not be read.
    #[error(transparent)]
    Source(#[from] SourceError),
}

impl ModelError {
    /// What the user could do about it, in one line.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::UnknownType { .. } => Some(
                "of other models the weights can be quantized by methods that read nothing else, and nothing can be run"
                    .to_owned(),
            ),
            Self::MissingTensors { nearest, .. } => nearest.as_deref().map(closest_name),
            Self::Config { .. } => None,
            Self::Source(error) => error.hint(),
        }
    }
}
