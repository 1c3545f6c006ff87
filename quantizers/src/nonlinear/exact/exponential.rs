//! Scales of scores as the constants of an exponential.

use crate::integer::Dyadic;
use crate::integer::kernels::exact::Exponential;
use crate::integer::kernels::exact::exponential::POSITION_BITS;
use std::f64::consts::LOG2_E;

/// `d -> 2^30 e^(-d scale)`; none for scales it has no shift for.
pub fn exponential(scale: f64, polynomial: &[i64]) -> Option<Exponential> {
    let factor = scale * LOG2_E;
    if !factor.is_finite() || factor <= 0.0 || factor >= 32.0 {
        return None;
    }
    let Dyadic { multiplier, shift } = Dyadic::of(factor);
    let position = Dyadic {
        multiplier,
        shift: shift - i32::try_from(POSITION_BITS).ok()?,
    };
    Some(Exponential {
        position,
        clip: Exponential::clip_of(position),
        coefficients: polynomial.to_vec(),
    })
}
