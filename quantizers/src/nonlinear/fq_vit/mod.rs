//! FQ-ViT (Lin, Zhang, Sun, Li, Zhou, IJCAI 2022). It has no integer GELU.

pub mod layernorm;
pub mod power_of_two_factor;
pub mod softmax;

pub use power_of_two_factor::power_of_two_factors;
