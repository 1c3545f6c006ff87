//! 8-bit floats that stand for themselves: those without scales.

use super::scaled_floats::{TYPES, scaled};
use super::{DecodedTensor, SourceFiles};
use crate::formats::{FormatError, TensorFolder};
use std::collections::BTreeMap;

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
        if TYPES.contains(&info.dtype) {
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
