//! Keys and values gathered into a matrix of their own, at other positions where a rotary embedding is given.

use super::group::{HeadGroup, Rotary};
use super::run::Run;
use crate::MatrixRef;

/// Keys of a group, listed; the `n`-th is rotated to position `n`.
pub(super) struct MovedKeys<'a> {
    rotary: Option<&'a dyn Rotary>,
    /// Where each key stands in the sequence.
    positions: &'a [u32],
    /// `[positions, head_dim]`.
    keys: Vec<f32>,
    /// `[positions, value_dim]`.
    values: Vec<f32>,
}

impl<'a> MovedKeys<'a> {
    /// The keys and values of `group` at `positions`. Without `rotary`, keys stay as they are.
    pub(super) fn new(
        group: &HeadGroup<'_>,
        rotary: Option<&'a dyn Rotary>,
        positions: &'a [u32],
    ) -> Self {
        let (mut keys, mut values) = (Vec::new(), Vec::new());
        for (to, from) in positions.iter().enumerate() {
            let from = *from as usize;
            let first = keys.len();
            keys.extend_from_slice(group.keys.row(from));
            rotate(rotary, from, to, &mut keys[first..]);
            values.extend_from_slice(group.values.row(from));
        }
        Self {
            rotary,
            positions,
            keys,
            values,
        }
    }

    /// Attends with the query of (query head, token), which stands at `at`, to the keys up to there; returns the share
    /// of each.
    pub(super) fn attend(&self, run: &mut Run<'_, '_>, of: (usize, usize), at: usize) -> Vec<f32> {
        let group = run.group;
        let (head, token) = of;
        let mut query = group.queries[head].row(token).to_vec();
        rotate(self.rotary, token, at, &mut query);
        let rows = at + 1;
        let keys = &self.keys[..rows * group.keys.cols()];
        let values = &self.values[..rows * group.values.cols()];
        let (Ok(keys), Ok(values)) = (
            MatrixRef::new(keys, rows, group.keys.cols()),
            MatrixRef::new(values, rows, group.values.cols()),
        ) else {
            unreachable!("the slices have these lengths")
        };
        run.moved(of, &query, (keys, values), &self.positions[..rows])
    }
}

/// Moves `row` from one position to another; nothing happens to a row that stays, not even rounding.
fn rotate(rotary: Option<&dyn Rotary>, from: usize, to: usize, row: &mut [f32]) {
    if let Some(rotary) = rotary.filter(|_| from != to) {
        rotary.unrotate(from, row);
        rotary.rotate(to, row);
    }
}
