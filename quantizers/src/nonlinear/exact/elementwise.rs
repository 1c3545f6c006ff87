//! Functions of one value: a table for short codes, minimax segments for wide ones.

use super::checks::{FAMILY, checked, dyadic_of_bits, grids, refuse};
use super::minimax;
use crate::integer::Dyadic;
use crate::integer::kernels::exact::segments::{POSITION_BITS, VALUE_BITS};
use crate::integer::kernels::exact::{Factors, Segments, Shape, Table};
use crate::nonlinear::{
    About, Approximation, ApproximationError, Compiled, Grid, InputForm, Nonlinearity, Request,
};

/// Widest grid that is compiled to a table.
const TABLE_BITS: u32 = 12;

/// A function, whole and in the parts that [`Segments`] is made of: an approximation of the registry.
#[derive(Debug)]
pub struct Function {
    pub(super) replaces: Nonlinearity,
    pub(super) summary: &'static str,
    pub(super) exact: fn(f64) -> f64,
    pub(super) shape: Shape,
    pub(super) polynomials: fn(resolution: f64) -> Polynomials,
}

/// A correction fitted on `[0, reach]` in equal segments, 24 fraction bits.
pub(super) struct Polynomials {
    pub(super) reach: f64,
    pub(super) segments: Vec<[i64; 4]>,
}

impl Polynomials {
    /// Reach and segments for errors below a 32nd of `resolution`, as far as 24 fraction bits and
    /// 128 segments go.
    #[expect(clippy::cast_possible_truncation, reason = "coefficients below 2^30")]
    pub(super) fn of(correction: fn(f64) -> f64, resolution: f64, farthest: f64) -> Self {
        let tolerance = (resolution / 32.0).max(2.0_f64.powi(-25));
        let mut reach = 4.0;
        while reach < farthest && correction(reach) > tolerance {
            reach += 1.0;
        }
        let unit = f64::from(1 << VALUE_BITS);
        let mut count = 16;
        loop {
            let width = reach / f64::from(count);
            let fits: Vec<minimax::Fit> = (0..count)
                .map(|i| minimax::fit(|x| correction((f64::from(i) + x) * width), 4))
                .collect();
            let error = fits.iter().map(|fit| fit.error).fold(0.0, f64::max);
            if error <= tolerance || count == 128 {
                let quantized = |fit: &minimax::Fit| {
                    std::array::from_fn(|k| (fit.coefficients[k] * unit).round() as i64)
                };
                let segments = fits.iter().map(quantized).collect();
                return Self { reach, segments };
            }
            count *= 2;
        }
    }
}

impl Approximation for Function {
    fn about(&self) -> About {
        About {
            family: FAMILY,
            replaces: self.replaces,
            summary: self.summary,
            published: false,
            input: InputForm::Codes {
                bits: 8,
                symmetric: false,
            },
        }
    }

    fn compile(&self, request: &Request) -> Result<Compiled, ApproximationError> {
        if let Some(compiled) = self.by_channel(request) {
            return compiled;
        }
        let (input, output) = grids(self.replaces, request)?;
        let codes = i64::from(input.high) - i64::from(input.low) + 1;
        if input.scales.len() == 1 && codes <= 1 << TABLE_BITS {
            let kernel = Box::new(self.table(input, output));
            return checked(self.replaces, request, kernel, output.clone());
        }
        let kernel = Box::new(self.segments(request, input, output)?);
        checked(self.replaces, request, kernel, output.clone())
    }
}

impl Function {
    /// Every output code, correctly rounded.
    fn table(&self, input: &Grid, output: &Grid) -> Table {
        let code = |code: i32| nearest((self.exact)(input.value(code, 0)), output);
        Table {
            first: input.low,
            codes: (input.low..=input.high).map(code).collect(),
        }
    }

    fn segments(
        &self,
        request: &Request,
        input: &Grid,
        output: &Grid,
    ) -> Result<Segments, ApproximationError> {
        if input.scales.len() != 1 && input.scales.len() != request.width {
            let expected = format!("1 or {} scales", request.width);
            let found = format!("{} scales", input.scales.len());
            return Err(refuse(self.replaces, expected, found));
        }
        let Polynomials { reach, segments } = (self.polynomials)(output.scales[0]);
        let unit = f64::from(1 << VALUE_BITS);
        let per_unit = segments.len() as f64 / reach * f64::from(1 << POSITION_BITS);
        if let Some(scale) = input
            .scales
            .iter()
            .find(|s| **s * unit.max(per_unit) >= 2.0_f64.powi(30))
        {
            let found = format!("{scale}");
            return Err(refuse(self.replaces, "input scales below 32", found));
        }
        let factors = |scale: &f64| Factors {
            position: Dyadic::of(scale * per_unit),
            value: Dyadic::of(scale * unit),
        };
        let limit = limit(output) * unit;
        if limit >= 2.0_f64.powi(52) {
            let found = format!("{}", output.scales[0]);
            return Err(refuse(self.replaces, "a smaller output scale", found));
        }
        #[expect(clippy::cast_possible_truncation, reason = "below 2^52")]
        let limit = limit.ceil() as i64;
        // Product and rounding half stay below 2^63; beyond 31 bits of value the factor has less.
        let spare = (limit.leading_zeros() - 2).min(31);
        Ok(Segments {
            shape: self.shape,
            zero_point: input.zero_point,
            factors: input.scales.iter().map(factors).collect(),
            terms: 4,
            coefficients: segments.concat(),
            limit,
            output: dyadic_of_bits(1.0 / (unit * output.scales[0]), spare),
            output_zero_point: output.zero_point,
            low: output.low,
            high: output.high,
        })
    }
}

/// The code of the grid that is nearest to `value`.
#[expect(clippy::cast_possible_truncation, reason = "clamped to codes")]
pub(super) fn nearest(value: f64, grid: &Grid) -> i32 {
    let code = (value / grid.scale(0)).round_ties_even() + f64::from(grid.zero_point);
    code.clamp(grid.low.into(), grid.high.into()) as i32
}

/// A real value from which on, in either direction, the outputs are saturated.
fn limit(output: &Grid) -> f64 {
    let zero = f64::from(output.zero_point);
    let reach = (f64::from(output.high) - zero).max(zero - f64::from(output.low));
    (reach.max(0.0) + 1.0) * output.scales[0]
}
