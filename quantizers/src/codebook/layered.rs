//! The layered dynamic program: best cost of splitting a prefix (or a suffix) into a given number of
//! runs, with every break confined to a window.
//!
//! Break `q` (`0 .. breaks`) is the position of the first point of run `q + 1`. Run costs satisfy the
//! quadrangle inequality, so the best previous break never moves left as a break moves right: each
//! layer is filled from its middle outwards, `O((rows + columns) log rows)` evaluations.

use super::moments::Runs;

/// Inclusive range of positions in which a break may lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    /// Leftmost position.
    pub(super) low: usize,
    /// Rightmost position.
    pub(super) high: usize,
}

impl Window {
    /// Number of positions.
    pub(super) fn len(self) -> usize {
        self.high - self.low + 1
    }

    /// Positions in both windows, which must overlap.
    pub(super) fn intersection(self, other: Self) -> Self {
        Self {
            low: self.low.max(other.low),
            high: self.high.min(other.high),
        }
    }
}

/// Tables of the program; buffers are reused between rows.
#[derive(Debug, Default)]
pub(super) struct Layered {
    /// Cost of the points before position `low_q + i` in `q + 1` runs, layer after layer.
    forward: Vec<f64>,
    /// Previous break chosen by `forward`.
    choice: Vec<usize>,
    /// Start of each layer in `forward` and `choice`.
    offsets: Vec<usize>,
    /// Cost of the points from a position of one window on, and the same for the window before.
    backward: Vec<f64>,
    further: Vec<f64>,
    scratch: Vec<usize>,
    /// Run costs evaluated since the solver was made.
    pub(super) evaluations: u64,
}

impl Layered {
    /// Fills the forward tables and returns the least cost of all `points` points. Windows must not be
    /// empty, and both of their ends must be ascending. Positions at the right end of a window that
    /// alone cost more than `limit` are dropped.
    pub(super) fn forward(
        &mut self,
        runs: &impl Runs,
        windows: &mut [Window],
        points: usize,
        limit: f64,
    ) -> f64 {
        self.offsets.clear();
        self.forward.clear();
        self.choice.clear();
        // Before the first break there is one way to have no runs: no points.
        let mut before = Window { low: 0, high: 0 };
        let mut layer = 0;
        self.backward.clear();
        self.backward.push(0.0);
        for window in windows.iter_mut() {
            let offset = self.forward.len();
            self.offsets.push(offset);
            self.forward.resize(offset + window.len(), 0.0);
            self.choice.resize(offset + window.len(), 0);
            let (done, rest) = self.forward.split_at_mut(offset);
            let done = if offset == 0 {
                &self.backward[..]
            } else {
                &done[layer..]
            };
            let evaluations = &mut self.evaluations;
            let low_end = window.low;
            fill_layer(
                rest,
                &mut self.choice[offset..],
                before,
                |row, low, high| {
                    let end = low_end + row;
                    let high = high.min(end);
                    *evaluations += (high - low + 1) as u64;
                    runs.best_start(&done[low - before.low..=high - before.low], low, end)
                },
            );
            let kept = rest.iter().rposition(|cost| *cost <= limit).unwrap_or(0) + 1;
            window.high = window.low + kept - 1;
            self.forward.truncate(offset + kept);
            self.choice.truncate(offset + kept);
            before = *window;
            layer = offset;
        }
        let done = if windows.is_empty() {
            &self.backward[..]
        } else {
            &self.forward[layer..]
        };
        self.evaluations += done.len() as u64;
        runs.best_start(done, before.low, points).0
    }

    /// The breaks of the optimum found by [`Self::forward`] with the same arguments.
    pub(super) fn breaks(
        &self,
        runs: &impl Runs,
        windows: &[Window],
        points: usize,
        breaks: &mut Vec<usize>,
    ) {
        breaks.clear();
        let (Some(&last), Some(&layer)) = (windows.last(), self.offsets.last()) else {
            return;
        };
        let mut at = runs.best_start(&self.forward[layer..], last.low, points).1;
        for (window, offset) in windows.iter().zip(&self.offsets).rev() {
            breaks.push(at);
            at = self.choice[offset + at - window.low];
        }
        breaks.reverse();
    }

    /// Goes back from the last window to the first, shrinking each to the positions through which a
    /// split of cost at most `limit` passes; [`Self::forward`] must have been called with the same
    /// arguments. Returns whether each window kept at least one.
    pub(super) fn prune(
        &mut self,
        runs: &impl Runs,
        windows: &mut [Window],
        points: usize,
        limit: f64,
    ) -> bool {
        let mut after = Window {
            low: points,
            high: points,
        };
        self.backward.clear();
        self.backward.push(0.0);
        for (window, &offset) in windows.iter_mut().zip(&self.offsets).rev() {
            let forward = &self.forward[offset..offset + window.len()];
            let least = self.backward.iter().copied().fold(f64::INFINITY, f64::min);
            let reach = window.high.min(after.high) - window.low;
            let Some(rows) = hull(&forward[..=reach], |_, before| before + least <= limit) else {
                return false;
            };
            let first = window.low + rows.low;
            self.further.resize(rows.len(), 0.0);
            self.scratch.resize(rows.len(), 0);
            let (backward, evaluations) = (&self.backward, &mut self.evaluations);
            fill_layer(
                &mut self.further,
                &mut self.scratch,
                after,
                |row, low, high| {
                    let low = low.max(first + row);
                    *evaluations += (high - low + 1) as u64;
                    runs.best_end(
                        first + row,
                        &backward[low - after.low..=high - after.low],
                        low,
                    )
                },
            );
            let through = |row: usize, before: f64| before + self.further[row] <= limit;
            let Some(kept) = hull(&forward[rows.low..=rows.high], through) else {
                return false;
            };
            *window = Window {
                low: first + kept.low,
                high: first + kept.high,
            };
            after = *window;
            self.backward.clear();
            self.backward
                .extend_from_slice(&self.further[kept.low..=kept.high]);
        }
        true
    }
}

/// From the first to the last index whose value is kept.
fn hull(values: &[f64], keep: impl Fn(usize, f64) -> bool) -> Option<Window> {
    let kept = |&at: &usize| keep(at, values[at]);
    let low = (0..values.len()).find(kept)?;
    let high = (low..values.len()).rfind(kept)?;
    Some(Window { low, high })
}

/// Fills `out[row]` with the minimum that `scan(row, low, high)` finds over columns `low..=high`, given
/// that its argument never decreases with `row`. `scan` narrows the range to what the row allows.
fn fill_layer(
    out: &mut [f64],
    choice: &mut [usize],
    columns: Window,
    mut scan: impl FnMut(usize, usize, usize) -> (f64, usize),
) {
    let rows = out.len();
    let mut stride = rows.next_power_of_two();
    while stride > 0 {
        let mut row = stride - 1;
        while row < rows {
            let low = if row >= stride {
                choice[row - stride]
            } else {
                columns.low
            };
            let high = if row + stride < rows {
                choice[row + stride]
            } else {
                columns.high
            };
            (out[row], choice[row]) = scan(row, low, high);
            row += 2 * stride;
        }
        stride /= 2;
    }
}
