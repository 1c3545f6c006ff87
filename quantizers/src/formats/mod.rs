//! On-disk formats: how a quantized matrix becomes named safetensors entries, and back.

pub mod error;
mod floats;
pub mod tensor_folder;

pub use error::FormatError;
pub use safetensors::Dtype;
pub use tensor_folder::{TensorFolder, TensorInfo};
