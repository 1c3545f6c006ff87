//! One matrix rounded with compensation, on plain slices.

use super::columns::Columns;
use super::feedback::Feedback;
use super::groups::{Groups, UniformRounding};
use crate::grid::Grid;
use crate::methods::clipping::Clip;
use crate::methods::{QuantizeError, require_finite};
use crate::{Granularity, MatrixRef, Uniform};

/// How columns are taken.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Compensation {
    /// Share of the mean diagonal that is added to it.
    pub damping: f64,
    /// Columns by descending diagonal of the Hessian.
    pub act_order: bool,
    /// Group grids of the original weights.
    pub static_groups: bool,
    /// Columns between two products, at least 1.
    pub block_size: usize,
}

/// A matrix rounded with compensation.
#[derive(Debug, Clone, PartialEq)]
pub struct Compensated {
    /// Codes and grids.
    pub uniform: Uniform,
    /// Damping used; more than asked for where the factorisation failed with that.
    pub damping: f64,
    /// Inputs that were zero in all calibration data.
    pub dead: usize,
}

impl Compensation {
    /// Rounds `weight` to `grid`; `hessian` is `X^T X` `[cols, cols]` up to a factor.
    ///
    /// # Errors
    /// A Hessian with impossible values, a weight that is not finite.
    ///
    /// # Panics
    /// When `hessian` has another shape, or `block_size` or a group size is 0.
    pub fn quantize(
        &self,
        grid: Grid,
        granularity: Granularity,
        weight: MatrixRef<'_>,
        hessian: MatrixRef<'_>,
    ) -> Result<Compensated, QuantizeError> {
        self.quantize_clipped(grid, granularity, weight, hessian, Clip::Nothing)
    }

    /// [`Self::quantize`] on grids of the original weights that end where `clip` says; groups of current
    /// weights are never clipped.
    pub(super) fn quantize_clipped(
        &self,
        grid: Grid,
        granularity: Granularity,
        weight: MatrixRef<'_>,
        hessian: MatrixRef<'_>,
        clip: Clip,
    ) -> Result<Compensated, QuantizeError> {
        require_finite(weight)?;
        let cols = weight.cols();
        assert_eq!(
            (hessian.rows(), hessian.cols()),
            (cols, cols),
            "a Hessian of the inputs"
        );
        let feedback = Feedback::new(hessian, self.damping, self.act_order)?;
        let groups = match granularity {
            Granularity::Group(size) if !self.static_groups => Groups::current(size, &feedback),
            _ => Groups::original(grid, weight, granularity, &feedback, (clip, hessian)),
        };
        let rounding = UniformRounding {
            grid,
            groups: &groups,
        };
        let rounded = Columns::new(&rounding, &feedback, self.block_size).round(weight);
        let (mut scales, mut zero_points) = (Vec::new(), Vec::new());
        for (rows, points) in rounded.strips {
            let from = scales.len();
            scales.resize(from + rows * groups.count(), 0.0);
            zero_points.resize(scales.len(), 0);
            points.store(&mut scales[from..], &mut zero_points[from..]);
        }
        scales.resize(weight.rows() * groups.count(), 0.0);
        zero_points.resize(scales.len(), 0);
        let points = granularity.scale_count(weight.rows(), cols);
        scales.truncate(points);
        zero_points.truncate(points);
        Ok(Compensated {
            uniform: Uniform {
                bits: grid.bits,
                granularity,
                codes: rounded.codes,
                scales,
                scale_type: grid.scale_type,
                zero_points: (!grid.symmetric).then_some(zero_points),
                float_zero_points: None,
                column_groups: self
                    .act_order
                    .then(|| groups.of_columns(&feedback.order))
                    .flatten(),
            },
            damping: feedback.damping,
            dead: feedback.dead,
        })
    }
}
