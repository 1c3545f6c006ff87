//! What `LayerNorm` and `RMSNorm` share: scales as shifts, epsilon and offsets as integers.

use super::checks::{FAMILY, checked, grids, refuse};
use crate::integer::kernels::exact::norm::VALUE_BITS;
use crate::integer::kernels::exact::{Affine, Norm};
use crate::nonlinear::{
    About, Approximation, ApproximationError, Compiled, Grid, InputForm, Nonlinearity, Request,
};

/// Guard bits of the root of the variance.
const GUARD_BITS: u32 = 8;
/// Largest exponent of a power-of-two factor per channel.
const MOST_SHIFT: f64 = 12.0;

/// A normalisation with exact sums, an exact integer root, one rounding to 16 fraction bits and one to
/// the output.
#[derive(Debug)]
pub struct Normalisation {
    replaces: Nonlinearity,
    summary: &'static str,
    /// Whether the mean is taken off.
    centred: bool,
}

/// `(x - mean) / sqrt(variance + eps) gamma + beta`.
pub static LAYERNORM: Normalisation = Normalisation {
    replaces: Nonlinearity::LayerNorm,
    summary: "D = C q - sum q over the exact root of its variance, then one rounding a channel",
    centred: true,
};

/// `x / sqrt(mean(x^2) + eps) gamma`.
pub static RMSNORM: Normalisation = Normalisation {
    replaces: Nonlinearity::RmsNorm,
    summary: "C q over the exact root of its mean square, then one rounding a channel",
    centred: false,
};

impl Approximation for Normalisation {
    fn about(&self) -> About {
        About {
            family: FAMILY,
            replaces: self.replaces,
            summary: self.summary,
            published: false,
            input: InputForm::Codes {
                bits: 16,
                symmetric: true,
            },
        }
    }

    fn compile(&self, request: &Request) -> Result<Compiled, ApproximationError> {
        let function = self.replaces;
        let (input, output) = grids(function, request)?;
        let width = request.width;
        let (scale, shifts) = common_scale(function, input, width)?;
        let affine = affine(function, width, &request.gamma, &request.beta, output)?;
        let unit = width as f64 / scale;
        let epsilon = (request.epsilon * unit * unit).round();
        if !(0.0..2.0_f64.powi(61)).contains(&epsilon) {
            let found = format!("{} at scale {scale}", request.epsilon);
            return Err(refuse(
                function,
                "an epsilon below the largest variance",
                found,
            ));
        }
        #[expect(clippy::cast_possible_truncation, reason = "below 2^61")]
        let kernel = Norm {
            centred: self.centred,
            width,
            zero_point: input.zero_point,
            shifts,
            epsilon: epsilon as i64,
            most_guard_bits: GUARD_BITS,
            affine,
        };
        checked(function, request, Box::new(kernel), output.clone())
    }
}

/// The smallest scale, and the shift of each channel to it; no shifts for a single scale.
fn common_scale(
    function: Nonlinearity,
    input: &Grid,
    width: usize,
) -> Result<(f64, Vec<u32>), ApproximationError> {
    if input.scales.len() == 1 {
        return Ok((input.scales[0], Vec::new()));
    }
    if input.scales.len() != width {
        let expected = format!("1 or {width} scales of the inputs");
        let found = format!("{} scales", input.scales.len());
        return Err(refuse(function, expected, found));
    }
    let smallest = input.scales.iter().copied().fold(f64::INFINITY, f64::min);
    let shift = |scale: &f64| {
        let exponent = (scale / smallest).log2();
        if (exponent - exponent.round()).abs() > 1e-6 || exponent > MOST_SHIFT {
            let found = format!("factor {}", scale / smallest);
            return Err(refuse(
                function,
                "power-of-two factors between channels",
                found,
            ));
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "0 to 12"
        )]
        Ok(exponent.round() as u32)
    };
    let shifts: Result<Vec<u32>, ApproximationError> = input.scales.iter().map(shift).collect();
    Ok((smallest, shifts?))
}

/// The last step of a normalisation onto the grid `output`: `gamma` of `width` channels, `beta` of
/// as many or of none. A second one gives a second output of the same kernel.
///
/// # Errors
/// Vectors of another length, and factors or offsets that need more bits than there are.
#[expect(clippy::cast_possible_truncation, reason = "bounded by the shift")]
pub fn affine(
    function: Nonlinearity,
    width: usize,
    gamma: &[f64],
    beta: &[f64],
    output: &Grid,
) -> Result<Affine, ApproximationError> {
    if gamma.len() != width || !(beta.is_empty() || beta.len() == width) {
        let found = format!("{} and {}", gamma.len(), beta.len());
        return Err(refuse(
            function,
            format!("{width} factors and offsets"),
            found,
        ));
    }
    if let Some(value) = gamma.iter().chain(beta).find(|value| !value.is_finite()) {
        return Err(refuse(function, "finite parameters", format!("{value}")));
    }
    let unit = |channel: usize| output.scale(channel) * f64::from(1 << VALUE_BITS);
    let offset = |channel: usize| {
        let beta = beta.get(channel).copied().unwrap_or(0.0);
        beta / output.scale(channel) + f64::from(output.zero_point)
    };
    let factors: Vec<f64> = gamma
        .iter()
        .enumerate()
        .map(|(channel, gamma)| gamma / unit(channel))
        .collect();
    let largest = |values: &mut dyn Iterator<Item = f64>| values.map(f64::abs).fold(0.0, f64::max);
    let factor = largest(&mut factors.iter().copied());
    let reach = largest(&mut (0..width).map(offset)) + 1.0;
    // Factors below 2^30, offsets below 2^60.
    let shift = (30.0 - factor.log2().floor() - 1.0)
        .min(60.0 - reach.log2().ceil())
        .min(60.0);
    if shift < 1.0 {
        let found = format!("{factor} and {reach}");
        return Err(refuse(
            function,
            "factors and offsets of fewer output codes",
            found,
        ));
    }
    let power = shift.exp2();
    let half = 0.5;
    #[expect(clippy::cast_sign_loss, reason = "at least 1")]
    Ok(Affine {
        multipliers: factors
            .iter()
            .map(|factor| (factor * power).round() as i32)
            .collect(),
        offsets: (0..width)
            .map(|channel| ((offset(channel) + half) * power).round() as i64)
            .collect(),
        shift: shift as u32,
        low: output.low,
        high: output.high,
    })
}
