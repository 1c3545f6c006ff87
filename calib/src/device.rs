//! The devices stages are built on.

pub use burn::tensor::Device;

/// The processor, with the threads of the global rayon pool.
pub fn cpu() -> Device {
    Device::flex()
}

/// An NVIDIA GPU by index; nothing in builds without the `cuda` feature.
#[cfg(feature = "cuda")]
pub fn cuda(index: usize) -> Option<Device> {
    Some(Device::cuda(index))
}

/// An NVIDIA GPU by index; nothing in builds without the `cuda` feature.
#[cfg(not(feature = "cuda"))]
pub fn cuda(_index: usize) -> Option<Device> {
    None
}
