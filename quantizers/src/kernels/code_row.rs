//! One row of packed codes, and what each of them stands for.

use super::table::{IntegerTable, Table};

/// One row.
#[derive(Debug, Clone, Copy)]
pub(super) struct CodeRow<'a> {
    /// Its codes, lowest bits first, and at least 48 bytes more.
    pub(super) bytes: &'a [u8],
    pub(super) bits: u8,
    pub(super) cols: usize,
    /// `[2^bits]`; none where a code is its own value.
    pub(super) table: Option<Table<'a>>,
    pub(super) group_size: usize,
    /// By group; empty where all are 1.
    pub(super) scales: &'a [f32],
    /// By group; empty where all are 0.
    pub(super) zeros: &'a [f32],
    /// Whole numbers that the codes stand for; none where a code is its own value.
    pub(super) integers: Option<&'a IntegerTable>,
}

impl CodeRow<'_> {
    /// The code of input `at`.
    pub(super) fn code(&self, at: usize) -> usize {
        let bits = usize::from(self.bits);
        let first = at * bits;
        let bytes = &self.bytes[first / 8..first / 8 + 2];
        let pair = u16::from_le_bytes([bytes[0], bytes[1]]) >> (first % 8);
        usize::from(pair) & ((1 << bits) - 1)
    }

    /// The value of input `at` before zero and scale.
    pub(super) fn value(&self, at: usize) -> f32 {
        let code = self.code(at);
        match self.table {
            Some(table) => table.value(code),
            #[expect(clippy::cast_precision_loss, reason = "a code has at most 8 bits")]
            None => code as f32,
        }
    }

    /// The whole number that input `at` is multiplied with.
    pub(super) fn integer(&self, at: usize) -> i32 {
        let code = self.code(at);
        #[expect(
            clippy::cast_possible_wrap,
            clippy::cast_possible_truncation,
            reason = "a code has at most 8 bits"
        )]
        self.integers
            .map_or(code as i32, |table| i32::from(table.value(code)))
    }

    /// Scale of `group`.
    pub(super) fn scale(&self, group: usize) -> f32 {
        self.scales.get(group).copied().unwrap_or(1.0)
    }

    /// Zero of `group`.
    fn zero(&self, group: usize) -> f32 {
        self.zeros.get(group).copied().unwrap_or(0.0)
    }

    /// What columns from `from` on, which are of the last group, add to a sum, and what the zeros of all take off. Offsets
    /// of tables are in the sum already.
    pub(super) fn rest(&self, from: usize, input: &[f32], group_sums: &[f32]) -> f32 {
        let least = self
            .integers
            .map_or(0.0, |table| table.scale * table.offset);
        let tail = (from..self.cols).map(|at| (self.value(at) - least) * input[at]);
        let last = (self.cols - 1) / self.group_size;
        self.scale(last) * tail.sum::<f32>() - self.zeros_part(group_sums)
    }

    /// What the zeros of all groups take off a sum.
    pub(super) fn zeros_part(&self, group_sums: &[f32]) -> f32 {
        if self.zeros.is_empty() {
            return 0.0;
        }
        // Kept apart, so that one need not wait for the other.
        let mut sums = [0.0; 8];
        let (scales, last_scales) = self.scales.as_chunks::<8>();
        let (zeros, last_zeros) = self.zeros.as_chunks::<8>();
        let (inputs, last_inputs) = group_sums.as_chunks::<8>();
        for ((scales, zeros), inputs) in scales.iter().zip(zeros).zip(inputs) {
            for (at, sum) in sums.iter_mut().enumerate() {
                *sum += scales[at] * zeros[at] * inputs[at];
            }
        }
        let last = last_scales.iter().zip(last_zeros).zip(last_inputs);
        let last: f32 = last
            .map(|((scale, zero), input)| scale * zero * input)
            .sum();
        sums.iter().sum::<f32>() + last
    }

    /// Makes weights, `[cols]`, of the values of codes.
    pub(super) fn scale_values(&self, values: &mut [f32]) {
        for (group, values) in values.chunks_mut(self.group_size).enumerate() {
            let (scale, zero) = (self.scale(group), self.zero(group));
            for value in values {
                *value = scale * (*value - zero);
            }
        }
    }
}
