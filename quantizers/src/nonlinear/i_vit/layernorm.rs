//! I-LayerNorm of I-ViT.

use crate::integer::kernels::i_vit::LayerNorm as Kernel;
use crate::nonlinear::i_bert::layernorm::affine;
use crate::nonlinear::precondition::Precondition;
use crate::nonlinear::{
    About, Approximation, ApproximationError, Compiled, InputForm, Nonlinearity, Request,
};

/// Rounded mean and ten Newton steps, of 16-bit codes.
///
/// `epsilon` plays no part, as published. With 8-bit codes the steps often do not converge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerNorm;

impl Approximation for LayerNorm {
    fn about(&self) -> About {
        About {
            family: "i-vit",
            replaces: Nonlinearity::LayerNorm,
            summary: "rounded mean, ten Newton steps from 2^16, (2^31 - 1) / deviation",
            published: true,
            input: InputForm::Codes {
                bits: 16,
                symmetric: true,
            },
        }
    }

    fn compile(&self, request: &Request) -> Result<Compiled, ApproximationError> {
        let precondition = Precondition::of(self);
        precondition.symmetric_scale(&request.input)?;
        let (bias, requantization) = affine(&precondition, request)?;
        let (grid, _) = precondition.output(request)?;
        let kernel = Kernel {
            bias,
            requantization,
        };
        precondition.proved_narrow_or_wide(kernel, |k| &mut k.requantization, request, grid)
    }
}
