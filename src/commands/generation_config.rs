//! What a model folder says of how its text is to be drawn.

use crate::Error;
use crate::errors::Cause;
use calib::generation::Sampling;
use serde_json::Value;
use std::path::Path;

/// The sampling that `generation_config.json` asks for; the likeliest token where there is no such file.
pub(super) fn sampling(folder: &Path) -> Result<Sampling, Error> {
    let path = folder.join("generation_config.json");
    if !path.is_file() {
        return Ok(Sampling::of_config(&Value::Null));
    }
    let unreadable = |error: Cause| Error::io(format!("cannot read `{}`", path.display()), error);
    let text = fs_err::read_to_string(&path).map_err(|error| unreadable(error.into()))?;
    let config = serde_json::from_str(&text).map_err(|error| unreadable(error.into()))?;
    Ok(Sampling::of_config(&config))
}
