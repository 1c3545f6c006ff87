//! safetensors: a JSON header with offsets, then the tensors one after the other.

use super::{Container, TensorPlace, WeightFiles};
use crate::formats::FormatError;
use safetensors::SafeTensors;
use std::path::Path;

/// Name of an unsharded weight file.
pub const SINGLE_FILE: &str = "model.safetensors";
/// Name of the file that says which shard holds which tensor.
pub const INDEX_FILE: &str = "model.safetensors.index.json";

/// The kind that is written here.
pub(super) struct SafetensorsFile;

impl Container for SafetensorsFile {
    fn files(&self) -> WeightFiles {
        WeightFiles {
            single: SINGLE_FILE,
            index: INDEX_FILE,
        }
    }

    fn endings(&self) -> &'static [&'static str] {
        &["safetensors"]
    }

    fn tensors(&self, file: &Path, content: &[u8]) -> Result<Vec<TensorPlace>, FormatError> {
        let (header, metadata) =
            SafeTensors::read_metadata(content).map_err(|source| FormatError::Header {
                file: file.to_path_buf(),
                source,
            })?;
        // The header has checked the offsets, its own length is the first 8 bytes.
        let data_start = header + 8;
        let places = metadata.offset_keys().into_iter().filter_map(|name| {
            let info = metadata.info(&name)?;
            let (start, end) = info.data_offsets;
            Some(TensorPlace {
                dtype: info.dtype,
                shape: info.shape.clone(),
                range: data_start + start..data_start + end,
                strides: Vec::new(),
                name,
            })
        });
        Ok(places.collect())
    }
}
