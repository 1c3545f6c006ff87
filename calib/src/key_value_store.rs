//! Where keys and values of the tokens of one sequence are kept.

use crate::layers::kernels::halves::widen;
use half::f16;
use quantizers::linalg::product::Strided;
use std::borrow::Cow;
use std::fmt::Debug;
use std::ops::Range;

/// Keys and values of the next tokens of one sequence, one token after the other: `[tokens, kv_heads · dim]` each.
#[derive(Debug, Clone, Copy)]
pub struct NewTokens<'a> {
    /// How many tokens there are.
    pub tokens: usize,
    /// Keys before the rotary embedding, normalised where the model does that first.
    pub unrotated: &'a [f32],
    /// Keys as queries meet them.
    pub key: &'a [f32],
    /// Values.
    pub value: &'a [f32],
}

/// Rotates keys `[tokens, kv_heads · head_dim]` of the first tokens of a text to their positions.
pub type RotateAll<'a> = &'a dyn Fn(&mut [f32]);

/// Keys, rotated, and values of consecutive tokens, `[tokens, kv_heads · dim]` each.
#[derive(Debug, Clone)]
pub struct KeptTokens<'a> {
    /// How many tokens there are.
    pub tokens: usize,
    /// Keys as queries meet them.
    pub keys: KeptRows<'a>,
    /// Values.
    pub values: KeptRows<'a>,
}

/// Rows of tokens as they are kept.
#[derive(Debug, Clone)]
pub enum KeptRows<'a> {
    /// As 32-bit floats.
    Single(Cow<'a, [f32]>),
    /// As 16-bit floats, which are finite.
    Half(&'a [f16]),
}

impl KeptRows<'_> {
    /// How many values there are.
    pub fn count(&self) -> usize {
        match self {
            Self::Single(values) => values.len(),
            Self::Half(values) => values.len(),
        }
    }

    /// All of them.
    pub fn values(&self) -> Cow<'_, [f32]> {
        match self {
            Self::Single(values) => Cow::Borrowed(values),
            Self::Half(values) => {
                let mut wide = vec![0.0; values.len()];
                widen(values, &mut wide);
                Cow::Owned(wide)
            }
        }
    }

    /// The given columns of the given rows, each row of all being `width` values; what has to be widened is written to
    /// `room`.
    ///
    /// # Panics
    /// Rows or columns that are not there.
    pub fn part<'p>(
        &'p self,
        rows: Range<usize>,
        columns: Range<usize>,
        width: usize,
        room: &'p mut Vec<f32>,
    ) -> Strided<'p> {
        let (tokens, dim) = (rows.len(), columns.len());
        match self {
            Self::Single(values) => {
                let values = &values[rows.start * width + columns.start..];
                Strided::new(values, tokens, dim, width, 1)
            }
            Self::Half(values) => {
                room.resize(tokens * dim, 0.0);
                let kept = values[rows.start * width..rows.end * width].chunks_exact(width);
                for (row, wide) in kept.zip(room.chunks_exact_mut(dim)) {
                    widen(&row[columns.clone()], wide);
                }
                Strided::row_major(room, dim)
            }
        }
    }
}

/// Where keys and values of one sequence are kept.
pub trait KeyValueStore: Debug + Send {
    /// Adds the next tokens.
    fn append(&mut self, new: NewTokens<'_>);
    /// Those of the last `window` tokens, or of all there are.
    fn last(&mut self, window: usize, rotate: RotateAll<'_>) -> KeptTokens<'_>;
    /// Forgets all but the first `tokens` tokens; `false`, and nothing is forgotten, where that cannot be done.
    #[must_use]
    fn truncate(&mut self, tokens: usize) -> bool;
    /// Bytes in use.
    fn bytes(&self) -> usize;
}
