//! Keys and values of past tokens in fewer bits.
//!
//! A [`Cache`] is what a recipe names, a [`CacheQuantizer`] what it configures, a [`CacheCodec`] that fitted to one
//! layer: tokens in, bytes out, and back. Nothing here knows a model: who calls it takes keys and values where the
//! [`CachePlan`] says, keeps the tokens apart that stay 16 bit, and chooses which layers are quantized at all.
//!
//! Adding one is a new file here plus two lines: the `mod` line and the entry in [`CACHES`].

mod shape;
mod error;
mod artifact;
mod samples;
mod cache;
mod halves;
mod codes;
mod groups;
mod sixteen;
mod table;
mod hadamard;
mod random;
mod rotation;
mod sketch;
mod lloyd;
mod unit_vectors;
mod static_scale;
mod e4m3;
mod token_head;
mod blocks;
mod none;
mod fp8;
mod int8;
mod int8_token_head;
mod int4_token_head;
mod q8_0;
mod q4_0;
mod kivi;
mod kvquant;
mod qjl;
mod polar;
mod turbo;
mod mixed;
#[cfg(test)]
mod tests;

pub use artifact::{CacheTensor, CacheValues};
pub use cache::{Cache, CacheCodec, CachePlan, CacheQuantizer, Encoded, KeyHook};
pub use error::CacheError;
pub use samples::CacheSamples;
pub use shape::{CacheShape, Part};

/// Every way of storing a cache, in the order `quench list caches` prints them.
pub static CACHES: &[&dyn Cache] = &[
    &none::Unquantized,
    &fp8::Fp8,
    &int8::Int8,
    &int8_token_head::Int8TokenHead,
    &int4_token_head::Int4TokenHead,
    &q8_0::Q80,
    &q4_0::Q40,
    &kivi::Kivi,
    &kvquant::KvQuant,
    &qjl::Qjl,
    &polar::Polar,
    &turbo::Turbo,
    &mixed::Mixed(&CACHES),
];

/// The entry called `name`.
pub fn find(name: &str) -> Option<&'static dyn Cache> {
    CACHES.iter().copied().find(|cache| cache.name() == name)
}
