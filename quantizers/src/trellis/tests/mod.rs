//! Encoders against all streams, against one state at a time, and against what rate-distortion theory allows.

mod exactness;
mod gaussians;
mod streams;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Independent standard normal values (Box and Muller).
#[expect(clippy::cast_possible_truncation, reason = "weights are f32")]
fn gaussians(count: usize, seed: u64) -> Vec<f32> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut uniform = || 1.0 - random.random::<f64>();
    let value = |_| {
        let (radius, angle) = (uniform(), uniform());
        ((-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()) as f32
    };
    (0..count).map(value).collect()
}
