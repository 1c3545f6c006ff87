//! The exact solver: bound, prune, and finish with the dynamic program on what is left.
//!
//! 1. [`CoarseProblem::spread`] gives a coarse problem; its layered program, forwards and backwards, bounds from
//!    below the cost of every split by where its breaks lie.
//! 2. The coarse optimum, brought down by Lloyd's iteration on the fine points, bounds the optimum from
//!    above. Break positions whose lower bound exceeds it are out.
//! 3. [`CoarseProblem::grade`] refines around the best split known, where the bound becomes nearly tight, and
//!    step 2 repeats; a few positions per break are left.
//! 4. The fine program runs on those. Nothing here is heuristic but the speed: every limit carries the
//!    rounding errors it can suffer, and a row they would spoil is finished in double-double.

use super::coarse_problem::CoarseProblem;
use super::descent::descend;
use super::layered::{Layered, Window};
use super::moments::Moments;
use super::rounding::round_table;
use super::sorted::{Row, SortedRow};
use super::wide::WideMoments;
use half::f16;

/// Coarse cells per entry of the codebook in the first coarse problem.
const CELLS_PER_ENTRY: usize = 6;
/// How fast cells grow away from the best known break.
const GROWTH: f64 = 0.15;
/// Refining stops when so few positions per break are left, when a coarse problem removes less than a quarter of
/// them, or after [`LEVELS`] coarse problems.
const NARROW: usize = 12;
/// Coarse problems per row at most.
const LEVELS: usize = 6;
/// Rows with fewer points per entry than this are solved without coarse problems.
const POINTS_PER_ENTRY: usize = 4;
/// Share of the optimum that rounding may cost before a row is redone in double-double.
const PRECISION: f64 = 1e-9;

/// The optimal clustering of one row.
#[derive(Debug, Clone, Copy)]
pub struct Solution<'a> {
    /// Means of the clusters, ascending; fewer than asked for when the row has fewer distinct values
    /// of positive weight.
    pub centroids: &'a [f64],
    /// Total weighted squared error.
    pub cost: f64,
}

/// Solves rows one after the other; buffers are kept between rows.
#[derive(Debug, Default)]
pub struct Solver {
    row: SortedRow,
    moments: Moments,
    wide: WideMoments,
    points: Vec<f64>,
    shift: f64,
    problem: CoarseProblem,
    layered: Layered,
    windows: Vec<Window>,
    coarse: Vec<Window>,
    breaks: Vec<usize>,
    trial: Vec<usize>,
    centroids: Vec<f64>,
}

impl Solver {
    /// Run costs evaluated since the solver was made.
    pub fn evaluations(&self) -> u64 {
        self.layered.evaluations
    }

    /// Clusters `row` into at most `entries` clusters with the least weighted squared error.
    ///
    /// Points of zero weight do not count; where all weights are zero, all count as one. Values and
    /// weights must be finite.
    ///
    /// # Panics
    /// When `entries` is 0, or slices of `row` differ in length.
    pub fn solve(&mut self, row: Row<'_>, entries: usize) -> Solution<'_> {
        assert!(entries > 0, "a codebook has at least one entry");
        self.row.load(row);
        let count = self.row.values.len();
        self.shift = self
            .row
            .values
            .get(count / 2)
            .map_or(0.0, |&value| f64::from(value));
        self.moments.load(&self.row, self.shift, &mut self.points);
        self.centroids.clear();
        if count <= entries {
            self.centroids
                .extend(self.row.values.iter().map(|&value| f64::from(value)));
            return Solution {
                centroids: &self.centroids,
                cost: 0.0,
            };
        }
        self.windows.clear();
        let reach = count - entries;
        self.windows.extend((1..entries).map(|q| Window {
            low: q,
            high: q + reach,
        }));
        if count >= POINTS_PER_ENTRY * entries {
            self.narrow();
        }
        let mut cost = self
            .layered
            .forward(&self.moments, &mut self.windows, count, f64::INFINITY);
        self.layered
            .breaks(&self.moments, &self.windows, count, &mut self.breaks);
        if self.final_noise() > PRECISION * cost {
            self.wide.load(&self.row);
            cost = self
                .layered
                .forward(&self.wide, &mut self.windows, count, f64::INFINITY);
            self.layered
                .breaks(&self.wide, &self.windows, count, &mut self.breaks);
            let wide = &self.wide;
            self.centroids
                .extend(runs(&self.breaks, count).filter_map(|(a, b)| wide.mean(a, b)));
        } else {
            let (moments, shift) = (&self.moments, self.shift);
            let means = runs(&self.breaks, count).filter_map(|(a, b)| moments.mean(a, b));
            self.centroids.extend(means.map(|mean| mean + shift));
        }
        Solution {
            centroids: &self.centroids,
            cost,
        }
    }

    /// The f16 codebook of `row`: [`Self::solve`], rounded so that the error the rounding adds is made
    /// up for where another f16 does better. Ascending; entries the row cannot use repeat the last.
    ///
    /// # Panics
    /// As [`Self::solve`].
    pub fn table(&mut self, row: Row<'_>, table: &mut [f16]) {
        self.solve(row, table.len());
        round_table(
            &self.centroids,
            &self.moments,
            &self.points,
            self.shift,
            table,
        );
    }

    /// Narrows the windows until few positions are left.
    fn narrow(&mut self) {
        let breaks = self.windows.len();
        self.problem
            .spread(&self.moments, &self.points, CELLS_PER_ENTRY * (breaks + 1));
        // Equal shares of the coarse problem are a fair first split.
        let cells = self.problem.knots.len() - 1;
        self.breaks.clear();
        self.breaks
            .extend((1..=breaks).map(|q| self.problem.knots[q * cells / (breaks + 1)]));
        let mut best = descend(&self.moments, &self.points, &mut self.breaks);
        self.layered.evaluations += breaks as u64 + 1;
        for level in 0..LEVELS {
            if level > 0 {
                self.problem.grade(
                    &self.moments,
                    &self.points,
                    &self.windows,
                    &self.breaks,
                    GROWTH,
                );
            }
            let before = positions(&self.windows);
            let (problem, knots) = (&self.problem, self.problem.knots.len());
            let slack = problem.gap + self.bound_noise(knots);
            self.coarse.clear();
            self.coarse.extend(
                self.windows
                    .iter()
                    .map(|window| problem.coarse_window(*window)),
            );
            self.layered
                .forward(&problem.moments, &mut self.coarse, knots, best + slack);
            self.layered
                .breaks(&problem.moments, &self.coarse, knots, &mut self.trial);
            problem.refine_breaks(&self.points, &mut self.trial);
            let trial = descend(&self.moments, &self.points, &mut self.trial);
            self.layered.evaluations += breaks as u64 + 1;
            if trial < best {
                best = trial;
                std::mem::swap(&mut self.trial, &mut self.breaks);
            }
            if !self
                .layered
                .prune(&problem.moments, &mut self.coarse, knots, best + slack)
            {
                return;
            }
            for (window, coarse) in self.windows.iter_mut().zip(&self.coarse) {
                *window = window.intersection(problem.fine_window(*coarse));
            }
            let after = positions(&self.windows);
            if after <= NARROW * breaks || (level > 0 && 4 * after > 3 * before) {
                return;
            }
        }
    }

    /// What rounding can add to `coarse cost - gap - fine cost`: a stored prefix is off by at most the
    /// roundings of a block, a run cost by a few prefixes, the shares of a cell by a few more.
    fn bound_noise(&self, knots: usize) -> f64 {
        let reach = self.points.iter().rev().take(1).chain(self.points.first());
        let reach = reach.fold(0.0_f64, |reach, x| reach.max(x.abs()));
        let total = self.moments.weight(0, self.points.len());
        let sums = 16 * knots + 64 * (self.windows.len() + 1);
        sums as f64 * f64::EPSILON * reach * reach * total
    }

    /// What rounding can add to the cost of the split at `breaks`: for a run of mean `m`,
    /// `epsilon (m^2 sum w + 2 |m| sum w |x| + sum w x^2)`, with the middle sum bounded by Cauchy.
    fn final_noise(&self) -> f64 {
        let count = self.points.len();
        let total = self.moments.weight(0, count);
        let spread = (self.moments.second[count] / total).sqrt();
        let means = runs(&self.breaks, count).filter_map(|(a, b)| self.moments.mean(a, b));
        let squares: f64 = means.map(|mean| (mean.abs() + spread).powi(2)).sum();
        f64::EPSILON * total * squares
    }
}

/// The runs `start..end` between breaks.
fn runs(breaks: &[usize], count: usize) -> impl Iterator<Item = (usize, usize)> {
    let starts = [0].into_iter().chain(breaks.iter().copied());
    starts.zip(breaks.iter().copied().chain([count]))
}

fn positions(windows: &[Window]) -> usize {
    windows.iter().map(|window| window.len()).sum()
}
