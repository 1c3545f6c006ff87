//! A quantized folder as a weight source: layers are decoded when a stage asks for them.

use crate::{SourceError, Tensor32, WeightSource};
use quantizers::formats::{ArtifactReader, FormatError};
use quantizers::grid::InputQuantizer;
use quantizers::tensor::FloatType;
use quantizers::transforms::CheckpointRewrite;
use quantizers::{QuantizedTensor, Scheme};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A folder written by any format of [`quantizers::formats::FORMATS`], in any form of
/// [`quantizers::formats::SOURCES`], or a plain checkpoint.
///
/// Tensors have the names and layouts of the checkpoint the folder was made from, so the same stages
/// run over it.
pub struct Artifact {
    origin: PathBuf,
    reader: ArtifactReader,
    rounds_inputs: bool,
}

impl Artifact {
    /// Opens `folder`; reads configuration and headers only.
    ///
    /// # Errors
    /// A folder that is no artifact, or one this program cannot decode.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, FormatError> {
        let origin = folder.as_ref().to_path_buf();
        let mut reader = ArtifactReader::open(&origin)?;
        let modules = crate::stacked_modules(&reader.config().clone().into());
        reader.unstack(modules);
        Ok(Self {
            reader,
            origin,
            rounds_inputs: true,
        })
    }

    /// The same with inputs that stay floats: what its weights alone are worth to a model made of them.
    #[must_use]
    pub fn with_float_inputs(mut self) -> Self {
        self.rounds_inputs = false;
        self
    }

    /// The checkpoint as `rewrite` makes it, with a config.json that says so. Stored tensors in `second_names` are
    /// others under a second name, and are not shown any more.
    ///
    /// # Errors
    /// A tensor that is not there.
    pub fn rewritten(
        mut self,
        rewrite: &CheckpointRewrite,
        second_names: &BTreeMap<String, String>,
    ) -> Result<Self, FormatError> {
        let mut config = self.reader.config().clone();
        if rewrite.separate_head {
            crate::untie(&mut config);
        }
        self.reader.rewrite(rewrite, config, second_names)?;
        Ok(self)
    }

    /// The decoder, for schemes and stored bytes.
    pub fn reader(&self) -> &ArtifactReader {
        &self.reader
    }

    /// Whether the tensor `name` is stored in another form than its values.
    pub fn decodes(&self, name: &str) -> bool {
        self.layer_of(name).is_some() || self.reader.decoded().contains_key(name)
    }

    /// How the quantized matrix behind the tensor `name` is stored; nothing where it is none.
    pub fn scheme(&self, name: &str) -> Option<&Scheme> {
        let layer = self.layer_of(name)?;
        Some(&self.reader.layers()[layer].scheme)
    }

    /// The quantized matrix behind the tensor `name`; nothing where it is none, or is stored as `[inputs, outputs]`.
    ///
    /// # Errors
    /// A layer that cannot be decoded.
    pub fn quantized(&self, name: &str) -> Result<Option<QuantizedTensor>, SourceError> {
        match self.layer_of(name) {
            Some(layer) if !self.reader.layers()[layer].scheme.transposed => {
                let layer = self.reader.layer(layer);
                layer.map(Some).map_err(|error| self.source_error(error))
            }
            _ => Ok(None),
        }
    }

    fn layer_of<'n>(&self, name: &'n str) -> Option<&'n str> {
        let layer = name.strip_suffix(".weight")?;
        self.reader.layers().contains_key(layer).then_some(layer)
    }

    fn source_error(&self, error: FormatError) -> SourceError {
        SourceError::File {
            origin: self.origin.clone(),
            source: Box::new(error),
        }
    }
}

impl WeightSource for Artifact {
    fn tensor(&self, name: &str) -> Result<Tensor32<'_>, SourceError> {
        if let Some(decoded) = self.reader.decoded().get(name) {
            let values = self.reader.values(name);
            return Ok(Tensor32 {
                shape: decoded.shape.clone(),
                data: Cow::Owned(values.map_err(|error| self.source_error(error))?),
            });
        }
        let Some(layer) = self.layer_of(name) else {
            let missing = || SourceError::Missing {
                origin: self.origin.clone(),
                name: name.to_owned(),
                nearest: self.reader.folder().nearest(name),
            };
            let info = self.reader.folder().info(name).ok_or_else(missing)?;
            let data = self
                .reader
                .folder()
                .floats(name)
                .map_err(|error| self.source_error(error))?;
            return Ok(Tensor32 {
                shape: info.shape.clone(),
                data,
            });
        };
        let quantized = self
            .reader
            .layer(layer)
            .map_err(|error| self.source_error(error))?;
        let (rows, cols) = (quantized.rows, quantized.cols);
        let values = quantized.dequantize();
        Ok(if self.reader.layers()[layer].scheme.transposed {
            Tensor32 {
                shape: vec![cols, rows],
                data: Cow::Owned(transpose(&values, rows, cols)),
            }
        } else {
            Tensor32 {
                shape: vec![rows, cols],
                data: Cow::Owned(values),
            }
        })
    }

    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        if let Some(decoded) = self.reader.decoded().get(name) {
            return Some(decoded.shape.clone());
        }
        match self.layer_of(name) {
            Some(layer) => {
                let stored = &self.reader.layers()[layer];
                Some(if stored.scheme.transposed {
                    vec![stored.cols, stored.rows]
                } else {
                    vec![stored.rows, stored.cols]
                })
            }
            None => self
                .reader
                .folder()
                .info(name)
                .map(|info| info.shape.clone()),
        }
    }

    fn names(&self) -> Vec<String> {
        self.reader.names()
    }

    fn input_quantizer(&self, layer: &str) -> Result<Option<InputQuantizer>, SourceError> {
        if !self.rounds_inputs {
            return Ok(None);
        }
        let found = self.reader.input_quantizer(layer);
        found.map_err(|error| self.source_error(error))
    }

    fn halves(&self, name: &str) -> Result<Option<(FloatType, Vec<u16>)>, SourceError> {
        if self.reader.decoded().contains_key(name) || self.layer_of(name).is_some() {
            return Ok(None);
        }
        let found = self.reader.folder().halves(name);
        found.map_err(|error| self.source_error(error))
    }

    fn release(&self, name: &str) {
        let folder = self.reader.folder();
        match self.layer_of(name) {
            Some(layer) => {
                // Its parts: codes, tables, scales.
                let is_part = |part: &&str| {
                    let rest = part.strip_prefix(layer);
                    rest.is_some_and(|rest| rest.starts_with('.'))
                };
                folder
                    .names()
                    .filter(is_part)
                    .for_each(|part| folder.release(part));
            }
            None => folder.release(name),
        }
    }
}

/// `[rows, cols]` to `[cols, rows]`, in tiles that stay in the cache.
///
/// # Panics
/// When `values` does not hold `rows * cols`.
pub fn transpose(values: &[f32], rows: usize, cols: usize) -> Vec<f32> {
    const TILE: usize = 32;
    assert_eq!(values.len(), rows * cols, "a full matrix");
    let mut out = vec![0.0; values.len()];
    for row_tile in (0..rows).step_by(TILE) {
        for col_tile in (0..cols).step_by(TILE) {
            for row in row_tile..(row_tile + TILE).min(rows) {
                for col in col_tile..(col_tile + TILE).min(cols) {
                    out[col * rows + row] = values[row * cols + col];
                }
            }
        }
    }
    out
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "values are moved, not computed")]
mod tests {
    use super::transpose;

    #[test]
    fn transposing_moves_every_value_and_twice_is_nothing() {
        let (rows, cols) = (70, 33);
        let values: Vec<f32> = (0..rows * cols).map(|value| value as f32).collect();
        let turned = transpose(&values, rows, cols);
        assert_eq!(turned[5 * rows + 64], values[64 * cols + 5]);
        assert_eq!(transpose(&turned, cols, rows), values);
    }
}
