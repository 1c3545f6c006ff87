//! `ShiftGELU`.

use super::{coarse_enough, shift_exponential};
use crate::integer::kernels::i_vit::gelu::{Gelu as Kernel, SIGMOID_BITS};
use crate::nonlinear::precondition::Precondition;
use crate::nonlinear::{
    About, Approximation, ApproximationError, Compiled, InputForm, Nonlinearity, Request,
};

/// `x sigmoid(1.702 x)` with a sigmoid of 8 bits.
///
/// It needs codes of 8 bits: `2^23 / (1.702 S)` must fit 30 bits, so `S >= 1/218`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gelu;

/// Octaves, as published.
pub const OCTAVES: u32 = 23;
/// Scale of the sigmoid's argument.
const SLOPE: f64 = 1.702;

impl Approximation for Gelu {
    fn about(&self) -> About {
        About {
            family: "i-vit",
            replaces: Nonlinearity::Gelu,
            summary: "x sigmoid(1.702 x), the sigmoid by ShiftExp under the maximum of the row",
            published: true,
            input: InputForm::Codes {
                bits: 8,
                symmetric: true,
            },
        }
    }

    fn compile(&self, request: &Request) -> Result<Compiled, ApproximationError> {
        let precondition = Precondition::of(self);
        let scale = precondition.symmetric_scale(&request.input)?;
        coarse_enough(&precondition, SLOPE * scale, OCTAVES)?;
        let (grid, output_scale) = precondition.output(request)?;
        let factor = scale / 2.0_f64.powi(SIGMOID_BITS.cast_signed() - 1) / output_scale;
        let kernel = Kernel {
            exponential: shift_exponential(SLOPE * scale, OCTAVES),
            requantization: precondition.requantization([factor], grid)?,
        };
        precondition.proved_narrow_or_wide(kernel, |k| &mut k.requantization, request, grid)
    }
}
