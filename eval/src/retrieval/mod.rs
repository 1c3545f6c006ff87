//! Texts that hide something a model is asked for at their end: what long caches and sparse attention are for.
//!
//! A new kind of text is one file here, its `mod` line, and its line in [`RETRIEVALS`].

mod filler;
mod multi_key;
mod passkey;
mod probe;
mod story;
mod variables;
mod needle;

pub use filler::Filler;
pub use probe::{Depths, Probe, ProbeError, probes};
pub use story::{Random, Retrieval, Story};

/// Every kind of text.
pub static RETRIEVALS: &[&dyn Retrieval] = &[
    &passkey::Passkey,
    &needle::Needle,
    &multi_key::MultiKey,
    &variables::Variables,
];

#[cfg(test)]
mod tests;
