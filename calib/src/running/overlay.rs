//! A source of weights with some of them changed: what has been rewritten or quantized so far, over
//! the checkpoint.

use crate::{SourceError, Tensor32, WeightSource};
use quantizers::grid::InputQuantizer;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A changed tensor in the checkpoint's own layout.
#[derive(Debug, Clone, PartialEq)]
pub struct Changed {
    /// Dimensions, outermost first.
    pub shape: Vec<usize>,
    /// Values, row-major.
    pub values: Arc<Vec<f32>>,
}

/// Changed tensors over another source.
#[derive(Clone)]
pub struct Overlay<'a> {
    base: &'a dyn WeightSource,
    changed: BTreeMap<String, Changed>,
    inputs: BTreeMap<String, InputQuantizer>,
}

impl<'a> Overlay<'a> {
    /// Nothing changed yet.
    pub fn new(base: &'a dyn WeightSource) -> Self {
        Self {
            base,
            changed: BTreeMap::new(),
            inputs: BTreeMap::new(),
        }
    }

    /// Changes the tensor `name`.
    pub fn set(&mut self, name: &str, shape: Vec<usize>, values: Vec<f32>) {
        let values = Arc::new(values);
        self.changed
            .insert(name.to_owned(), Changed { shape, values });
    }

    /// Takes a change back; returns it.
    pub fn unset(&mut self, name: &str) -> Option<Changed> {
        self.changed.remove(name)
    }

    /// Rounds the inputs of `layer` from now on.
    pub fn round_inputs(&mut self, layer: &str, quantizer: InputQuantizer) {
        self.inputs.insert(layer.to_owned(), quantizer);
    }

    /// What is changed, by name.
    pub fn changed(&self) -> impl Iterator<Item = (&str, &Changed)> {
        self.changed
            .iter()
            .map(|(name, changed)| (name.as_str(), changed))
    }
}

impl WeightSource for Overlay<'_> {
    fn tensor(&self, name: &str) -> Result<Tensor32<'_>, SourceError> {
        match self.changed.get(name) {
            Some(changed) => Ok(Tensor32 {
                shape: changed.shape.clone(),
                data: Cow::Borrowed(changed.values.as_slice()),
            }),
            None => self.base.tensor(name),
        }
    }

    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        match self.changed.get(name) {
            Some(changed) => Some(changed.shape.clone()),
            None => self.base.shape(name),
        }
    }

    fn names(&self) -> Vec<String> {
        self.base.names()
    }

    fn input_quantizer(&self, layer: &str) -> Result<Option<InputQuantizer>, SourceError> {
        match self.inputs.get(layer) {
            Some(quantizer) => Ok(Some(*quantizer)),
            None => self.base.input_quantizer(layer),
        }
    }

    fn release(&self, name: &str) {
        self.base.release(name);
    }
}
