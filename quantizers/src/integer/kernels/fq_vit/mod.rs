//! The operations of FQ-ViT (Lin, Zhang, Sun, Li, Zhou, IJCAI 2022): probabilities as powers of two,
//! and a `LayerNorm` over codes with a power-of-two factor per channel.

pub mod layernorm;
pub mod softmax;

pub use layernorm::LayerNorm;
pub use softmax::Softmax;
