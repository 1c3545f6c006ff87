//! Sparse and streaming attention: reference implementations that cost what their algorithm promises, to measure what
//! it loses on a checkpoint. They run on the CPU, and none is a kernel to serve a model with.
//!
//! A method attends for one key-value head and the query heads it serves ([`HeadGroup`]), counts the products it
//! computes, and tells what it looked at to whoever asks ([`Seen`]); [`measure`] makes figures of that.
//! Adding one is a new file here plus two lines: the `mod` line and the entry in [`ATTENTIONS`].

mod error;
mod group;
mod attention;
mod settings;
mod random;
mod softmax;
mod run;
mod moved;
mod compressed;
mod sign_hash;
mod hashed;
mod weighted_draw;
mod centres;
mod exact;
mod sink_window;
mod uniform;
mod balance_kv;
mod subgen;
mod hyper;
mod kdeformer;
mod hip;
mod infinite_hip;
mod delta;
mod cascade;
mod sea;
pub mod sttabt;
pub mod measure;

pub use attention::{Attention, SparseAttention};
pub use error::AttentionError;
pub use exact::ExactAttention;
pub use group::{Attended, GroupShape, HeadGroup, Rotary, Seen};

/// Every attention method, controls first.
pub static ATTENTIONS: &[&dyn Attention] = &[
    &exact::Exact,
    &sink_window::SinkWindow,
    &uniform::Uniform,
    &balance_kv::BalanceKv,
    &subgen::SubGen,
    &hyper::Hyper,
    &kdeformer::KdeFormer,
    &hip::Hip,
    &infinite_hip::InfiniteHip,
    &delta::Delta,
    &cascade::Cascade,
    &sea::Sea,
];

/// The method of this name.
pub fn find(name: &str) -> Option<&'static dyn Attention> {
    ATTENTIONS
        .iter()
        .copied()
        .find(|attention| attention.name() == name)
}

#[cfg(test)]
mod tests;
