//! Architectures: from config.json to a list of stages.
//!
//! A decoder is a row in the table of `decoder`, a text encoder one in that of `encoder`, a vision model one in that of `vision`;
//! `composite` finds a decoder inside a larger model. Another kind of model is a new file here plus two lines:
//! the `mod` line and the entry in [`ARCHITECTURES`]. The file names tensors and chooses among the stages
//! of [`crate::layers`]; a stage of its own implements [`StageSpec`].

mod config;
mod staged;
mod decoder;
mod encoder;
mod vision;
mod composite;
mod unknown;

pub use composite::says_tied;
pub use config::Config;
pub use staged::{StageSpec, StagedModel};
pub use unknown::unknown_model;

use std::sync::LazyLock;

use crate::{LoadReport, Model, ModelError, ModelOutput, SourceError, WeightSource};

/// Every architecture, in the order `quench list architectures` prints them.
pub static ARCHITECTURES: LazyLock<Vec<&dyn Architecture>> = LazyLock::new(|| {
    let decoders = decoder::FLAVOURS
        .iter()
        .map(|flavour| flavour as &dyn Architecture);
    let encoders = encoder::FLAVOURS
        .iter()
        .map(|flavour| flavour as &dyn Architecture);
    let vision = vision::FLAVOURS
        .iter()
        .map(|flavour| flavour as &dyn Architecture);
    let swin: [&dyn Architecture; 1] = [&vision::Swin];
    let pairs = vision::PAIRS.iter().map(|pair| pair as &dyn Architecture);
    let composite: [&dyn Architecture; 1] = [&composite::Composite];
    let all = decoders.chain(encoders).chain(vision);
    all.chain(swin).chain(pairs).chain(composite).collect()
});

/// Whether the head of a decoder of family `name` is the token table where config.json says nothing.
pub fn is_tied_by_default(name: &str) -> bool {
    let mut families = decoder::FLAVOURS.iter();
    families.any(|flavour| flavour.model_type == name && flavour.tied)
}

/// Makes `config`, that of a decoder, say that its head is no token table.
pub fn untie(config: &mut serde_json::Map<String, serde_json::Value>) {
    config.insert("tie_word_embeddings".to_owned(), false.into());
}

/// Ends of the names of modules that the model of this config.json stores for all experts together.
pub fn stacked_modules(config: &serde_json::Value) -> &'static [&'static str] {
    let found = config.get("model_type").and_then(serde_json::Value::as_str);
    let mut families = decoder::FLAVOURS.iter();
    let family = families.find(|flavour| found == Some(flavour.model_type));
    let family = family.or_else(|| composite::flavour_of(config));
    family.map_or(&[], decoder::Flavour::stacked_modules)
}

/// The `model_type` of a config.json that has none, with the tensor of `weights` it is told by; nothing where
/// the file says it, or no tensor tells.
pub fn derived_type(
    config: &serde_json::Value,
    weights: &dyn WeightSource,
) -> Option<(&'static str, String)> {
    if config.get("model_type").is_some() {
        return None;
    }
    let (flavour, tensor) = encoder::of_tensors(weights)?;
    Some((flavour.name(), tensor))
}

/// What can be done with the models of a family, beyond rounding their weights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Abilities {
    /// What its models return, with a head and without.
    pub outputs: &'static [ModelOutput],
    /// What they take: token ids, images or both.
    pub takes: InputKind,
    /// Statistics can be measured by running them.
    pub calibrates: bool,
    /// Some of them have an integer-only form; what is in the way of the others is told by `quench plan`.
    pub integer_only: bool,
    /// The layer behind the attention of a block as checkpoints name it, `N` standing for numbers.
    pub layer: String,
}

/// What a model takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InputKind {
    /// Token ids.
    Tokens,
    /// Images.
    Images,
    /// Images in one tower, token ids in the other.
    Both,
}

/// A family of models that share their stages.
pub trait Architecture: Sync {
    /// Family name.
    fn name(&self) -> &'static str;
    /// One line for `quench list architectures`.
    fn summary(&self) -> &'static str;
    /// Values of `model_type` in config.json it opens.
    fn model_types(&self) -> &[&'static str];
    /// What can be done with its models.
    fn abilities(&self) -> Abilities;
    /// Whether it opens the model of this `model_type`.
    fn takes(
        &self,
        model_type: &str,
        _config: &serde_json::Value,
        _weights: &dyn WeightSource,
    ) -> bool {
        self.model_types().contains(&model_type)
    }
    /// Lays the model out. `weights` is asked for names and shapes only (prefix, tied head);
    /// whether all tensors are there is checked by [`open_model`].
    ///
    /// # Errors
    /// A configuration this family cannot take.
    fn open(
        &self,
        config: &serde_json::Value,
        weights: &dyn WeightSource,
    ) -> Result<Box<dyn Model>, ModelError>;
}

/// Opens the model that config.json describes, whatever its family; reads no weights.
///
/// # Errors
/// An unknown `model_type`, what the family's [`Architecture::open`] says, tensors that are missing
/// or have another shape.
pub fn open_model(
    config: &serde_json::Value,
    weights: &dyn WeightSource,
) -> Result<Box<dyn Model>, ModelError> {
    open_model_from(&ARCHITECTURES, config, weights)
}

/// As [`open_model`], with the families of `registry`.
///
/// # Errors
/// As [`open_model`].
pub fn open_model_from(
    registry: &[&dyn Architecture],
    config: &serde_json::Value,
    weights: &dyn WeightSource,
) -> Result<Box<dyn Model>, ModelError> {
    let derived = derived_type(config, weights).map(|(name, _)| name);
    let found = config.get("model_type").and_then(serde_json::Value::as_str);
    let found = found.or(derived);
    let mut families = registry.iter();
    let takes = |found| families.find(|family| family.takes(found, config, weights));
    let Some(family) = found.and_then(takes) else {
        return Err(ModelError::UnknownType {
            found: found.map(str::to_owned),
        });
    };
    let model = family.open(config, weights)?;
    check_tensors(model.as_ref(), weights)?;
    Ok(model)
}

fn check_tensors(model: &dyn Model, weights: &dyn WeightSource) -> Result<(), ModelError> {
    let report = LoadReport::new(model, weights);
    if let Some(first) = report.missing.first() {
        return Err(ModelError::MissingTensors {
            architecture: model.architecture().to_owned(),
            needed: report.needed(),
            found: report.applied.len(),
            first: first.clone(),
            nearest: report.nearest(first),
        });
    }
    for tensor in (0..model.stages()).flat_map(|stage| model.tensors(stage)) {
        match weights.shape(&tensor.name) {
            Some(found) if found != tensor.shape => {
                return Err(ModelError::Source(SourceError::Shape {
                    name: tensor.name.clone(),
                    expected: tensor.shape.clone(),
                    found,
                }));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The prefix under which `probe` exists: `with` where the checkpoint uses it, else none.
fn prefix<'a>(with: &'a str, probe: &str, weights: &dyn WeightSource) -> &'a str {
    let bare = weights.contains(probe) && !weights.contains(&format!("{with}{probe}"));
    if bare { "" } else { with }
}

/// The number of blocks under `key`, bounded by what the checkpoint can possibly hold.
fn block_count(
    config: &Config<'_>,
    key: &str,
    default: Option<usize>,
    weights: &dyn WeightSource,
) -> Result<usize, ModelError> {
    let blocks = match default {
        Some(default) => config.count_or(key, default)?,
        None => config.count(key)?,
    };
    let tensors = weights.names().len();
    if blocks > tensors.max(1) {
        let expected = format!("at most the checkpoint's {tensors} tensors");
        return Err(config.error(key, &expected, &blocks.to_string()));
    }
    Ok(blocks)
}

/// `total / parts`, refused under `key` where it does not divide.
fn divided(
    config: &Config<'_>,
    key: &str,
    parts: usize,
    total: usize,
    what: &str,
) -> Result<usize, ModelError> {
    if total.is_multiple_of(parts) {
        Ok(total / parts)
    } else {
        Err(config.error(
            key,
            &format!("a divisor of {what} {total}"),
            &parts.to_string(),
        ))
    }
}
