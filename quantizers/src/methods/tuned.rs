//! Layers whose rounding is learned from what their block makes of it.

use super::{QuantizeError, Quantized};

/// A layer on its way: whoever runs the block says how its error depends on the weights, and the layer moves.
pub trait TunedLayer: Send + Sync {
    /// What the layer would decode to now, `[rows, cols]`.
    fn weights(&self) -> &[f32];
    /// Moves against `gradient`, `[rows, cols]`, the derivative of the block's error by [`Self::weights`] up to a positive
    /// factor.
    fn step(&mut self, gradient: &[f32]);
    /// Remembers the present state as the one to be stored.
    fn keep(&mut self);
    /// The state remembered last, or else the present one.
    ///
    /// # Errors
    /// Scales that their stored type has no room for.
    fn finish(self: Box<Self>) -> Result<Quantized, QuantizeError>;
}
