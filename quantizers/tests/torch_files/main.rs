//! PyTorch checkpoints: what `torch.save` writes is read, everything else is refused, nothing is executed.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot write its files has to stop"
)]

mod archive;
mod damage;
mod hostile;
mod lies;
mod pickle;
mod reading;

use quantizers::formats::{FormatError, TensorFolder};
use std::error::Error;

/// Opens a folder with `content` as its `pytorch_model.bin`.
fn open(content: &[u8]) -> Result<TensorFolder, FormatError> {
    let dir = tempfile::tempdir().unwrap();
    fs_err::write(dir.path().join("pytorch_model.bin"), content).unwrap();
    TensorFolder::open(dir.path())
}

/// The error of [`open`] with its cause, which has to name the file.
fn refusal(content: &[u8]) -> String {
    let error = open(content).map(drop).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("pytorch_model.bin`"), "{text}");
    match error.source() {
        Some(cause) => format!("{text}: {cause}"),
        None => text,
    }
}
