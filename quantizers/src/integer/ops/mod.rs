//! The operations of a program, one file each.
//!
//! Adding one is a file here, its `mod` line, and its line in
//! [`OPERATIONS`](super::operation::OPERATIONS).

pub mod attention;
pub mod class_token;
pub mod first;
pub mod fused_attention;
pub mod linear;
mod linear_fused;
mod linear_step;
pub mod mean;
pub mod norm;
pub mod patches;
pub mod tokens;
pub mod unit_length;

use super::arithmetic::{Arithmetic, Checked, Fault, Wrapping};
use super::kernel::Mode;

/// A computation that is written once and run in either arithmetic.
pub(super) trait Generic {
    /// Runs over the buffers of `frame`.
    fn compute<A: Arithmetic>(&self, arithmetic: &A, frame: &mut super::frame::Frame);
}

/// Runs `body` in the arithmetic of `mode`.
pub(super) fn run_generic<G: Generic>(
    body: &G,
    mode: Mode,
    frame: &mut super::frame::Frame,
) -> Result<(), Fault> {
    match mode {
        Mode::Fast => {
            body.compute(&Wrapping, frame);
            Ok(())
        }
        Mode::Checked => {
            let checked = Checked::default();
            body.compute(&checked, frame);
            checked.outcome()
        }
    }
}
