//! Whether data can be there, before anything is read.

use super::PlanError;
use calib::data::{DataSpec, Extent, SOURCES, extent, unknown_kind};
use calib::sampling::TextMode;
use std::path::Path;

/// Sequences sampled for an evaluation on text the model makes.
pub(crate) const SYNTHETIC_SAMPLES: usize = 64;
/// Longest of them: sampling costs one forward pass per token.
pub(crate) const SYNTHETIC_TOKENS: usize = 128;

/// Checks a data string: its form, that its file exists, that a source reads such files. `what`
/// names its use.
pub(crate) fn check(what: &str, text: &str) -> Result<(), PlanError> {
    let refused = |source| PlanError::Data {
        what: what.to_owned(),
        data: text.to_owned(),
        source,
    };
    let spec = DataSpec::parse(text, Path::new("")).map_err(|error| refused(error.into()))?;
    if let DataSpec::Path { path, .. } = &spec
        && let Err(error) = std::fs::metadata(path)
    {
        return Err(refused(error.into()));
    }
    if SOURCES.iter().any(|source| source.accepts(&spec)) {
        return Ok(());
    }
    Err(refused(unknown_kind(&spec).into()))
}

/// How much there is of the data `text`; nothing where that is not known without reading it.
pub(super) fn extent_of(text: &str) -> Option<Extent> {
    extent(&DataSpec::parse(text, Path::new("")).ok()?)
}

/// The most samples of `length` tokens that the data `text` can give: its rows or images, or windows of a token a
/// byte; nothing where that is not known.
pub(super) fn samples_at_most(text: &str, mode: &TextMode, length: usize) -> Option<usize> {
    let extent = extent_of(text)?;
    match (extent.items, mode) {
        (Some(items), _) => Some(items),
        (None, TextMode::Windows { stride }) => {
            let bytes = usize::try_from(extent.bytes).ok()?;
            Some(bytes / stride.unwrap_or(length).max(1) + 1)
        }
        (None, TextMode::Documents { .. }) => None,
    }
}
