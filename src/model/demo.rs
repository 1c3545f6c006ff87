//! The small model the program carries, written to a folder of its own while it is used.

use crate::Error;
use crate::progress::interrupt;
use std::path::Path;

/// Files of the model, as in `tests/fixtures/wiki-llama-1.4m`.
static FILES: &[(&str, &[u8])] = &[
    (
        "config.json",
        include_bytes!("../../tests/fixtures/wiki-llama-1.4m/config.json"),
    ),
    (
        "model.safetensors",
        include_bytes!("../../tests/fixtures/wiki-llama-1.4m/model.safetensors"),
    ),
    (
        "generation_config.json",
        include_bytes!("../../tests/fixtures/wiki-llama-1.4m/generation_config.json"),
    ),
    (
        "tokenizer_config.json",
        include_bytes!("../../tests/fixtures/wiki-llama-1.4m/tokenizer_config.json"),
    ),
    (
        "tokenizer.json",
        include_bytes!("../../tests/fixtures/wiki-llama-1.4m/tokenizer.json"),
    ),
];

/// A temporary folder with the model in it; removed when dropped, and by Ctrl-C.
pub(super) struct DemoFolder(tempfile::TempDir);

impl DemoFolder {
    /// Writes the model.
    ///
    /// # Errors
    /// A temporary folder that cannot be written.
    pub(super) fn create() -> Result<Self, Error> {
        let failed = |error| Error::io("cannot write the demo model to a temporary folder", error);
        let folder = tempfile::Builder::new()
            .prefix("quench-demo-")
            .tempdir()
            .map_err(failed)?;
        interrupt::remove_on_interrupt(folder.path());
        for (name, bytes) in FILES {
            fs_err::write(folder.path().join(name), bytes).map_err(failed)?;
        }
        Ok(Self(folder))
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }
}
