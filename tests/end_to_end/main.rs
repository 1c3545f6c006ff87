//! The program as a user runs it, on the model compiled into it.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod autoround;
mod budget;
mod codebooks;
mod compensation;
mod encoders;
mod inputs;
mod integer;
mod lnq;
mod masked;
mod readme;
mod reference;
mod road;
mod rotation;
mod search;
mod squeezellm;
mod statistics;
mod torch_files;
mod transforms;
mod trellis;
mod winners;

use std::path::{Path, PathBuf};
use std::process::Command;

/// Runs `quench` in `folder` with a statistics cache of its own and returns its standard output.
fn quench(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_quench"))
        .args(arguments)
        .args(["--progress", "none"])
        .current_dir(folder)
        .env("QUENCH_CACHE", folder.join("cache"))
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "quench {arguments:?}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

/// Runs `quench` in `folder`, which must fail, and returns its standard error.
fn fails(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_quench"))
        .args(arguments)
        .args(["--progress", "none"])
        .current_dir(folder)
        .env("QUENCH_CACHE", folder.join("cache"))
        .output()
        .unwrap();
    assert!(!output.status.success(), "quench {arguments:?} succeeded");
    String::from_utf8(output.stderr).unwrap()
}

/// Where real checkpoints and data are.
fn assets() -> PathBuf {
    std::env::var_os("QUENCH_ASSETS")
        .expect("QUENCH_ASSETS is set")
        .into()
}
