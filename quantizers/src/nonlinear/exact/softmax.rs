//! Softmax to the resolution of its outputs.

use super::checks::{FAMILY, checked, refuse, usable};
use super::exponential::exponential;
use crate::integer::attention::HeadAttention;
use crate::integer::kernels::exact::exponential::{DEGREE_3, DEGREE_4};
use crate::integer::kernels::exact::{Softmax as Polynomial, TableSoftmax};
use crate::nonlinear::{
    About, Approximation, ApproximationError, AttentionRequest, Compiled, Grid, InputForm,
    Nonlinearity, Request,
};

/// `e^(x - max) / sum`, rounded: a table of exponentials for codes of 8 bits, `2^-z P(f)` for wider
/// scores, and one rounded division a value.
#[derive(Debug)]
pub struct Softmax;

const FUNCTION: Nonlinearity = Nonlinearity::Softmax;

impl Approximation for Softmax {
    fn about(&self) -> About {
        About {
            family: FAMILY,
            replaces: FUNCTION,
            summary: "exponentials from a table or a minimax 2^-f, one rounded division by their sum",
            published: false,
            input: InputForm::Accumulator,
        }
    }

    fn compile(&self, request: &Request) -> Result<Compiled, ApproximationError> {
        let input = &request.input;
        usable(FUNCTION, input)?;
        if input.scales.len() != 1 {
            let found = format!("{} scales", input.scales.len());
            return Err(refuse(FUNCTION, "one scale of the scores", found));
        }
        if request.output_bits != 8 && request.output_bits != 16 {
            let found = format!("{} bits", request.output_bits);
            return Err(refuse(FUNCTION, "8 or 16-bit probabilities", found));
        }
        let most = (1 << request.output_bits) - 1;
        let output = Grid {
            scales: vec![1.0 / f64::from(most)],
            zero_point: 0,
            low: 0,
            high: most,
        };
        let most = i64::from(most);
        let scale = input.scales[0];
        if i64::from(input.high) - i64::from(input.low) < 256 {
            let bits = if request.output_bits == 8 { 16 } else { 24 };
            let exponentials = table(scale, input.high - input.low, bits);
            let kernel = Box::new(TableSoftmax { exponentials, most });
            return checked(FUNCTION, request, kernel, output);
        }
        let exponential = if request.output_bits == 8 {
            exponential(scale, &DEGREE_3)
        } else {
            exponential(scale, &DEGREE_4)
        };
        let Some(exponential) = exponential else {
            return Err(refuse(
                FUNCTION,
                "a score scale below 32",
                format!("{scale}"),
            ));
        };
        let kernel = Box::new(Polynomial { exponential, most });
        checked(FUNCTION, request, kernel, output)
    }

    fn attention(
        &self,
        request: &AttentionRequest,
    ) -> Option<Result<HeadAttention, ApproximationError>> {
        Some(super::attention::compile(request))
    }
}

/// `round(2^bits e^(-d scale))` for `d` to `last`.
#[expect(clippy::cast_possible_truncation, reason = "at most 2^24")]
pub(super) fn table(scale: f64, last: i32, bits: i32) -> Vec<i64> {
    let value = |d: i32| (2.0_f64.powi(bits) * (-f64::from(d) * scale).exp()).round() as i64;
    (0..=last).map(value).collect()
}
