//! Which columns share a grid, and the grids of a strip of rows.

use super::columns::Rounding;
use super::feedback::Feedback;
use crate::grid::{Grid, Point};
use crate::linalg::factor::invert_upper;
use crate::linalg::product::{Strided, multiply};
use crate::methods::clipping::{self, Clip};
use crate::{Granularity, MatrixRef};

/// Who shares a grid, and what it is fitted to.
pub(super) enum Groups {
    /// Fitted to the original weights, before any column is rounded: the columns of a group are
    /// neighbours in the matrix, wherever the order puts them.
    Original {
        /// Group of each position.
        of: Vec<usize>,
        /// Columns of a group.
        size: usize,
        /// Groups of a row.
        count: usize,
        /// One grid for the whole matrix.
        whole: Option<Point>,
        /// What the ends of the grids are chosen by.
        clip: Clip,
        /// Mean squares of the inputs up to a factor, `[cols]`.
        inputs: Vec<f32>,
    },
    /// Fitted to the weights as the errors before the group have moved them: the columns of a group
    /// are neighbours in the order.
    Current {
        /// Columns of a group.
        size: usize,
        /// Groups of a row.
        count: usize,
        /// Inverses of the corners of `M` that belong to the groups, `[size, size]` each.
        inverses: Vec<Vec<f32>>,
    },
}

/// A uniform grid for each group.
pub(super) struct UniformRounding<'a> {
    pub(super) grid: Grid,
    pub(super) groups: &'a Groups,
}

impl Rounding for UniformRounding<'_> {
    type Code = i8;
    type Strip = StripPoints;

    fn unit(&self, block: usize) -> usize {
        self.groups.unit(block)
    }

    fn start(&self, weight: MatrixRef<'_>, first: usize, rows: usize) -> StripPoints {
        self.groups.start(self.grid, weight, first, rows)
    }

    fn fit(&self, strip: &mut StripPoints, start: usize, weights: &[f32], moved: &[f32]) {
        strip.fit(self.groups, self.grid, start, weights, moved);
    }

    fn round(
        &self,
        strip: &mut StripPoints,
        position: usize,
        targets: &[f32],
        codes: &mut [i8],
        values: &mut [f32],
    ) {
        let (scales, zero_points) = strip.of(self.groups.of(position));
        self.grid.codes_each(targets, scales, zero_points, codes);
        let codes = codes.iter().zip(scales);
        match zero_points {
            None => {
                for (value, (code, scale)) in values.iter_mut().zip(codes) {
                    *value = scale * f32::from(*code);
                }
            }
            Some(zero_points) => {
                for ((value, (code, scale)), zero) in values.iter_mut().zip(codes).zip(zero_points)
                {
                    *value = scale * (f32::from(*code) - zero);
                }
            }
        }
    }
}

impl Groups {
    /// Grids of the original weights.
    pub(super) fn original(
        grid: Grid,
        weight: MatrixRef<'_>,
        granularity: Granularity,
        feedback: &Feedback,
        (clip, hessian): (Clip, MatrixRef<'_>),
    ) -> Self {
        let cols = weight.cols();
        let inputs: Vec<f32> = (0..cols).map(|col| hessian.row(col)[col]).collect();
        let size = match granularity {
            Granularity::Group(size) => size,
            Granularity::Tensor | Granularity::Channel => cols,
        };
        Self::Original {
            of: feedback.order.iter().map(|col| col / size).collect(),
            size,
            count: granularity.groups_per_row(cols),
            whole: (granularity == Granularity::Tensor)
                .then(|| fitted(grid, weight.data(), clip, (&inputs, 0))),
            clip,
            inputs,
        }
    }

    /// Grids of the weights as they have become, for groups of `size`.
    pub(super) fn current(size: usize, feedback: &Feedback) -> Self {
        let cols = feedback.order.len();
        let inverses = (0..cols).step_by(size).map(|start| {
            let end = (start + size).min(cols);
            let corner: Vec<f32> = (start..end)
                .flat_map(|row| &feedback.factor[row * cols + start..row * cols + end])
                .copied()
                .collect();
            invert_upper(&corner, end - start)
        });
        Self::Current {
            size,
            count: cols.div_ceil(size),
            inverses: inverses.collect(),
        }
    }

    /// Groups of a row.
    pub(super) fn count(&self) -> usize {
        match self {
            Self::Original { count, .. } | Self::Current { count, .. } => *count,
        }
    }

    /// Group of the column at `position`.
    pub(super) fn of(&self, position: usize) -> usize {
        match self {
            Self::Original { of, .. } => of[position],
            Self::Current { size, .. } => position / size,
        }
    }

    /// Group of every column, where the columns of a group are neighbours in `order` only.
    pub(super) fn of_columns(&self, order: &[usize]) -> Option<Vec<u32>> {
        let Self::Current { size, .. } = self else {
            return None;
        };
        let mut of_columns = vec![0; order.len()];
        for (group, columns) in (0..).zip(order.chunks(*size)) {
            for &col in columns {
                of_columns[col] = group;
            }
        }
        Some(of_columns)
    }

    /// Columns whose feedback has to be known together: those of a group that is still to be
    /// fitted, any `block` otherwise.
    pub(super) fn unit(&self, block: usize) -> usize {
        match self {
            Self::Original { .. } => block,
            Self::Current { size, .. } => *size,
        }
    }

    /// The grids of rows `first .. first + rows` that are known from the start.
    pub(super) fn start(
        &self,
        grid: Grid,
        weight: MatrixRef<'_>,
        first: usize,
        rows: usize,
    ) -> StripPoints {
        let count = self.count();
        let mut points = StripPoints {
            rows,
            scales: vec![0.0; count * rows],
            zero_points: (!grid.symmetric).then(|| vec![0.0; count * rows]),
        };
        if let Self::Original {
            size,
            whole,
            clip,
            inputs,
            ..
        } = self
        {
            for row in 0..rows {
                for (group, weights) in weight.row(first + row).chunks(*size).enumerate() {
                    let inputs = (inputs.as_slice(), group * size);
                    let point = whole.unwrap_or_else(|| fitted(grid, weights, *clip, inputs));
                    points.set(group, row, point);
                }
            }
        }
        points
    }
}

/// The grid of a group of original weights.
fn fitted(grid: Grid, weights: &[f32], clip: Clip, inputs: (&[f32], usize)) -> Point {
    match clip {
        Clip::Nothing => grid.fit_values(weights),
        Clip::Mse => clipping::fit(grid, weights, None),
        Clip::InputMse => clipping::fit(grid, weights, Some(inputs)),
    }
}

/// The grids of a strip of rows, `[groups, rows]`.
pub(super) struct StripPoints {
    rows: usize,
    scales: Vec<f32>,
    zero_points: Option<Vec<f32>>,
}

impl StripPoints {
    /// Scales and zero points of a group, one per row.
    pub(super) fn of(&self, group: usize) -> (&[f32], Option<&[f32]>) {
        let rows = group * self.rows..(group + 1) * self.rows;
        let zero_points = self.zero_points.as_ref().map(|all| &all[rows.clone()]);
        (&self.scales[rows], zero_points)
    }

    /// Fits the group that starts at position `start`, where its grids are still to be found, to
    /// `weights` `[columns, rows]` as `moved`, their feedback so far, changes them.
    ///
    /// Feedback is the change of a column once the columns before it are rounded. While the group is
    /// still untouched all of them move together, by `moved` times the inverse of the group's corner
    /// of `M`: the least squares answer to the errors so far.
    pub(super) fn fit(
        &mut self,
        groups: &Groups,
        grid: Grid,
        start: usize,
        weights: &[f32],
        moved: &[f32],
    ) {
        let Groups::Current { size, inverses, .. } = groups else {
            return;
        };
        let (group, rows) = (start / size, self.rows);
        let mut current = weights.to_vec();
        if start > 0 {
            let width = weights.len() / rows;
            let inverse = Strided::row_major(&inverses[group], width).transposed();
            multiply(
                inverse,
                Strided::row_major(moved, rows),
                &mut current,
                rows,
                true,
            );
        }
        let mut ends = vec![(0.0_f32, 0.0_f32); rows];
        for column in current.chunks(rows) {
            for ((low, high), value) in ends.iter_mut().zip(column) {
                (*low, *high) = (low.min(*value), high.max(*value));
            }
        }
        for (row, (low, high)) in ends.into_iter().enumerate() {
            self.set(group, row, grid.fit(low, high));
        }
    }

    /// Writes the grids as `[rows, groups]`.
    pub(super) fn store(&self, scales: &mut [f32], zero_points: &mut [i8]) {
        let groups = self.scales.len() / self.rows;
        for (at, scale) in self.scales.iter().enumerate() {
            scales[at % self.rows * groups + at / self.rows] = *scale;
        }
        for (at, zero) in self.zero_points.iter().flatten().enumerate() {
            #[expect(clippy::cast_possible_truncation, reason = "made from an i8")]
            let zero = *zero as i8;
            zero_points[at % self.rows * groups + at / self.rows] = zero;
        }
    }

    fn set(&mut self, group: usize, row: usize, point: Point) {
        let at = group * self.rows + row;
        self.scales[at] = point.scale;
        if let Some(zero_points) = &mut self.zero_points {
            zero_points[at] = f32::from(point.zero_point);
        }
    }
}
