//! One call of an attention method: its outputs, its counts, and what is told of it.

use super::AttentionError;
use super::group::{Attended, HeadGroup, Seen};
use super::softmax::{Listed, Row};
use crate::MatrixRef;
use crate::matrix::Matrix;

/// The call under way. Every product of a query and a key in a softmax is counted here; what a method computes to
/// choose keys it adds with [`Run::count`].
pub(super) struct Run<'g, 's> {
    pub(super) group: &'g HeadGroup<'g>,
    seen: Option<&'s mut dyn Seen>,
    row: Row,
    /// `0..tokens`.
    all: Vec<u32>,
    outputs: Vec<Matrix>,
    score_evaluations: u64,
    kept_keys_max: usize,
    /// Queries from here on are computed, asked for or not.
    needed_from: usize,
}

impl<'g, 's> Run<'g, 's> {
    /// Checks `group` and begins.
    pub(super) fn new(
        group: &'g HeadGroup<'g>,
        seen: Option<&'s mut dyn Seen>,
    ) -> Result<Self, AttentionError> {
        group.check()?;
        let value_dim = group.values.cols();
        let outputs = group.queries.iter();
        Ok(Self {
            group,
            seen,
            row: Row::new(value_dim),
            all: (0..).take(group.tokens()).collect(),
            outputs: outputs
                .map(|_| Matrix::zeros(group.tokens(), value_dim))
                .collect(),
            score_evaluations: 0,
            kept_keys_max: 0,
            needed_from: usize::MAX,
        })
    }

    /// Query heads of the group.
    pub(super) fn heads(&self) -> std::ops::Range<usize> {
        0..self.group.queries.len()
    }

    /// Tokens of the sequence.
    pub(super) fn tokens(&self) -> usize {
        self.group.tokens()
    }

    /// The positions `from..to` as a list.
    pub(super) fn positions(&self, from: usize, to: usize) -> &[u32] {
        &self.all[from..to]
    }

    /// Adds products that are not of this softmax.
    pub(super) fn count(&mut self, products: usize) {
        self.score_evaluations += products as u64;
    }

    /// `keys` are held at once.
    pub(super) fn holds(&mut self, keys: usize) {
        self.kept_keys_max = self.kept_keys_max.max(keys);
    }

    /// Whether the query at `token` is asked for.
    pub(super) fn wants(&self, token: usize) -> bool {
        self.seen.as_ref().is_some_and(|seen| seen.wants(token))
    }

    /// Whether nobody has a use for the output of the query at `token`.
    pub(super) fn skips(&self, token: usize) -> bool {
        let seen = self.seen.as_ref();
        token < self.needed_from && seen.is_some_and(|seen| seen.only() && !seen.wants(token))
    }

    /// Computes the outputs from `token` on, as others are made from them.
    pub(super) fn need_from(&mut self, token: usize) {
        self.needed_from = token;
    }

    /// Tells what a query looked at, if it is asked for.
    pub(super) fn tell(&mut self, head: usize, token: usize, positions: &[u32], shares: &[f32]) {
        if let Some(seen) = &mut self.seen
            && seen.wants(token)
        {
            seen.saw(head, token, positions, shares);
        }
    }

    /// The output of a query, to be written.
    pub(super) fn output(&mut self, head: usize, token: usize) -> &mut [f32] {
        self.outputs[head].row_mut(token)
    }

    /// Exact attention of one query.
    pub(super) fn exact(&mut self, head: usize, token: usize) {
        let end = if self.group.causal {
            token + 1
        } else {
            self.tokens()
        };
        let all = std::mem::take(&mut self.all);
        self.listed(head, token, Listed::plain(&all[..end]));
        self.all = all;
        self.holds(end);
    }

    /// Exact attention of every query of `tokens`.
    pub(super) fn exact_range(&mut self, tokens: std::ops::Range<usize>) {
        for token in tokens {
            for head in self.heads() {
                self.exact(head, token);
            }
        }
    }

    /// Attention of one query over listed keys of the group.
    pub(super) fn listed(&mut self, head: usize, token: usize, listed: Listed<'_>) {
        if self.skips(token) {
            return;
        }
        let matrices = (self.group.keys, self.group.values);
        let query = self.group.queries[head].row(token);
        self.row.attend(query, self.group.scale, matrices, listed);
        self.close(head, token, listed.positions, listed.factors);
    }

    /// Attention of one query over rows of other matrices, all of them; `positions` says which keys of the group these
    /// are. Returns the share of each.
    pub(super) fn moved(
        &mut self,
        (head, token): (usize, usize),
        query: &[f32],
        matrices: (MatrixRef<'_>, MatrixRef<'_>),
        positions: &[u32],
    ) -> Vec<f32> {
        // As many rows as listed keys, of which there are no more than tokens.
        let listed = Listed::plain(&self.all[..positions.len()]);
        self.row.attend(query, self.group.scale, matrices, listed);
        self.close(head, token, positions, &[]);
        let partial = &self.row.partial;
        let shares = self.row.weights.iter();
        shares
            .map(|weight| partial.share(*weight, partial))
            .collect()
    }

    /// Writes, counts and tells what [`Row::attend`] has just computed.
    fn close(&mut self, head: usize, token: usize, positions: &[u32], factors: &[f32]) {
        self.count(positions.len());
        self.row.partial.write(self.outputs[head].row_mut(token));
        if let Some(seen) = &mut self.seen
            && seen.wants(token)
        {
            let partial = &self.row.partial;
            let shares = self.row.weights.iter();
            let mut shares: Vec<f32> = shares
                .map(|weight| partial.share(*weight, partial))
                .collect();
            for (share, factor) in shares.iter_mut().zip(factors) {
                *share *= factor;
            }
            seen.saw(head, token, positions, &shares);
        }
    }

    /// What the method gives back.
    pub(super) fn finish(self) -> Attended {
        Attended {
            outputs: self.outputs,
            score_evaluations: self.score_evaluations,
            kept_keys_max: self.kept_keys_max,
        }
    }
}
