//! i-softmax.

use super::{OCTAVE, exponential};
use crate::integer::Dyadic;
use crate::integer::kernels::i_bert::Softmax as Kernel;
use crate::nonlinear::precondition::Precondition;
use crate::nonlinear::{
    About, Approximation, ApproximationError, Compiled, Grid, InputForm, Nonlinearity, Request,
};

/// i-exp over its sum, of scores that are not requantized.
///
/// Probabilities have a grid of their own: unsigned codes of scale `2^-bits`. Floors make the sum of a
/// flat row fall short of 1, to about 0.8 at 8 bits and 200 values, as published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Softmax;

/// The kernel for scores of `scale`; nothing is checked.
pub fn kernel(scale: f64, bits: u32) -> Kernel {
    let exponential = exponential(scale);
    let largest = exponential.largest() as f64;
    Kernel {
        exponential,
        to_sixteen_bits: Dyadic::of_wide(32767.0 / largest),
        bits,
    }
}

impl Approximation for Softmax {
    fn about(&self) -> About {
        About {
            family: "i-bert",
            replaces: Nonlinearity::Softmax,
            summary: "exp(p) = 0.35815 p^2 + 0.96963 p + 1 on one octave, shifted; 16 bits; one division a row",
            published: true,
            input: InputForm::Accumulator,
        }
    }

    fn compile(&self, request: &Request) -> Result<Compiled, ApproximationError> {
        let precondition = Precondition::of(self);
        precondition.own_grid(request)?;
        let scale = precondition.scale(&request.input)?;
        if scale > OCTAVE {
            return Err(
                precondition.refuse(format!("a scale of at most {OCTAVE}"), scale.to_string())
            );
        }
        let bits = request.output_bits;
        if bits != 8 && bits != 16 {
            return Err(precondition.refuse("8 or 16 output bits", bits.to_string()));
        }
        let output = Grid {
            scales: vec![2.0_f64.powi(-bits.cast_signed())],
            zero_point: 0,
            low: 0,
            high: (1 << bits) - 1,
        };
        precondition.proved(kernel(scale, bits), request, output)
    }
}
