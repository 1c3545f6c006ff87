//! A coarse problem whose optimum is a lower bound on the fine one.
//!
//! Pick some of the sorted points as knots and share the weight of every point between the two knots
//! around it so that weight and mean are kept. For any centroids `c`, the error of a point is
//! `x^2 - h(x)` with `h(x) = max_c (2 c x - c^2)` convex, so sharing cannot lower `sum w h`:
//! `coarse(c) - gap <= fine(c)`, where `gap = coarse second moment - fine second moment` does not depend
//! on `c`. `h` is linear except half-way between two centroids, so only the cells in which a break
//! lies are loose, and a cell without inner points never is.

use super::layered::Window;
use super::moments::{Compensated, Moments};

/// Knots and the moments of the weight shared among them; buffers are reused between rows.
#[derive(Debug, Default)]
pub(super) struct CoarseProblem {
    /// Indices of the points that are knots, ascending, from the first point to the last.
    pub(super) knots: Vec<usize>,
    /// Moments of the coarse problem, one point per knot.
    pub(super) moments: Moments,
    /// What to subtract from a coarse cost to bound the fine one.
    pub(super) gap: f64,
    measure: Vec<f64>,
}

/// Points per block when the density of a row is sampled.
const BLOCK: usize = 16;

impl CoarseProblem {
    /// Spreads about `cells` cells so that an optimal codebook would put equally many entries in each:
    /// evenly in the integral of the cube root of the weight density.
    pub(super) fn spread(&mut self, fine: &Moments, points: &[f64], cells: usize) {
        let last = points.len() - 1;
        let block = BLOCK.min(1 + last / (2 * cells)).max(1);
        self.measure.clear();
        self.measure.push(0.0);
        let mut total = 0.0;
        let mut at = 0;
        while at < last {
            let next = (at + block).min(last);
            let width = points[next] - points[at];
            total += (fine.weight(at, next) * width * width).cbrt();
            self.measure.push(total);
            at = next;
        }
        self.knots.clear();
        self.knots.push(0);
        let step = total / cells as f64;
        let mut target = step;
        for (index, pair) in self.measure.windows(2).enumerate() {
            let width = block.min(last - index * block);
            while target <= pair[1] && target < total {
                let share = (target - pair[0]) / (pair[1] - pair[0]);
                let knot = index * block + fraction_of(width, share);
                if self.knots.last() != Some(&knot) {
                    self.knots.push(knot);
                }
                target += step;
            }
        }
        if self.knots.last() != Some(&last) {
            self.knots.push(last);
        }
        self.share(fine, points);
    }

    /// Grades the coarse problem around `breaks`: a cell may grow until the slack it adds to the bound is
    /// `growth` times what moving a break there would cost. Ends of windows are knots.
    pub(super) fn grade(
        &mut self,
        fine: &Moments,
        points: &[f64],
        windows: &[Window],
        breaks: &[usize],
        growth: f64,
    ) {
        let last = points.len() - 1;
        self.knots.clear();
        self.knots.extend([0, last]);
        self.knots.extend(
            windows
                .iter()
                .flat_map(|window| [window.low - 1, window.high]),
        );
        for (q, window) in windows.iter().enumerate() {
            let centre = breaks[q].clamp(window.low, window.high);
            let edge = 0.5 * (points[centre - 1] + points[centre]);
            let right = windows.get(q + 1).map_or(window.high, |next| {
                let half = usize::midpoint(centre, breaks[q + 1].clamp(next.low, next.high));
                if next.low < half {
                    half
                } else {
                    window.high.min(half)
                }
            });
            let left = q.checked_sub(1).map_or(window.low - 1, |before| {
                let before = windows[before];
                let half = usize::midpoint(breaks[q - 1].clamp(before.low, before.high), centre);
                if before.high > half {
                    half
                } else {
                    (window.low - 1).max(half)
                }
            });
            if right > centre {
                self.grade_side(fine, points, (centre, right), edge, growth);
            }
            if left < centre {
                self.grade_side(fine, points, (centre - 1, left), edge, growth);
            }
            self.knots.extend([centre - 1, centre]);
        }
        self.knots.sort_unstable();
        self.knots.dedup();
        self.share(fine, points);
    }

    /// Knots from `start` to `end`, to the right of a break at value `edge` or to its left.
    fn grade_side(
        &mut self,
        fine: &Moments,
        points: &[f64],
        (start, end): (usize, usize),
        edge: f64,
        growth: f64,
    ) {
        let rightwards = end >= start;
        let after = |at: usize, step: usize| if rightwards { at + step } else { at - step };
        // Weight and first moment of the points from `from` to before `to`, in either direction.
        let between = |from: usize, to: usize| {
            let (a, b) = if rightwards {
                (from, to)
            } else {
                (to + 1, from + 1)
            };
            (
                fine.weight[b] - fine.weight[a],
                fine.first[b] - fine.first[a],
            )
        };
        let mut at = start;
        let mut stride = 1;
        self.knots.push(at);
        while at != end {
            let (weight, first) = between(start, at);
            let own = fine.weight[at + 1] - fine.weight[at];
            let rise = (first + own * points[at] - edge * (weight + own)).abs();
            let slack =
                |next: usize| (between(at, next).0 - own) * (points[next] - points[at]).abs();
            stride = reach(stride, at.abs_diff(end), |step| {
                slack(after(at, step)) <= growth * rise
            });
            at = after(at, stride);
            self.knots.push(at);
        }
    }

    /// Shares the weight of all points among the knots and sums the coarse moments.
    fn share(&mut self, fine: &Moments, points: &[f64]) {
        self.moments.resize(self.knots.len());
        let coarse = &mut self.moments;
        let mut sums = [Compensated::default(); 3];
        let mut push = |knot: usize, weight: f64, value: f64| {
            coarse.weight[knot + 1] = sums[0].add(weight);
            coarse.first[knot + 1] = sums[1].add(weight * value);
            coarse.second[knot + 1] = sums[2].add(weight * value * value);
        };
        let mut carried = 0.0;
        for (cell, pair) in self.knots.windows(2).enumerate() {
            let (start, end) = (pair[0], pair[1]);
            let (low, high) = (points[start], points[end]);
            let mass = fine.weight(start, end).max(0.0);
            let mut right = 0.0;
            if end > start + 1 {
                let lever = (fine.first[end] - fine.first[start]) - low * mass;
                // Rounding must not make a weight negative.
                right = (lever / (high - low)).clamp(0.0, mass);
            }
            push(cell, carried + (mass - right), low);
            carried = right;
        }
        let (cells, last) = (self.knots.len() - 1, points.len() - 1);
        push(cells, carried + fine.weight(last, last + 1), points[last]);
        self.gap = coarse.second[cells + 1] - fine.second[last + 1];
    }

    /// Moves breaks of the coarse problem to the fine points half-way between the coarse means.
    pub(super) fn refine_breaks(&self, points: &[f64], breaks: &mut [usize]) {
        let knots = self.knots.len();
        let mean = |start, end| self.moments.mean(start, end);
        let mut left = mean(0, breaks.first().copied().unwrap_or(knots)).unwrap_or(points[0]);
        let mut start = 0;
        for q in 0..breaks.len() {
            let end = breaks.get(q + 1).copied().unwrap_or(knots);
            let right = mean(breaks[q], end).unwrap_or(left);
            let cell = self.fine_window(Window {
                low: breaks[q],
                high: breaks[q],
            });
            let middle = 0.5 * (left + right);
            let inside = points[cell.low..cell.high].partition_point(|&x| x <= middle);
            start = (cell.low + inside).max(start);
            breaks[q] = start;
            left = right;
        }
    }

    /// The coarse positions whose cells contain the break positions of `fine`.
    pub(super) fn coarse_window(&self, fine: Window) -> Window {
        let position = |at: usize| self.knots.partition_point(|&knot| knot < at);
        Window {
            low: position(fine.low),
            high: position(fine.high),
        }
    }

    /// The break positions of coarse positions `low..=high`.
    pub(super) fn fine_window(&self, coarse: Window) -> Window {
        Window {
            low: self.knots[coarse.low - 1] + 1,
            high: self.knots[coarse.high],
        }
    }
}

/// `share` of `width`, rounded down, below `width`.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "share is in 0..=1"
)]
fn fraction_of(width: usize, share: f64) -> usize {
    ((share * width as f64) as usize).min(width - 1)
}

/// The largest step in `1..=limit` for which `fits` holds (1 whatever it says), starting from a guess.
fn reach(guess: usize, limit: usize, fits: impl Fn(usize) -> bool) -> usize {
    let mut low = 1;
    let mut high = guess.clamp(2, limit + 1);
    while high <= limit && fits(high) {
        low = high;
        high = (2 * high).max(2);
    }
    high = high.min(limit + 1);
    while high - low > 1 {
        let middle = usize::midpoint(low, high);
        if fits(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::super::layered::Layered;
    use super::super::moments::Runs;
    use super::super::sorted::{Row, SortedRow};
    use super::*;
    use proptest::prelude::*;

    fn optimum(moments: &Moments, points: usize, breaks: usize) -> f64 {
        let mut windows = vec![
            Window {
                low: 1,
                high: points - 1
            };
            breaks
        ];
        Layered::default().forward(moments, &mut windows, points, f64::INFINITY)
    }

    #[test]
    fn weight_is_shared_by_distance() {
        let mut row = SortedRow::default();
        row.load(Row::new(&[0.0, 1.0, 4.0]));
        let (mut fine, mut points) = (Moments::default(), Vec::new());
        fine.load(&row, 0.0, &mut points);
        let mut problem = CoarseProblem {
            knots: vec![0, 2],
            ..CoarseProblem::default()
        };
        problem.share(&fine, &points);
        // The point at 1 gives 3/4 to 0 and 1/4 to 4: second moments 5/4 * 16 = 20 against 17.
        assert_eq!(problem.moments.weight, [0.0, 1.75, 3.0]);
        assert!((problem.gap - 3.0).abs() < 1e-12);
        assert!((problem.moments.cost(0, 2) - problem.gap - fine.cost(0, 3)).abs() < 1e-12);
    }

    proptest! {
        #[test]
        fn the_coarse_optimum_is_a_lower_bound(
            values in prop::collection::vec((-1.0_f32..1.0, 0.01_f32..4.0), 20..120),
            cells in 2_usize..30,
            breaks in 1_usize..6,
        ) {
            let (values, weights): (Vec<f32>, Vec<f32>) = values.into_iter().unzip();
            let mut row = SortedRow::default();
            row.load(Row { values: &values, weights: Some(&weights), removed: None });
            let (mut fine, mut points) = (Moments::default(), Vec::new());
            fine.load(&row, 0.0, &mut points);
            let best = optimum(&fine, points.len(), breaks);
            let mut problem = CoarseProblem::default();
            problem.spread(&fine, &points, cells);
            prop_assert!(problem.knots.is_sorted_by(|a, b| a < b));
            let bound = optimum(&problem.moments, problem.knots.len(), breaks) - problem.gap;
            prop_assert!(bound <= best + 1e-12, "{} {}", bound, best);
            // Around any split the graded problem is still a bound.
            let windows = vec![Window { low: 1, high: points.len() - 1 }; breaks];
            let split: Vec<usize> = (1..=breaks).map(|q| q * points.len() / (breaks + 1)).collect();
            problem.grade(&fine, &points, &windows, &split, 0.5);
            let bound = optimum(&problem.moments, problem.knots.len(), breaks) - problem.gap;
            prop_assert!(bound <= best + 1e-12, "{} {}", bound, best);
        }
    }
}
