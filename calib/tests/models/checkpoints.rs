//! Checkpoints of the tests.

use calib::{Checkpoint, Model, open_model};
use std::path::{Path, PathBuf};

/// A tiny random checkpoint.
pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/models")
        .join(name)
}

pub(crate) fn open(folder: &Path) -> (Checkpoint, Box<dyn Model>) {
    let checkpoint = Checkpoint::open(folder).unwrap();
    let model = open_model(checkpoint.config(), &checkpoint).unwrap();
    (checkpoint, model)
}
