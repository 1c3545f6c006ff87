//! Preconditions that approximations share, and errors that name the approximation.

use super::{Approximation, ApproximationError, Compiled, Grid, Nonlinearity, Request};
use crate::integer::kernels::EvenRequantization;
use crate::integer::{Dyadic, Interval, RowKernel, WidthError};

/// Checks what an approximation was given and speaks in its name.
#[derive(Debug, Clone, Copy)]
pub(super) struct Precondition {
    approximation: &'static str,
    function: Nonlinearity,
}

impl Precondition {
    pub(super) fn of(approximation: &dyn Approximation) -> Self {
        Self {
            approximation: approximation.name(),
            function: approximation.replaces(),
        }
    }

    pub(super) fn refuse(
        &self,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> ApproximationError {
        ApproximationError {
            approximation: self.approximation,
            function: self.function.name(),
            expected: expected.into(),
            found: found.into(),
        }
    }

    fn width(&self, error: &WidthError) -> ApproximationError {
        self.refuse(
            format!("{} within {} bits", error.what, error.expected),
            format!("{} to {}, {} bits", error.low, error.high, error.found),
        )
    }

    /// The scales of a grid, all positive and finite, one or `width` of them.
    pub(super) fn scales<'a>(
        &self,
        grid: &'a Grid,
        width: usize,
    ) -> Result<&'a [f64], ApproximationError> {
        let count = grid.scales.len();
        if count != 1 && count != width {
            return Err(self.refuse(format!("1 or {width} scales"), count.to_string()));
        }
        match grid.scales.iter().find(|s| !(s.is_finite() && **s > 0.0)) {
            Some(scale) => Err(self.refuse("scales above zero", scale.to_string())),
            None => Ok(&grid.scales),
        }
    }

    /// The one scale of a grid.
    pub(super) fn scale(&self, grid: &Grid) -> Result<f64, ApproximationError> {
        Ok(self.scales(grid, 1)?[0])
    }

    /// The one scale of a grid whose zero point is zero.
    pub(super) fn symmetric_scale(&self, grid: &Grid) -> Result<f64, ApproximationError> {
        self.symmetric(grid)?;
        self.scale(grid)
    }

    /// That the zero point is zero.
    pub(super) fn symmetric(&self, grid: &Grid) -> Result<(), ApproximationError> {
        if grid.zero_point == 0 {
            return Ok(());
        }
        Err(self.refuse("an input zero point of 0", grid.zero_point.to_string()))
    }

    /// The output grid and its scale.
    pub(super) fn output<'a>(
        &self,
        request: &'a Request,
    ) -> Result<(&'a Grid, f64), ApproximationError> {
        let grid = request.output.as_ref();
        let grid = grid.ok_or_else(|| self.refuse("an output grid", "none"))?;
        Ok((grid, self.scale(grid)?))
    }

    /// That softmax is not told a grid, having its own.
    pub(super) fn own_grid(&self, request: &Request) -> Result<(), ApproximationError> {
        if request.output.is_none() {
            return Ok(());
        }
        Err(self.refuse("no output grid, having one of its own", "one"))
    }

    /// Factor and offset of every channel of a `LayerNorm`, all finite.
    pub(super) fn channels(&self, request: &Request) -> Result<(), ApproximationError> {
        for (name, values) in [("gamma", &request.gamma), ("beta", &request.beta)] {
            if values.len() != request.width || values.is_empty() {
                let expected = format!("{} values of {name}", request.width.max(1));
                return Err(self.refuse(expected, values.len().to_string()));
            }
            if let Some(value) = values.iter().find(|value| !value.is_finite()) {
                return Err(self.refuse(format!("finite {name}"), value.to_string()));
            }
        }
        Ok(())
    }

    /// Factors `scale / output scale` and the output grid as the last step of a kernel.
    ///
    /// Scales are taken as they are; published code rounds that of the output to 32-bit floats first.
    pub(super) fn requantization(
        &self,
        factors: impl IntoIterator<Item = f64>,
        grid: &Grid,
    ) -> Result<EvenRequantization, ApproximationError> {
        let mut made = EvenRequantization {
            multipliers: Vec::new(),
            shifts: Vec::new(),
            offsets: Vec::new(),
            wide: false,
            low: grid.low,
            high: grid.high,
        };
        for factor in factors {
            if !factor.is_finite() || factor.abs() >= 2.0_f64.powi(31) {
                return Err(self.refuse("output factors below 2^31", factor.to_string()));
            }
            let Dyadic { multiplier, shift } = Dyadic::of(factor);
            made.multipliers.push(multiplier);
            made.shifts.push(shift);
            made.offsets.push(grid.zero_point);
        }
        Ok(made)
    }

    /// The kernel, once its intervals are proved for every input code of the request.
    pub(super) fn proved<K: RowKernel + 'static>(
        &self,
        kernel: K,
        request: &Request,
        output: Grid,
    ) -> Result<Compiled, ApproximationError> {
        let codes = Interval::new(request.input.low.into(), request.input.high.into());
        match kernel.bounds(codes, request.width) {
            Ok(_) => Ok(Compiled {
                kernel: Box::new(kernel),
                output,
            }),
            Err(error) => Err(self.width(&error)),
        }
    }

    /// As [`Precondition::proved`], with wide products in the last step only where narrow ones are
    /// not enough.
    pub(super) fn proved_narrow_or_wide<K: RowKernel + 'static>(
        &self,
        mut kernel: K,
        last: impl Fn(&mut K) -> &mut EvenRequantization,
        request: &Request,
        output: &Grid,
    ) -> Result<Compiled, ApproximationError> {
        let codes = Interval::new(request.input.low.into(), request.input.high.into());
        if kernel.bounds(codes, request.width).is_err() {
            last(&mut kernel).wide = true;
        }
        self.proved(kernel, request, output.clone())
    }
}
