//! Where the work is done: a device by name, and a number of threads.

use calib::device::{self, Device};
use thiserror::Error;

/// Where the work is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// The device, known to exist in this build.
    pub device: DeviceChoice,
    /// Worker threads; the pool is already built with that many.
    pub threads: usize,
}

/// A device as named on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The processor.
    Cpu,
    /// An NVIDIA GPU by index.
    Cuda(usize),
}

/// A device this build cannot use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("device `{0}` is not available in this build")]
pub struct DeviceError(pub DeviceChoice);

impl DeviceError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        let text = "build with `cargo build --release --features cuda`, or use `--device cpu`";
        Some(text.to_owned())
    }
}

impl DeviceChoice {
    /// Checks that this build has such a device; starts nothing.
    ///
    /// # Errors
    /// A GPU in a build without the feature `cuda`.
    pub fn check(self) -> Result<(), DeviceError> {
        match self {
            Self::Cuda(_) if !cfg!(feature = "cuda") => Err(DeviceError(self)),
            _ => Ok(()),
        }
    }

    /// The device itself.
    ///
    /// # Errors
    /// A GPU in a build without the feature `cuda`.
    pub fn open(self) -> Result<Device, DeviceError> {
        match self {
            Self::Cpu => Ok(device::cpu()),
            Self::Cuda(index) => device::cuda(index).ok_or(DeviceError(self)),
        }
    }
}

impl std::str::FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':').unwrap_or((text, "0")) {
            ("cpu", "0") if text == "cpu" => Ok(Self::Cpu),
            ("cuda", index) => index
                .parse()
                .map(Self::Cuda)
                .map_err(|_| format!("expected `cuda:N` with a whole number, found `{text}`")),
            _ => Err(format!(
                "expected `cpu`, `cuda` or `cuda:N`, found `{text}`"
            )),
        }
    }
}

impl std::fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(index) => write!(f, "cuda:{index}"),
        }
    }
}
