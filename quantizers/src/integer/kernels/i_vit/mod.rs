//! The operations of I-ViT (Li, Gu, ICCV 2023), as its code computes them: powers of two by shifts.

pub mod gelu;
pub mod layernorm;
pub mod shift_exponential;
pub mod softmax;

pub use gelu::Gelu;
pub use layernorm::LayerNorm;
pub use shift_exponential::ShiftExponential;
pub use softmax::Softmax;
