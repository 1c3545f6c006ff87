//! A checkpoint of which a transform has rewritten tensors: every one of them is a tensor that is stored in another form
//! than its values, and read like any other such.

use super::floats::float_type_of;
use super::{
    ArtifactReader, DecodedTensor, Decoder, FormatError, Reading, StoredLayer, TensorFolder,
};
use crate::pack::transpose;
use crate::transforms::{CheckpointRewrite, Rewriting, RewrittenTensor};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

/// A tensor as it was before.
enum Before {
    /// Stored as its values.
    Stored(String),
    /// In the form of another program.
    Decoded(DecodedTensor),
    /// A quantized layer of another program.
    Layer {
        decoder: &'static dyn Decoder,
        name: String,
        stored: StoredLayer,
    },
}

/// How the values of a rewritten tensor are read.
#[derive(Debug)]
struct Rewritten {
    name: String,
    source: Arc<Before>,
    reads: Vec<Arc<Before>>,
    /// Absent for a tensor that others are made of and that is as it was.
    rewriting: Option<Arc<dyn Rewriting>>,
    /// Tensors that are made of the same one.
    sharers: usize,
}

/// A tensor to be shown.
struct Made<'a> {
    name: &'a str,
    source: &'a str,
    shape: &'a [usize],
    /// Absent where it is as it was.
    rewritten: Option<&'a RewrittenTensor>,
}

impl<'a> From<&'a RewrittenTensor> for Made<'a> {
    fn from(tensor: &'a RewrittenTensor) -> Self {
        Self {
            name: &tensor.name,
            source: &tensor.source,
            shape: &tensor.shape,
            rewritten: Some(tensor),
        }
    }
}

impl Before {
    fn values(&self, folder: &TensorFolder) -> Result<Vec<f32>, FormatError> {
        Ok(match self {
            Self::Stored(name) => folder.floats(name)?.into_owned(),
            Self::Decoded(decoded) => decoded.values(folder)?,
            Self::Layer {
                decoder,
                name,
                stored,
            } => {
                let values = decoder.decode(folder, name, stored)?.dequantize();
                if stored.scheme.transposed {
                    transpose(&values, stored.rows, stored.cols)
                } else {
                    values
                }
            }
        })
    }
}

impl fmt::Debug for Before {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stored(name) => write!(formatter, "stored {name}"),
            Self::Decoded(decoded) => write!(formatter, "{decoded:?}"),
            Self::Layer { name, stored, .. } => write!(formatter, "layer {name} {stored:?}"),
        }
    }
}

impl Reading for Rewritten {
    fn values(&self, folder: &TensorFolder) -> Result<Vec<f32>, FormatError> {
        let reads = self.reads.iter().map(|read| read.values(folder));
        let reads = reads.collect::<Result<Vec<_>, _>>()?;
        let source = self.source.values(folder)?;
        let Some(rewriting) = &self.rewriting else {
            return Ok(source);
        };
        let values = rewriting.values(source, &reads);
        values.map_err(|error| FormatError::Rewritten {
            name: self.name.clone(),
            source: Box::new(error),
        })
    }

    fn sharers(&self) -> usize {
        self.sharers
    }
}

impl ArtifactReader {
    /// Shows the checkpoint as `rewrite` makes it, with the configuration `config`. Stored tensors in `second_names`
    /// are others under a second name, and are not shown any more.
    ///
    /// # Errors
    /// A tensor that is not there.
    pub fn rewrite(
        &mut self,
        rewrite: &CheckpointRewrite,
        config: Map<String, Value>,
        second_names: &BTreeMap<String, String>,
    ) -> Result<(), FormatError> {
        let originals = self.originals();
        let tensors = &rewrite.tensors;
        let sources = tensors.iter().map(|tensor| tensor.source.as_str());
        let read = tensors.iter().flat_map(|tensor| &tensor.reads);
        let all: BTreeSet<&str> = sources.chain(read.map(String::as_str)).collect();
        let mut before = BTreeMap::new();
        for name in &all {
            before.insert(*name, self.take(name)?);
        }
        let is_rewritten = |name: &str| tensors.iter().any(|tensor| tensor.name == name);
        let mut made: Vec<Made<'_>> = tensors.iter().map(Made::from).collect();
        for name in all.into_iter().filter(|name| !is_rewritten(name)) {
            made.push(Made {
                name,
                source: name,
                shape: originals.get(name).map_or(&[], |found| &found.shape),
                rewritten: None,
            });
        }
        for tensor in &made {
            let (was, parts) = &before[tensor.source];
            let reads = tensor.rewritten.map_or(&[][..], |found| &found.reads);
            let reads = reads
                .iter()
                .map(|name| Arc::clone(&before[name.as_str()].0));
            let sharers = made.iter().filter(|other| other.source == tensor.source);
            let reading = Rewritten {
                name: tensor.name.to_owned(),
                source: Arc::clone(was),
                reads: reads.collect(),
                rewriting: tensor.rewritten.map(|found| Arc::clone(&found.rewriting)),
                sharers: sharers.count(),
            };
            let original = originals.get(tensor.source);
            let decoded = DecodedTensor {
                shape: tensor.shape.to_vec(),
                stored: "rewritten".to_owned(),
                quantized: false,
                rounds_inputs: false,
                float_type: original.and_then(|original| float_type_of(original.dtype)),
                parts: parts.clone(),
                reading: Box::new(reading),
            };
            let owned = parts.iter();
            self.owners
                .extend(owned.map(|part| (part.clone(), tensor.name.to_owned())));
            self.decoded.insert(tensor.name.to_owned(), decoded);
        }
        let second = second_names.iter();
        self.owners
            .extend(second.map(|(name, first)| (name.clone(), first.clone())));
        self.config = config;
        Ok(())
    }

    /// The tensor `name` as it is, and the stored tensors it is made of.
    fn take(&mut self, name: &str) -> Result<(Arc<Before>, Vec<String>), FormatError> {
        if let Some(decoded) = self.decoded.remove(name) {
            let parts = decoded.parts.clone();
            return Ok((Arc::new(Before::Decoded(decoded)), parts));
        }
        let layer = name.strip_suffix(".weight").unwrap_or_default();
        if let (Some(decoder), true) = (self.decoder, self.layers().contains_key(layer)) {
            let names = self.folder().names();
            let parts = names.filter(|part| self.layer_of_entry(part) == Some(layer));
            let parts: Vec<String> = parts.map(str::to_owned).collect();
            if let Some(stored) = self.layers.remove(layer) {
                let name = layer.to_owned();
                let before = Before::Layer {
                    decoder,
                    name,
                    stored,
                };
                return Ok((Arc::new(before), parts));
            }
        }
        self.folder().require(name)?;
        Ok((
            Arc::new(Before::Stored(name.to_owned())),
            vec![name.to_owned()],
        ))
    }
}
