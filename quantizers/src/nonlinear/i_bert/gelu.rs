//! i-GELU.

use crate::integer::kernels::i_bert::Gelu as Kernel;
use crate::nonlinear::precondition::Precondition;
use crate::nonlinear::rounding::floor;
use crate::nonlinear::{
    About, Approximation, ApproximationError, Compiled, InputForm, Nonlinearity, Request,
};

/// How many bits of the error function are dropped before it is multiplied by the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShiftRule {
    /// As many as leave 16: none at the scales of 8-bit codes, 14 at 1e-4.
    SixteenBits,
    /// 14, as in the released code, whatever the scale: right for fine scales only.
    Published,
}

/// `x/2 (1 + erf(x / sqrt 2))` with `erf(u) = sign(u) (-0.2888 (min(|u|, 1.769) - 1.769)^2 + 1)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gelu {
    /// Bits to drop.
    pub rule: ShiftRule,
}

/// The registered form.
pub static SAFE: Gelu = Gelu {
    rule: ShiftRule::SixteenBits,
};

/// The square root of two with the digits of the released code.
#[expect(clippy::approx_constant, reason = "the digits of the released code")]
const ROOT_OF_TWO: f64 = 1.4142;

/// Fewest bits of the error function that [`ShiftRule::Published`] may leave.
const FEWEST_BITS: u32 = 8;

/// Constants for inputs of one scale.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Constants {
    /// `floor(-1.769 / S_e)`, `S_e = S / 1.4142`.
    pub q_b: i64,
    /// `floor((1 / -0.2888) / S_e^2)`.
    pub q_c: i64,
    /// `floor(1 / (-0.2888 S_e^2 2^shift))`.
    pub q_one: i64,
    /// Bits dropped.
    pub shift: u32,
    /// Scale of the product, negative.
    pub output_scale: f64,
}

impl Constants {
    /// With `shift` bits dropped; nothing is checked.
    pub fn new(scale: f64, shift: u32) -> Self {
        let (a, b, c) = (-0.2888, -1.769, 1.0);
        let argument = scale / ROOT_OF_TWO;
        let erf = a * (argument * argument) * 2.0_f64.powi(shift.cast_signed());
        Self {
            q_b: floor(b / argument),
            q_c: floor(c / a / (argument * argument)),
            q_one: floor(1.0 / erf),
            shift,
            output_scale: scale * erf / 2.0,
        }
    }

    /// By [`ShiftRule::SixteenBits`].
    pub fn sixteen_bits(scale: f64) -> Self {
        let all = Self::new(scale, 0);
        match bits(all.q_one).saturating_sub(16) {
            0 => all,
            shift => Self::new(scale, shift),
        }
    }
}

fn bits(value: i64) -> u32 {
    64 - value.unsigned_abs().leading_zeros()
}

impl Gelu {
    fn constants(self, scale: f64) -> Result<Constants, ApproximationError> {
        if self.rule == ShiftRule::SixteenBits {
            return Ok(Constants::sixteen_bits(scale));
        }
        let constants = Constants::new(scale, 14);
        let left = bits(constants.q_one);
        if left < FEWEST_BITS {
            return Err(Precondition::of(&self).refuse(
                format!("a scale that leaves {FEWEST_BITS} bits of erf after the shift by 14"),
                format!("{scale}, which leaves {left}"),
            ));
        }
        Ok(constants)
    }
}

impl Approximation for Gelu {
    fn about(&self) -> About {
        About {
            family: "i-bert",
            replaces: Nonlinearity::Gelu,
            summary: "x/2 (1 + sign(x) (-0.2888 (min(|x|/sqrt2, 1.769) - 1.769)^2 + 1)) of the accumulator",
            published: true,
            input: InputForm::Accumulator,
        }
    }

    fn compile(&self, request: &Request) -> Result<Compiled, ApproximationError> {
        let precondition = Precondition::of(self);
        precondition.symmetric(&request.input)?;
        let scales = precondition.scales(&request.input, request.width)?;
        let (grid, output_scale) = precondition.output(request)?;
        let constants = scales
            .iter()
            .map(|scale| self.constants(*scale))
            .collect::<Result<Vec<_>, _>>()?;
        let factors = constants.iter().map(|c| c.output_scale / output_scale);
        let kernel = Kernel {
            q_b: constants.iter().map(|c| c.q_b).collect(),
            q_c: constants.iter().map(|c| c.q_c).collect(),
            q_one: constants.iter().map(|c| c.q_one).collect(),
            shift: constants.iter().map(|c| c.shift).collect(),
            requantization: precondition.requantization(factors, grid)?,
        };
        precondition.proved_narrow_or_wide(kernel, |k| &mut k.requantization, request, grid)
    }
}
