//! Artifacts: written layer by layer, opened again, the same content, the promised size.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot write its files has to stop"
)]

mod contract;
mod damage;
mod layers;
mod writing;
