//! Log-int-softmax.

use crate::integer::kernels::fq_vit::Softmax as Kernel;
use crate::integer::kernels::fq_vit::softmax::LARGEST_EXPONENT;
use crate::nonlinear::i_bert::{OCTAVE, exponential};
use crate::nonlinear::precondition::Precondition;
use crate::nonlinear::{
    About, Approximation, ApproximationError, Compiled, Grid, InputForm, Nonlinearity, Request,
};

/// Probabilities that are powers of two, down to 2^-15.
///
/// They have a grid of their own: the code of `2^-k` is `2^(15 - k)`, scale `2^-15`, whatever width
/// of probabilities is asked for. There are 17 codes, of which 4 bits and a zero would tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Softmax;

impl Approximation for Softmax {
    fn about(&self) -> About {
        About {
            family: "fq-vit",
            replaces: Nonlinearity::Softmax,
            summary: "2^-round(log2(sum e / e)), e by I-BERT's polynomial; zero below 2^-15",
            published: true,
            input: InputForm::Codes {
                bits: 8,
                symmetric: false,
            },
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
        let kernel = Kernel {
            exponential: exponential(scale),
        };
        let output = Grid {
            scales: vec![2.0_f64.powi(-15)],
            zero_point: 0,
            low: 0,
            high: 1 << LARGEST_EXPONENT,
        };
        precondition.proved(kernel, request, output)
    }
}
