//! Architectures: from config.json to a list of stages.
//!
//! Adding one is a new file here plus two lines: the `mod` line and the entry in [`ARCHITECTURES`].

use crate::{Model, ModelError, WeightSource};

/// Every architecture, in the order `quench list architectures` prints them.
pub static ARCHITECTURES: &[&dyn Architecture] = &[];

/// A family of models that share their stages.
pub trait Architecture: Sync {
    /// Family name.
    fn name(&self) -> &'static str;
    /// One line for `quench list architectures`.
    fn summary(&self) -> &'static str;
    /// Values of `model_type` in config.json it opens.
    fn model_types(&self) -> &'static [&'static str];
    /// Opens a model. `weights` is asked for names and shapes only (prefix, tied head, biases).
    ///
    /// # Errors
    /// A configuration this family cannot take, or tensors that are missing.
    fn open(
        &self,
        config: &serde_json::Value,
        weights: &dyn WeightSource,
    ) -> Result<Box<dyn Model>, ModelError>;
}

/// Opens the model that config.json describes, whatever its family.
///
/// # Errors
/// An unknown `model_type`, or what the family's [`Architecture::open`] says.
pub fn open_model(
    config: &serde_json::Value,
    weights: &dyn WeightSource,
) -> Result<Box<dyn Model>, ModelError> {
    let found = config
        .get("model_type")
        .and_then(serde_json::Value::as_str)
        .unwrap_or("");
    let known = || ARCHITECTURES.iter().flat_map(|family| family.model_types());
    match ARCHITECTURES
        .iter()
        .find(|family| family.model_types().contains(&found))
    {
        Some(family) => family.open(config, weights),
        None => Err(ModelError::UnknownType {
            found: found.to_owned(),
            nearest: known()
                .max_by(|a, b| strsim::jaro(a, found).total_cmp(&strsim::jaro(b, found)))
                .map(|name| (*name).to_owned()),
        }),
    }
}
