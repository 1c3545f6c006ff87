//! Floats of other widths than 16 and 32 bits that stand for themselves: F64, and 8-bit floats without scales.

use super::scaled_floats::{TYPES, scaled};
use super::{DecodedTensor, SourceFiles};
use crate::formats::decoded::Reading;
use crate::formats::{Dtype, FormatError, TensorFolder};
use std::collections::BTreeMap;

#[derive(Debug)]
struct Doubles(String);

/// Those of `files` that `is_part` does not name as parts of something else.
///
/// # Errors
/// 8-bit floats that seem to have scales, which no configuration explains.
pub(in super::super) fn tensors(
    files: &SourceFiles<'_>,
    is_part: &dyn Fn(&str) -> bool,
) -> Result<BTreeMap<String, DecodedTensor>, FormatError> {
    let mut found = BTreeMap::new();
    for (name, info) in files.folder.tensors() {
        if is_part(name) {
            continue;
        }
        if info.dtype == Dtype::F64 {
            let tensor = DecodedTensor {
                shape: info.shape.clone(),
                stored: "f64".to_owned(),
                quantized: false,
                rounds_inputs: false,
                float_type: None,
                parts: vec![name.to_owned()],
                reading: Box::new(Doubles(name.to_owned())),
            };
            found.insert(name.to_owned(), tensor);
        } else if TYPES.contains(&info.dtype) {
            if let Some(scale) = scale_beside(files.folder, name) {
                return Err(FormatError::Config {
                    file: files.file.to_path_buf(),
                    place: format!("scales of `{name}`"),
                    expected: format!("a `quant_method` that says what `{scale}` is"),
                    found: "none".to_owned(),
                });
            }
            found.insert(name.to_owned(), scaled(files.folder, name, None, None)?);
        }
    }
    Ok(found)
}

/// A tensor that looks like the scale of `name`.
fn scale_beside(folder: &TensorFolder, name: &str) -> Option<String> {
    let module = name.strip_suffix(".weight").unwrap_or(name);
    let mut after = folder
        .names_from(name)
        .map(|other| (other, &other[name.len()..]));
    let after = after.find(|(_, rest)| rest.contains("scale"));
    let other = format!("{module}.scale_weight");
    let other = folder.info(&other).map(|_| other);
    after.map(|(other, _)| other.to_owned()).or(other)
}

impl Reading for Doubles {
    fn values(&self, folder: &TensorFolder) -> Result<Vec<f32>, FormatError> {
        let bytes = folder.bytes(&self.0)?.as_chunks::<8>().0.iter();
        #[expect(
            clippy::cast_possible_truncation,
            reason = "computed in f32 from here on"
        )]
        let values = bytes.map(|bytes| f64::from_le_bytes(*bytes) as f32);
        Ok(values.collect())
    }
}
