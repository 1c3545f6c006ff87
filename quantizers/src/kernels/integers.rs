//! What codes mean as whole numbers.

use super::table::IntegerTable;

/// Whole numbers that codes stand for.
#[derive(Debug, Clone)]
pub(super) struct Integers {
    size: IntegerSize,
    /// Empty where a code is its own value.
    tables: Vec<IntegerTable>,
    /// By table: `value = scale · integer`.
    scales: Vec<f32>,
}

/// How large they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IntegerSize {
    /// For inputs of 16 bits.
    Int16,
    /// For inputs of 8 bits.
    Int8,
}

impl IntegerSize {
    /// The largest value of a table: four products with inputs of 16 bits fit a sum of 32, and two with inputs of 8 bits one
    /// of 16.
    fn most(self) -> f32 {
        match self {
            Self::Int16 => 16383.0,
            Self::Int8 => 127.0,
        }
    }
}

impl Integers {
    /// Codes that are their own values.
    pub(super) fn codes(size: IntegerSize) -> Self {
        Self {
            size,
            tables: Vec::new(),
            scales: Vec::new(),
        }
    }

    /// Those of `tables`, of at most 16 values each.
    pub(super) fn of(size: IntegerSize, tables: impl Iterator<Item = Vec<f32>>) -> Self {
        let (tables, scales) = tables.map(|values| rounded(&values, size.most())).unzip();
        Self {
            size,
            tables,
            scales,
        }
    }

    pub(super) fn size(&self) -> IntegerSize {
        self.size
    }

    /// Table `at`.
    #[inline]
    pub(super) fn table(&self, at: usize) -> &IntegerTable {
        &self.tables[at]
    }

    /// What its values are multiplied with.
    #[inline]
    pub(super) fn scale(&self, at: usize) -> f32 {
        self.scales[at]
    }

    /// Bytes they take.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&self.tables[..]) + size_of_val(&self.scales[..])
    }
}

/// `values` as whole numbers up to `most`, and what these are multiplied with to be the values.
fn rounded(values: &[f32], most: f32) -> (IntegerTable, f32) {
    let largest = values
        .iter()
        .fold(0.0_f32, |most, value| most.max(value.abs()));
    let scale = largest / most;
    let inverse = if scale > 0.0 { scale.recip() } else { 0.0 };
    let mut integers = [0; 16];
    for (integer, value) in integers.iter_mut().zip(values) {
        #[expect(clippy::cast_possible_truncation, reason = "at most `most`")]
        let nearest = (value * inverse).round_ties_even() as i16;
        *integer = nearest;
    }
    (IntegerTable::new(integers), scale)
}
