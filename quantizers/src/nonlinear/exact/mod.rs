//! The family `exact`: what each operator of `integer/kernels/exact/` is compiled to.
//!
//! Functions of one 8 to 12-bit code become tables of correctly rounded outputs; wider inputs get
//! minimax polynomials; normalisations have exact statistics. Nothing is learned and nothing has a
//! precondition on scales beyond the widths, which every compilation checks by interval analysis.

pub mod functions;
pub mod minimax;
mod channel_tables;
mod elementwise;
pub mod gelu;
pub mod gelu_tanh;
pub mod relu;
pub mod silu;
pub mod tanh;
pub mod softmax;
mod norm;
pub mod layernorm;
pub mod rmsnorm;
pub mod attention;

pub use norm::affine;

use super::{Compiled, Grid, Nonlinearity, Refusal, Request};
use crate::integer::{Dyadic, Interval, RowKernel};

/// Name of the family in recipes.
const FAMILY: &str = "exact";

/// The refusal of `function`.
fn refuse(
    function: Nonlinearity,
    expected: impl Into<String>,
    found: impl Into<String>,
) -> Refusal {
    Refusal {
        approximation: FAMILY,
        function: function.name(),
        expected: expected.into(),
        found: found.into(),
    }
}

/// `kernel`, if its intermediates fit for the inputs of `request`.
fn checked(
    function: Nonlinearity,
    request: &Request,
    kernel: Box<dyn RowKernel>,
    output: Grid,
) -> Result<Compiled, Refusal> {
    let input = Interval::new(request.input.low.into(), request.input.high.into());
    match kernel.bounds(input, request.width) {
        Ok(_) => Ok(Compiled { kernel, output }),
        Err(error) => Err(refuse(
            function,
            "intermediates of the declared widths",
            error.to_string(),
        )),
    }
}

/// The input and the output grid, if their scales can be used.
fn grids(function: Nonlinearity, request: &Request) -> Result<(&Grid, &Grid), Refusal> {
    let Some(output) = &request.output else {
        return Err(refuse(function, "an output grid", "none"));
    };
    // Normalisations have a factor for each channel anyway.
    let by_channel = matches!(function, Nonlinearity::LayerNorm | Nonlinearity::RmsNorm);
    if output.scales.len() != 1 && !(by_channel && output.scales.len() == request.width) {
        let found = format!("{} scales", output.scales.len());
        return Err(refuse(function, "one scale of the outputs", found));
    }
    for grid in [&request.input, output] {
        usable(function, grid)?;
    }
    Ok((&request.input, output))
}

/// Refuses scales that are no scales and grids without codes.
fn usable(function: Nonlinearity, grid: &Grid) -> Result<(), Refusal> {
    let fine = |scale: &&f64| scale.is_finite() && **scale > 0.0;
    if let Some(scale) = grid.scales.iter().find(|scale| !fine(scale)) {
        return Err(refuse(function, "positive scales", format!("{scale}")));
    }
    if grid.scales.is_empty() || grid.low >= grid.high {
        let found = format!(
            "{} scales, codes {} to {}",
            grid.scales.len(),
            grid.low,
            grid.high
        );
        return Err(refuse(function, "scales and codes", found));
    }
    Ok(())
}

/// `factor` with a multiplier of at most `bits` bits.
fn dyadic_of_bits(factor: f64, bits: u32) -> Dyadic {
    let full = Dyadic::of(factor);
    let lost = 31_u32.saturating_sub(bits);
    if lost == 0 {
        return full;
    }
    let half = 1_i64 << (lost - 1);
    Dyadic {
        multiplier: (full.multiplier + half) >> lost,
        shift: full.shift - i32::try_from(lost).unwrap_or(0),
    }
}

#[cfg(test)]
mod samples;
#[cfg(test)]
mod attention_accuracy;
#[cfg(test)]
mod attention_forms;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod bounds;
#[cfg(test)]
mod properties;
