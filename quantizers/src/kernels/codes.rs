//! Packed codes with what they mean, and one row of them as kernels see it.

use super::inputs::ROUNDED_TOGETHER;
use crate::pack;
use crate::tensor::{Codebook, Granularity, Uniform};
use std::ops::Range;

/// Bytes that may be read behind the last row.
const SLACK_WORDS: usize = 4;
/// The largest value of a table as whole numbers: four products with inputs of 16 bits fit a sum of 32.
const MOST_INTEGER: f32 = 16383.0;
/// Bits of codes whose tables have a form in whole numbers: those of narrower ones are looked up as f32 in the same time,
/// and wider ones do not fit a register.
const TABLE_BITS: u8 = 4;

/// A matrix of codes: `w = scale of the group · (value of the code - zero of the group)`.
#[derive(Debug, Clone)]
pub(super) struct PackedCodes {
    pub(super) bits: u8,
    cols: usize,
    /// `[rows, words of a row]` and [`SLACK_WORDS`].
    words: Vec<u32>,
    words_per_row: usize,
    values: CodeValues,
    /// Consecutive inputs that share a scale.
    pub(super) group_size: usize,
    groups_per_row: usize,
    /// `[rows, groups]`; empty where all are 1.
    scales: Vec<f32>,
    /// `[rows, groups]`; empty where all are 0.
    zeros: Vec<f32>,
    /// Where the codes are multiplied as whole numbers.
    integers: Option<Integers>,
}

/// What codes mean as whole numbers.
#[derive(Debug, Clone)]
struct Integers {
    /// As the tables of [`CodeValues`]; empty where a code is its own value.
    tables: Vec<i16>,
    /// By table: `value = scale · integer`.
    scales: Vec<f32>,
}

/// What a code means before zero and scale.
#[derive(Debug, Clone)]
enum CodeValues {
    /// Tables of `2^bits` values, `rows_per_table` consecutive rows to each.
    Tables {
        tables: Vec<f32>,
        rows_per_table: usize,
    },
    /// The code itself.
    Integers,
}

/// Consecutive rows.
#[derive(Debug, Clone)]
pub(super) struct CodeRows<'a> {
    pub(super) codes: &'a PackedCodes,
    rows: Range<usize>,
}

/// One row.
#[derive(Debug, Clone, Copy)]
pub(super) struct CodeRow<'a> {
    /// Its codes, lowest bits first, and at least 16 bytes more.
    pub(super) bytes: &'a [u8],
    pub(super) bits: u8,
    pub(super) cols: usize,
    /// `[2^bits]`; none where a code is its own value.
    pub(super) table: Option<&'a [f32]>,
    pub(super) group_size: usize,
    /// By group; empty where all are 1.
    pub(super) scales: &'a [f32],
    /// By group; empty where all are 0.
    pub(super) zeros: &'a [f32],
    /// Whole numbers that the codes stand for; none where a code is its own value.
    pub(super) integers: Option<&'a [i16]>,
    /// What [`Self::integers`] are multiplied with to be the values of the table.
    integer_scale: f32,
}

impl PackedCodes {
    pub(super) fn of_codebook(codebook: &Codebook, rows: usize, cols: usize) -> Self {
        let scales = codebook.scales.as_ref();
        let granularity = scales.map_or(Granularity::Channel, |scales| scales.granularity);
        let groups = granularity.groups_per_row(cols);
        let scale = |row: usize, group: usize| {
            scales.map_or(1.0, |scales| scales.scale(row, group, groups))
        };
        Self {
            bits: codebook.bits,
            cols,
            words: with_slack(pack::pack(&codebook.indices, cols.max(1), codebook.bits)),
            words_per_row: pack::words(cols, codebook.bits),
            values: CodeValues::Tables {
                tables: codebook.tables.iter().map(|entry| entry.to_f32()).collect(),
                rows_per_table: (rows / codebook.count().max(1)).max(1),
            },
            group_size: codebook.group_size(cols),
            groups_per_row: groups,
            scales: if scales.is_some() {
                let groups = (0..rows).flat_map(|row| (0..groups).map(move |group| (row, group)));
                groups.map(|(row, group)| scale(row, group)).collect()
            } else {
                Vec::new()
            },
            zeros: Vec::new(),
            integers: None,
        }
    }

    /// `None` where the columns of a group are no neighbours.
    pub(super) fn of_uniform(uniform: &Uniform, rows: usize, cols: usize) -> Option<Self> {
        if uniform.column_groups.is_some() {
            return None;
        }
        let groups = uniform.granularity.groups_per_row(cols);
        // Codes are stored as whole numbers from 0 up.
        let lowest = f32::from(1_u16 << (uniform.bits - 1));
        let at = |index: usize| match uniform.granularity {
            Granularity::Tensor => 0,
            Granularity::Channel | Granularity::Group(_) => index,
        };
        let zero = |index: usize| match (&uniform.zero_points, &uniform.float_zero_points) {
            (_, Some(zeros)) => lowest + zeros[at(index)].to_f32(),
            (Some(zeros), None) => lowest + f32::from(zeros[at(index)]),
            (None, None) => lowest,
        };
        let all = 0..rows * groups;
        Some(Self {
            bits: uniform.bits,
            cols,
            words: with_slack(pack::pack_signed(&uniform.codes, cols.max(1), uniform.bits)),
            words_per_row: pack::words(cols, uniform.bits),
            values: CodeValues::Integers,
            group_size: uniform.granularity.group_size(cols).max(1),
            groups_per_row: groups,
            scales: all.clone().map(|index| uniform.scales[at(index)]).collect(),
            zeros: all.map(zero).collect(),
            integers: None,
        })
    }

    /// Multiplies as whole numbers from now on, unless that takes longer or groups are too short.
    pub(super) fn as_integers(&mut self) {
        let holds_blocks =
            self.groups_per_row == 1 || self.group_size.is_multiple_of(ROUNDED_TOGETHER);
        let entries = 1_usize << self.bits;
        self.integers = match &self.values {
            _ if !holds_blocks => None,
            CodeValues::Integers => Some(Integers {
                tables: Vec::new(),
                scales: Vec::new(),
            }),
            CodeValues::Tables { .. } if self.bits != TABLE_BITS => None,
            CodeValues::Tables { tables, .. } => {
                let largest = |table: &[f32]| {
                    table
                        .iter()
                        .fold(0.0_f32, |most, value| most.max(value.abs()))
                };
                let each = tables.chunks(entries);
                let scales = each.clone().map(|table| largest(table) / MOST_INTEGER);
                let scales: Vec<f32> = scales.collect();
                let integers = each.zip(&scales).flat_map(|(table, scale)| {
                    let inverse = if *scale > 0.0 { scale.recip() } else { 0.0 };
                    #[expect(clippy::cast_possible_truncation, reason = "at most MOST_INTEGER")]
                    table
                        .iter()
                        .map(move |value| (value * inverse).round_ties_even() as i16)
                });
                Some(Integers {
                    tables: integers.collect(),
                    scales,
                })
            }
        };
    }

    /// Whether kernels multiply whole numbers.
    pub(super) fn are_integers(&self) -> bool {
        self.integers.is_some()
    }

    /// Inputs.
    pub(super) fn cols(&self) -> usize {
        self.cols
    }

    /// Whether a code means what a table says.
    pub(super) fn have_tables(&self) -> bool {
        matches!(self.values, CodeValues::Tables { .. })
    }

    /// Groups of a row.
    pub(super) fn groups_per_row(&self) -> usize {
        self.groups_per_row
    }

    /// Whether zeros take something off the sums of inputs.
    pub(super) fn has_zeros(&self) -> bool {
        !self.zeros.is_empty()
    }

    /// The rows `rows`.
    pub(super) fn rows(&self, rows: Range<usize>) -> CodeRows<'_> {
        CodeRows { codes: self, rows }
    }

    /// Row `row`.
    #[inline]
    pub(super) fn row(&self, row: usize) -> CodeRow<'_> {
        let from = row * self.words_per_row;
        let words = &self.words[from..from + self.words_per_row + SLACK_WORDS];
        let groups = row * self.groups_per_row..(row + 1) * self.groups_per_row;
        let of_row = |values: &'_ [f32]| -> Range<usize> {
            if values.is_empty() {
                0..0
            } else {
                groups.clone()
            }
        };
        let entries = 1_usize << self.bits;
        let (table, integers, integer_scale) = match &self.values {
            CodeValues::Integers => (None, None, 1.0),
            CodeValues::Tables {
                tables,
                rows_per_table,
            } => {
                let at = row / rows_per_table;
                let entries = at * entries..(at + 1) * entries;
                let integers = self.integers.as_ref();
                (
                    Some(&tables[entries.clone()]),
                    integers.map(|integers| &integers.tables[entries]),
                    integers.map_or(1.0, |integers| integers.scales[at]),
                )
            }
        };
        CodeRow {
            bytes: bytemuck::cast_slice(words),
            bits: self.bits,
            cols: self.cols,
            table,
            integers,
            integer_scale,
            group_size: self.group_size,
            scales: &self.scales[of_row(&self.scales)],
            zeros: &self.zeros[of_row(&self.zeros)],
        }
    }

    /// Bytes it takes.
    pub(super) fn bytes(&self) -> usize {
        let tables = match &self.values {
            CodeValues::Tables { tables, .. } => tables.len(),
            CodeValues::Integers => 0,
        };
        let integers = self.integers.as_ref();
        let integers = integers.map_or(0, |integers| {
            2 * integers.tables.len() + 4 * integers.scales.len()
        });
        4 * (self.words.len() + tables + self.scales.len() + self.zeros.len()) + integers
    }
}

impl<'a> CodeRows<'a> {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Row `at` of these.
    #[inline]
    pub(super) fn row(&self, at: usize) -> CodeRow<'a> {
        self.codes.row(self.rows.start + at)
    }

    /// One after the other.
    #[inline]
    pub(super) fn iter(&self) -> impl Iterator<Item = CodeRow<'a>> + use<'a> {
        let codes = self.codes;
        self.rows.clone().map(move |row| codes.row(row))
    }
}

fn with_slack(mut words: Vec<u32>) -> Vec<u32> {
    words.extend([0; SLACK_WORDS]);
    words
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
            Some(table) => table[code],
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
            .map_or(code as i32, |table| i32::from(table[code]))
    }

    /// What a sum of [`Self::integer`] is multiplied with, beside the scale of its group.
    pub(super) fn integer_scale(&self) -> f32 {
        self.integer_scale
    }

    /// Scale of `group`.
    pub(super) fn scale(&self, group: usize) -> f32 {
        self.scales.get(group).copied().unwrap_or(1.0)
    }

    /// Zero of `group`.
    fn zero(&self, group: usize) -> f32 {
        self.zeros.get(group).copied().unwrap_or(0.0)
    }

    /// What columns from `from` on, which are of the last group, add to a sum, and what the zeros of all take off.
    pub(super) fn rest(&self, from: usize, input: &[f32], group_sums: &[f32]) -> f32 {
        let tail: f32 = (from..self.cols).map(|at| self.value(at) * input[at]).sum();
        let last = (self.cols - 1) / self.group_size;
        self.scale(last) * tail - self.zeros_part(group_sums)
    }

    fn zeros_part(&self, group_sums: &[f32]) -> f32 {
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
