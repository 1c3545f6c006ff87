//! Weighted moments of runs of sorted points, from prefix sums.

use super::sorted::SortedRow;

/// Cost of clustering a run of consecutive points, `start..end`, around its mean.
pub(super) trait Runs {
    /// Weighted squared deviation of points `start..end` from their mean; 0 for an empty run.
    fn cost(&self, start: usize, end: usize) -> f64;

    /// `min over j of before[j - first] + cost(j, end)` for `j` in `first .. first + before.len()`:
    /// the value and the smallest such `j`.
    fn best_start(&self, before: &[f64], first: usize, end: usize) -> (f64, usize) {
        let mut best = (f64::INFINITY, first);
        for (j, before) in (first..).zip(before) {
            let value = before + self.cost(j, end);
            if value < best.0 {
                best = (value, j);
            }
        }
        best
    }

    /// `min over j of cost(start, j) + after[j - first]`: the value and the smallest such `j`.
    fn best_end(&self, start: usize, after: &[f64], first: usize) -> (f64, usize) {
        let mut best = (f64::INFINITY, first);
        for (j, after) in (first..).zip(after) {
            let value = after + self.cost(start, j);
            if value < best.0 {
                best = (value, j);
            }
        }
        best
    }
}

/// Prefix sums of `w`, `w x` and `w x^2` over sorted points; entry `i` covers the points before `i`.
#[derive(Debug, Default)]
pub(super) struct Moments {
    /// Sum of weights, `[points + 1]`.
    pub(super) weight: Vec<f64>,
    /// Sum of weight times value.
    pub(super) first: Vec<f64>,
    /// Sum of weight times squared value.
    pub(super) second: Vec<f64>,
}

/// Terms summed plainly before their sum is added with compensation.
const BLOCK: usize = 16;

/// Running sum that keeps what rounding would drop: a stored prefix is off by the roundings of one
/// block, however many blocks it has.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Compensated {
    sum: f64,
    lost: f64,
}

impl Compensated {
    /// Adds `term` (Knuth's branch-free two-sum) and returns the sum so far.
    pub(super) fn add(&mut self, term: f64) -> f64 {
        let sum = self.sum + term;
        let shadow = sum - self.sum;
        self.lost += (self.sum - (sum - shadow)) + (term - shadow);
        self.sum = sum;
        sum + self.lost
    }
}

impl Moments {
    /// Prefix sums of `row`, whose values are taken relative to `shift`.
    /// Fills `points` with the shifted values.
    pub(super) fn load(&mut self, row: &SortedRow, shift: f64, points: &mut Vec<f64>) {
        let count = row.values.len();
        points.clear();
        points.extend(row.values.iter().map(|&value| f64::from(value) - shift));
        self.resize(count);
        let mut sums = [Compensated::default(); 3];
        let mut base = [0.0; 3];
        for start in (0..count).step_by(BLOCK) {
            let end = (start + BLOCK).min(count);
            let terms = points[start..end].iter().zip(&row.weights[start..end]);
            let stored = self.weight[start + 1..=end].iter_mut();
            let stored = stored.zip(&mut self.first[start + 1..=end]);
            let stored = stored.zip(&mut self.second[start + 1..=end]);
            let mut block = [0.0; 3];
            for (((weight, first), second), (&x, &w)) in stored.zip(terms) {
                block = [block[0] + w, block[1] + w * x, block[2] + w * x * x];
                *weight = base[0] + block[0];
                *first = base[1] + block[1];
                *second = base[2] + block[2];
            }
            for ((base, sum), block) in base.iter_mut().zip(&mut sums).zip(block) {
                *base = sum.add(block);
            }
        }
    }

    /// Makes room for the prefixes of `points` points; entry 0 is zero.
    pub(super) fn resize(&mut self, points: usize) {
        for sums in [&mut self.weight, &mut self.first, &mut self.second] {
            sums.resize(points + 1, 0.0);
            sums[0] = 0.0;
        }
    }

    /// Weight of the run.
    pub(super) fn weight(&self, start: usize, end: usize) -> f64 {
        self.weight[end] - self.weight[start]
    }

    /// Mean of the run, `None` where its weight is lost in rounding.
    pub(super) fn mean(&self, start: usize, end: usize) -> Option<f64> {
        let weight = self.weight(start, end);
        (weight > 0.0).then(|| (self.first[end] - self.first[start]) / weight)
    }
}

/// `second - first^2 / weight`, at least 0; 0 / 0 (an empty run) also gives 0.
#[inline]
fn deviation(weight: f64, first: f64, second: f64) -> f64 {
    (second - first * first / weight).max(0.0)
}

impl Runs for Moments {
    #[inline]
    fn cost(&self, start: usize, end: usize) -> f64 {
        deviation(
            self.weight[end] - self.weight[start],
            self.first[end] - self.first[start],
            self.second[end] - self.second[start],
        )
    }

    #[inline]
    fn best_start(&self, before: &[f64], first: usize, end: usize) -> (f64, usize) {
        let last = first + before.len();
        let (w, s, q) = (self.weight[end], self.first[end], self.second[end]);
        let columns = self.weight[first..last]
            .iter()
            .zip(&self.first[first..last]);
        let columns = columns.zip(&self.second[first..last]).zip(before);
        let mut best = (f64::INFINITY, 0);
        for (j, (((wj, sj), qj), before)) in columns.enumerate() {
            let value = before + deviation(w - wj, s - sj, q - qj);
            if value < best.0 {
                best = (value, j);
            }
        }
        (best.0, first + best.1)
    }

    #[inline]
    fn best_end(&self, start: usize, after: &[f64], first: usize) -> (f64, usize) {
        let last = first + after.len();
        let (w, s, q) = (self.weight[start], self.first[start], self.second[start]);
        let columns = self.weight[first..last]
            .iter()
            .zip(&self.first[first..last]);
        let columns = columns.zip(&self.second[first..last]).zip(after);
        let mut best = (f64::INFINITY, 0);
        for (j, (((wj, sj), qj), after)) in columns.enumerate() {
            let value = after + deviation(wj - w, sj - s, qj - q);
            if value < best.0 {
                best = (value, j);
            }
        }
        (best.0, first + best.1)
    }
}
