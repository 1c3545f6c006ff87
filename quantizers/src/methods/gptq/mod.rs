//! GPTQ: round column by column, and let what is not rounded yet make up for the error.
//!
//! The error of a layer's output over the calibration tokens is `tr(D H D^T)`, `D` the error of the
//! weights and `H = X^T X`. Once some columns are rounded, the others have a best value that is not
//! the original one ([`feedback`]); each column in turn is rounded from there.
//!
//! * Damping: `damping` times the mean of the diagonal (of the inputs that are ever non-zero) is
//!   added to it, and more where the factorisation needs more.
//! * Inputs that are zero in all calibration data ("dead") have no Hessian to be rounded by; their
//!   weights are rounded to nearest, not set to zero, because other data may use them.
//! * Group grids are fitted to the weights as they are when their group begins, or with
//!   `static_groups` to the original weights.
//! * `act_order`: columns by descending diagonal. Groups of the current weights are then groups of
//!   that order and every column stores its group; groups of the original weights stay neighbours.
//!
//! Frantar et al. 2022, arXiv 2210.17323.

mod columns;
mod feedback;
mod groups;

pub use feedback::Feedback;

use crate::grid::Grid;
use crate::methods::{QuantizeError, require_finite};
use crate::{Granularity, MatrixRef, Stat, Uniform};
use columns::Columns;
use groups::Groups;

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
    /// A Hessian of another shape or with impossible values, a weight that is not finite.
    ///
    /// # Panics
    /// When `block_size` or a group size is 0.
    pub fn quantize(
        &self,
        grid: Grid,
        granularity: Granularity,
        weight: MatrixRef<'_>,
        hessian: MatrixRef<'_>,
    ) -> Result<Compensated, QuantizeError> {
        require_finite(weight)?;
        let cols = weight.cols();
        if (hessian.rows(), hessian.cols()) != (cols, cols) {
            return Err(QuantizeError::StatShape {
                stat: Stat::Hessian.name(),
                expected: (cols, cols),
                found: (hessian.rows(), hessian.cols()),
            });
        }
        let feedback = Feedback::new(hessian, self.damping, self.act_order)?;
        let groups = match granularity {
            Granularity::Group(size) if !self.static_groups => Groups::current(size, &feedback),
            _ => Groups::original(grid, weight, granularity, &feedback),
        };
        let mut rounded = Columns::new(grid, &feedback, &groups, self.block_size).round(weight);
        let points = granularity.scale_count(weight.rows(), cols);
        rounded.scales.truncate(points);
        rounded.zero_points.truncate(points);
        Ok(Compensated {
            uniform: Uniform {
                bits: grid.bits,
                granularity,
                codes: rounded.codes,
                scales: rounded.scales,
                scale_type: grid.scale_type,
                zero_points: (!grid.symmetric).then_some(rounded.zero_points),
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
