//! What codes mean as whole numbers.

use super::table::IntegerTable;

/// Whole numbers that codes stand for.
#[derive(Debug, Clone)]
pub(super) struct Integers {
    /// Of the inputs they are multiplied with.
    pub(super) size: IntegerSize,
    /// Empty where a code is its own value.
    pub(super) tables: Vec<IntegerTable>,
}

/// Bits of inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IntegerSize {
    Int16,
    Int8,
}

impl Integers {
    /// Codes that are their own values.
    pub(super) fn codes(size: IntegerSize) -> Self {
        Self {
            size,
            tables: Vec::new(),
        }
    }

    /// Those of `tables`, of at most 16 values each.
    pub(super) fn of(size: IntegerSize, tables: impl Iterator<Item = Vec<f32>>) -> Self {
        let table = match size {
            IntegerSize::Int16 => IntegerTable::int16,
            IntegerSize::Int8 => IntegerTable::int8,
        };
        Self {
            size,
            tables: tables.map(|values| table(&values)).collect(),
        }
    }
}
