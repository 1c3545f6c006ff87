//! What the compilers of this family check alike.

use crate::integer::{Dyadic, Interval, RowKernel};
use crate::nonlinear::{ApproximationError, Compiled, Grid, Nonlinearity, Request};

/// Name of the family in recipes.
pub(super) const FAMILY: &str = "exact";

/// The error of `function`.
pub(super) fn refuse(
    function: Nonlinearity,
    expected: impl Into<String>,
    found: impl Into<String>,
) -> ApproximationError {
    ApproximationError {
        approximation: FAMILY,
        function: function.name(),
        expected: expected.into(),
        found: found.into(),
    }
}

/// `kernel`, if its intermediates fit for the inputs of `request`.
pub(super) fn checked(
    function: Nonlinearity,
    request: &Request,
    kernel: Box<dyn RowKernel>,
    output: Grid,
) -> Result<Compiled, ApproximationError> {
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
pub(super) fn grids(
    function: Nonlinearity,
    request: &Request,
) -> Result<(&Grid, &Grid), ApproximationError> {
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
pub(super) fn usable(function: Nonlinearity, grid: &Grid) -> Result<(), ApproximationError> {
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
pub(super) fn dyadic_of_bits(factor: f64, bits: u32) -> Dyadic {
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
