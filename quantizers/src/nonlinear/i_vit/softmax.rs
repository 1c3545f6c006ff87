//! Shiftmax.

use super::{coarse_enough, shift_exponential};
use crate::integer::kernels::i_vit::Softmax as Kernel;
use crate::nonlinear::precondition::Precondition;
use crate::nonlinear::{
    About, Approximation, ApproximationError, Compiled, Grid, InputForm, Nonlinearity, Request,
};

/// `ShiftExp` over its sum, of 8-bit scores.
///
/// Probabilities have a grid of their own: codes of scale `2^-(bits - 1)`, below `2^(bits - 1)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Softmax;

/// Octaves, as published.
pub const OCTAVES: u32 = 15;

/// The kernel for scores of `scale`; nothing is checked.
pub fn kernel(scale: f64, bits: u32) -> Kernel {
    Kernel {
        exponential: shift_exponential(scale, OCTAVES),
        bits,
    }
}

impl Approximation for Softmax {
    fn about(&self) -> About {
        About {
            family: "i-vit",
            replaces: Nonlinearity::Softmax,
            summary: "2^r = 1 + r/2 on one octave, x log2 e = x + x/2 - x/16 by shifts; one division a row",
            published: true,
            input: InputForm::Codes {
                bits: 8,
                symmetric: true,
            },
        }
    }

    fn compile(&self, request: &Request) -> Result<Compiled, ApproximationError> {
        let precondition = Precondition::of(self);
        precondition.own_grid(request)?;
        let scale = precondition.scale(&request.input)?;
        coarse_enough(&precondition, scale, OCTAVES)?;
        let bits = request.output_bits;
        if bits != 8 && bits != 16 {
            return Err(precondition.refuse("8 or 16 output bits", bits.to_string()));
        }
        let output = Grid {
            scales: vec![2.0_f64.powi(1 - bits.cast_signed())],
            zero_point: 0,
            low: 0,
            high: (1 << (bits - 1)) - 1,
        };
        precondition.proved(kernel(scale, bits), request, output)
    }
}
