//! Scores of one query, as scalar and vector code read them.

use super::decay::Decay;

/// Scores of one query, `[keys]` each.
#[derive(Debug, Clone, Copy)]
pub struct Scores<'a> {
    /// Products of the codes of queries and keys.
    pub products: &'a [i32],
    /// What a zero point of the queries has added to them, taken off: `zero_point sum(k)`.
    pub offsets: &'a [i32],
}

impl Scores<'_> {
    pub(super) fn keys(self) -> usize {
        assert_eq!(self.products.len(), self.offsets.len(), "keys of a row");
        self.products.len()
    }

    #[cfg(test)]
    pub(super) fn each(self) -> impl Iterator<Item = i32> {
        let pairs = self.products.iter().zip(self.offsets);
        pairs.map(|(product, offset)| product.wrapping_sub(*offset))
    }
}

/// What turns the scores of a row into weights.
#[derive(Clone, Copy)]
pub(super) struct Row<'a> {
    pub scores: Scores<'a>,
    pub decay: Decay,
}
