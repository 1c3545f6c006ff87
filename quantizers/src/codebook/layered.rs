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
    /// Cost of the points from position `low_q + i` on in `breaks - q` runs.
    backward: Vec<f64>,
    /// Previous break chosen by `forward`.
    choice: Vec<usize>,
    /// Start of each layer in the tables.
    offsets: Vec<usize>,
    /// Run costs evaluated since the solver was made.
    pub(super) evaluations: u64,
}

impl Layered {
    /// Fills the forward tables and returns the least cost of all `points` points. Windows must not be
    /// empty, and both of their ends must be ascending.
    pub(super) fn forward(&mut self, runs: &impl Runs, windows: &[Window], points: usize) -> f64 {
        self.offsets.clear();
        self.offsets.push(0);
        let mut total = 0;
        self.offsets.extend(windows.iter().map(|window| {
            total += window.len();
            total
        }));
        self.forward.resize(total, 0.0);
        self.choice.resize(total, 0);
        let Some((&last, _)) = windows.split_last() else {
            self.evaluations += 1;
            return runs.cost(0, points);
        };
        for (slot, end) in self
            .forward
            .iter_mut()
            .zip(windows[0].low..=windows[0].high)
        {
            *slot = runs.cost(0, end);
        }
        self.evaluations += windows[0].len() as u64;
        for (q, pair) in windows.windows(2).enumerate() {
            let (before, after) = (pair[0], pair[1]);
            let split = self.offsets[q + 1];
            let (done, rest) = self.forward.split_at_mut(split);
            let done = &done[self.offsets[q]..];
            let choice = &mut self.choice[split..self.offsets[q + 2]];
            let evaluations = &mut self.evaluations;
            fill_layer(
                &mut rest[..after.len()],
                choice,
                before,
                |row, low, high| {
                    let end = after.low + row;
                    let high = high.min(end);
                    *evaluations += (high - low + 1) as u64;
                    runs.best_start(&done[low - before.low..=high - before.low], low, end)
                },
            );
        }
        self.evaluations += last.len() as u64;
        let layer = &self.forward[self.offsets[windows.len() - 1]..];
        runs.best_start(layer, last.low, points).0
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
        let Some(&last) = windows.last() else { return };
        let layer = &self.forward[self.offsets[windows.len() - 1]..];
        let mut at = runs.best_start(layer, last.low, points).1;
        for q in (0..windows.len()).rev() {
            breaks.push(at);
            at = self.choice[self.offsets[q] + at - windows[q].low];
        }
        breaks.reverse();
    }

    /// Fills the backward tables; [`Self::forward`] must have been called with the same arguments.
    pub(super) fn backward(&mut self, runs: &impl Runs, windows: &[Window], points: usize) {
        self.backward.resize(self.forward.len(), 0.0);
        let Some((&last, _)) = windows.split_last() else {
            return;
        };
        let start = self.offsets[windows.len() - 1];
        for (slot, start) in self.backward[start..].iter_mut().zip(last.low..=last.high) {
            *slot = runs.cost(start, points);
        }
        self.evaluations += last.len() as u64;
        for (q, pair) in windows.windows(2).enumerate().rev() {
            let (before, after) = (pair[0], pair[1]);
            let split = self.offsets[q + 1];
            let (rest, done) = self.backward.split_at_mut(split);
            let done = &done[..after.len()];
            // The forward choices of this layer are no longer needed once the breaks are read.
            let choice = &mut self.choice[self.offsets[q]..split];
            let evaluations = &mut self.evaluations;
            fill_layer(
                &mut rest[self.offsets[q]..],
                choice,
                after,
                |row, low, high| {
                    let start = before.low + row;
                    let low = low.max(start);
                    *evaluations += (high - low + 1) as u64;
                    runs.best_end(start, &done[low - after.low..=high - after.low], low)
                },
            );
        }
    }

    /// Shrinks every window to the positions through which a split of cost at most `limit` passes.
    /// Returns whether each window kept at least one.
    pub(super) fn prune(&self, windows: &mut [Window], limit: f64) -> bool {
        for (window, &offset) in windows.iter_mut().zip(&self.offsets) {
            let layer = offset..offset + window.len();
            let through = self.forward[layer.clone()]
                .iter()
                .zip(&self.backward[layer]);
            let mut kept = through.map(|(f, b)| f + b <= limit);
            let Some(first) = kept.clone().position(|keep| keep) else {
                return false;
            };
            let last = kept.rposition(|keep| keep).unwrap_or(first);
            *window = Window {
                low: window.low + first,
                high: window.low + last,
            };
        }
        true
    }
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
