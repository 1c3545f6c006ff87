//! The operations of I-BERT (Kim, Gholami, Yao, Mahoney, Keutzer, ICML 2021), as its code computes
//! them: second-degree polynomials in integers of one scale.

pub mod exponential;
pub mod gelu;
pub mod layernorm;
pub mod softmax;

pub use exponential::Exponential;
pub use gelu::Gelu;
pub use layernorm::LayerNorm;
pub use softmax::Softmax;
