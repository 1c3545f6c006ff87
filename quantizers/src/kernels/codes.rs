//! Packed codes with what they mean.

use super::code_row::CodeRow;
use super::compute::Compute;
use super::inputs::ROUNDED_TOGETHER;
use super::table::{ByteTable, IntegerTable, Table};
use crate::pack;
use crate::tensor::{Codebook, Granularity, Uniform};
use half::{bf16, f16};
use std::ops::Range;

/// Bytes that may be read behind the last row.
const SLACK_WORDS: usize = 12;

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
    /// How kernels multiply.
    compute: Compute,
    /// The tables as whole numbers, where these are multiplied; empty where a code is its own value.
    integers: Vec<IntegerTable>,
}

/// What a code means before zero and scale.
#[derive(Debug, Clone)]
enum CodeValues {
    /// Tables of `2^bits` values, `rows_per_table` consecutive rows to each.
    Tables {
        tables: Tables,
        rows_per_table: usize,
    },
    /// The code itself.
    Integers,
}

#[derive(Debug, Clone)]
enum Tables {
    Floats(Vec<f32>),
    Bytes(Vec<ByteTable>),
}

/// Consecutive rows.
#[derive(Debug, Clone)]
pub(super) struct CodeRows<'a> {
    pub(super) codes: &'a PackedCodes,
    rows: Range<usize>,
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
                tables: Tables::new(&codebook.tables, codebook.bits),
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
            compute: Compute::F32,
            integers: Vec::new(),
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
            compute: Compute::F32,
            integers: Vec::new(),
        })
    }

    /// Multiplies the way `compute` says from now on, or a more exact way where that takes no longer or groups are too short.
    pub(super) fn computing(&mut self, compute: Compute) {
        let holds_blocks =
            self.groups_per_row == 1 || self.group_size.is_multiple_of(ROUNDED_TOGETHER);
        self.compute = match (compute, &self.values) {
            (Compute::Bf16, _) if self.bits <= Self::BF16_BITS => Compute::Bf16,
            (Compute::Bf16, _) => Compute::F32,
            _ if !holds_blocks => Compute::F32,
            (Compute::Int8, _) if self.bits <= 4 => Compute::Int8,
            // Those of narrower codes are looked up as f32 in the same time, and wider ones do not fit a register.
            (
                _,
                CodeValues::Tables {
                    tables: Tables::Floats(_),
                    ..
                },
            ) => Compute::F32,
            (Compute::Int8, _) => Compute::Int16,
            (compute, _) => compute,
        };
        if let (CodeValues::Tables { tables, .. }, Compute::Bf16) = (&mut self.values, self.compute)
        {
            tables.round_to_bf16();
        }
        self.integers = match (&self.values, self.compute) {
            (CodeValues::Integers, _) | (_, Compute::F32 | Compute::Bf16) => Vec::new(),
            (CodeValues::Tables { tables, .. }, Compute::Int16) => {
                tables.rounded(self.bits, IntegerTable::int16)
            }
            (CodeValues::Tables { tables, .. }, Compute::Int8) => {
                tables.rounded(self.bits, IntegerTable::int8)
            }
        };
    }

    /// Bits of the widest codes whose tables are multiplied as bf16.
    const BF16_BITS: u8 = 4;

    /// How kernels multiply.
    pub(super) fn compute(&self) -> Compute {
        self.compute
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

    /// Row `row`. Kernels that look at every row take the parts they need instead.
    pub(super) fn row(&self, row: usize) -> CodeRow<'_> {
        CodeRow {
            bytes: self.bytes_of(row),
            bits: self.bits,
            cols: self.cols,
            table: self.table(row),
            integers: self.integers(row),
            group_size: self.group_size,
            scales: self.scales(row),
            zeros: self.by_group(&self.zeros, row),
        }
    }

    /// [`CodeRow::bytes`] of row `row`.
    #[inline]
    pub(super) fn bytes_of(&self, row: usize) -> &[u8] {
        let from = row * self.words_per_row;
        bytemuck::cast_slice(&self.words[from..from + self.words_per_row + SLACK_WORDS])
    }

    /// Bytes from the codes of a row to those of the next.
    pub(super) fn bytes_per_row(&self) -> usize {
        size_of::<u32>() * self.words_per_row
    }

    /// [`CodeRow::table`] of row `row`.
    #[inline]
    pub(super) fn table(&self, row: usize) -> Option<Table<'_>> {
        match &self.values {
            CodeValues::Integers => None,
            CodeValues::Tables { tables, .. } => {
                let at = self.table_of(row);
                Some(match tables {
                    Tables::Floats(values) => {
                        let entries = 1_usize << self.bits;
                        Table::Floats(&values[at * entries..(at + 1) * entries])
                    }
                    Tables::Bytes(tables) => Table::Bytes(&tables[at]),
                })
            }
        }
    }

    /// [`CodeRow::integers`] of row `row`.
    #[inline]
    pub(super) fn integers(&self, row: usize) -> Option<&IntegerTable> {
        if self.integers.is_empty() {
            None
        } else {
            Some(&self.integers[self.table_of(row)])
        }
    }

    /// [`CodeRow::scales`] of row `row`.
    #[inline]
    pub(super) fn scales(&self, row: usize) -> &[f32] {
        self.by_group(&self.scales, row)
    }

    #[inline]
    fn by_group<'a>(&self, values: &'a [f32], row: usize) -> &'a [f32] {
        if values.is_empty() {
            values
        } else {
            &values[row * self.groups_per_row..(row + 1) * self.groups_per_row]
        }
    }

    #[inline]
    fn table_of(&self, row: usize) -> usize {
        match self.values {
            // A division takes as long as a few dozen weights.
            CodeValues::Tables { rows_per_table, .. } if rows_per_table > 1 => row / rows_per_table,
            _ => row,
        }
    }

    /// What it lies in.
    pub(super) fn memory(&self) -> Vec<&[u8]> {
        let mut blocks: Vec<&[u8]> = vec![
            bytemuck::cast_slice(&self.words),
            bytemuck::cast_slice(&self.scales),
            bytemuck::cast_slice(&self.zeros),
            bytemuck::cast_slice(&self.integers),
        ];
        if let CodeValues::Tables { tables, .. } = &self.values {
            blocks.push(tables.memory());
        }
        blocks
    }
}

impl Tables {
    fn new(entries: &[f16], bits: u8) -> Self {
        if bits == ByteTable::BITS {
            let tables = entries.as_chunks::<16>().0.iter();
            Self::Bytes(
                tables
                    .map(|table| ByteTable::new(&table.map(f16::to_f32)))
                    .collect(),
            )
        } else {
            Self::Floats(entries.iter().map(|entry| entry.to_f32()).collect())
        }
    }

    fn round_to_bf16(&mut self) {
        let rounded = |value: f32| bf16::from_f32(value).to_f32();
        match self {
            Self::Floats(values) => values.iter_mut().for_each(|value| *value = rounded(*value)),
            Self::Bytes(tables) => {
                for table in tables {
                    *table = ByteTable::new(&table.values().map(rounded));
                }
            }
        }
    }

    /// Those of codes of `bits`, each as `whole` numbers.
    fn rounded(&self, bits: u8, whole: impl Fn(&[f32]) -> IntegerTable) -> Vec<IntegerTable> {
        match self {
            Self::Floats(values) => values.chunks_exact(1 << bits).map(whole).collect(),
            Self::Bytes(tables) => tables.iter().map(|table| whole(&table.values())).collect(),
        }
    }

    fn memory(&self) -> &[u8] {
        match self {
            Self::Floats(values) => bytemuck::cast_slice(values),
            Self::Bytes(tables) => bytemuck::cast_slice(tables),
        }
    }
}

impl<'a> CodeRows<'a> {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Row `at` of these.
    pub(super) fn row(&self, at: usize) -> CodeRow<'a> {
        self.codes.row(self.number(at))
    }

    /// Which row of all row `at` of these is.
    #[inline]
    pub(super) fn number(&self, at: usize) -> usize {
        self.rows.start + at
    }

    /// One after the other.
    pub(super) fn iter(&self) -> impl Iterator<Item = CodeRow<'a>> + use<'a> {
        let codes = self.codes;
        self.rows.clone().map(move |row| codes.row(row))
    }
}

fn with_slack(mut words: Vec<u32>) -> Vec<u32> {
    // They are there for good: growing as usual would double them.
    words.reserve_exact(SLACK_WORDS);
    words.extend([0; SLACK_WORDS]);
    words
}
