//! Channels of each head that have a bit more than the others.

use crate::caches::artifact::{CacheTensor, Reader};
use crate::caches::error::CacheError;
use crate::caches::samples::CacheSamples;
use crate::caches::shape::{CacheShape, Part};

/// For each head its channels in the order they are coded in: the wide ones, then the others, both ascending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Split {
    order: Vec<Vec<usize>>,
    wide: usize,
}

impl Split {
    /// The `wide` channels of the largest mean square of each head.
    pub(super) fn fit(
        shape: CacheShape,
        part: Part,
        wide: usize,
        samples: &CacheSamples<'_>,
    ) -> Self {
        let mut squares = vec![0.0_f64; shape.channels(part)];
        for sample in samples.of(part) {
            for row in sample.data().chunks(shape.channels(part)) {
                for (sum, value) in squares.iter_mut().zip(row) {
                    *sum += f64::from(*value).powi(2);
                }
            }
        }
        let wide_of = |squares: &[f64]| {
            let mut order: Vec<usize> = (0..squares.len()).collect();
            order.sort_by(|a, b| squares[*b].total_cmp(&squares[*a]).then(a.cmp(b)));
            order.truncate(wide);
            order
        };
        Self::new(
            squares.chunks(shape.dim(part)).map(wide_of),
            wide,
            shape.dim(part),
        )
    }

    fn new(heads: impl Iterator<Item = Vec<usize>>, wide: usize, dim: usize) -> Self {
        let order = heads.map(|mut order| {
            order.sort_unstable();
            let others: Vec<usize> = (0..dim)
                .filter(|at| order.binary_search(at).is_err())
                .collect();
            order.extend(others);
            order
        });
        Self {
            order: order.collect(),
            wide,
        }
    }

    pub(super) fn restore(
        shape: CacheShape,
        part: Part,
        wide: usize,
        reader: &mut Reader<'_>,
    ) -> Result<Self, CacheError> {
        let (name, dim) = (name(part), shape.dim(part));
        let stored = reader.f32(&name, &[shape.kv_heads, wide])?;
        let mut heads = Vec::new();
        for (head, channels) in stored.chunks(wide).enumerate() {
            let mut own: Vec<usize> = Vec::new();
            for (at, value) in channels.iter().enumerate() {
                let channel =
                    (0..dim).find(|channel| (*channel as f32).to_bits() == value.to_bits());
                match channel {
                    Some(channel) if own.last().is_none_or(|last| *last < channel) => {
                        own.push(channel);
                    }
                    _ => {
                        return Err(CacheError::TensorValue {
                            name,
                            at: head * wide + at,
                            expected: "channels of the head in ascending order",
                            found: *value,
                        });
                    }
                }
            }
            heads.push(own);
        }
        Ok(Self::new(heads.into_iter(), wide, dim))
    }

    pub(super) fn tensor(&self, part: Part) -> CacheTensor {
        let wide = self.order.iter().flat_map(|order| &order[..self.wide]);
        let shape = vec![self.order.len(), self.wide];
        CacheTensor::f32(
            name(part),
            shape,
            wide.map(|channel| *channel as f32).collect(),
        )
    }

    pub(super) fn order(&self, head: usize) -> &[usize] {
        &self.order[head]
    }
}

fn name(part: Part) -> String {
    format!("{}_wide_channels", part.letter())
}
