//! Models as lists of stages, the data they run over, and the statistics of doing so.
//!
//! A [`Model`] names its linear layers and builds its [`Stage`]s one at a time from a
//! [`WeightSource`]; nothing here ever needs a whole model in memory. burn appears from this crate on.

pub mod base64;
pub mod weight_source;
pub mod artifact;
pub mod packed_weights;
pub mod device;
pub mod heap;
pub mod output_error;
pub mod policy_error;
pub mod stage_error;
pub mod hidden;
pub mod next_tokens;
pub mod attention_policy;
pub mod model;
pub mod tape;
pub mod checkpoint;
pub mod layers;
pub mod architectures;
pub mod load_report;
pub mod cache_policy;
pub mod packed_cache;
pub mod plain_cache;
pub mod sparse_policy;
pub mod running;
pub mod key_value_cache;
pub mod key_value_store;
pub mod model_sampler;
pub mod synthetic;
pub mod foreign_code;
pub mod hub;
pub mod json_file;
pub mod data;
pub mod chat_template;
mod conversations;
pub mod tokenizer;
pub mod sampling;
pub mod separator;
pub mod image_processor;
pub mod class_names;
pub mod inputs;
pub mod generation;

pub use architectures::{
    ARCHITECTURES, Architecture, derived_type, is_tied_by_default, open_model, says_tied,
    stacked_modules, unknown_model, untie,
};
pub use checkpoint::{Checkpoint, CheckpointError};
pub use hidden::{Hidden, NoTap, Tap};
pub use key_value_cache::KeyValueCache;
pub use load_report::LoadReport;
pub use model::{
    JointEmbedding, LargerModel, LayerSpec, Model, ModelError, ModelOutput, Point, Stage,
};
pub use next_tokens::NextTokens;
pub use running::forward::Forward;
pub use stage_error::StageError;
pub use tape::{Tape, Vjp, WeightGradient};
pub use weight_source::{SourceError, Tensor32, WeightSource};
