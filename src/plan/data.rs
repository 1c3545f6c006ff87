//! Whether data can be there, before anything is read.

use super::PlanError;
use calib::data::{DataSpec, SOURCES, unknown_kind};
use std::path::Path;

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
