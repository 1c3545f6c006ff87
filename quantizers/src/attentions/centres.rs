//! Greedy k-centre of keys: the offline selection of SubGen.

use super::compressed::{Compressor, Kept};
use super::group::HeadGroup;
use std::ops::Range;

/// Keeps the keys that farthest-first traversal finds, the first key of a batch first.
pub(super) struct Centres {
    /// Fraction of a batch that is kept.
    pub(super) keep: f64,
    /// Whether a centre counts for all keys nearest to it, or for itself.
    pub(super) weighted: bool,
}

impl Compressor for Centres {
    fn compress(&mut self, group: &HeadGroup<'_>, batch: Range<usize>) -> (Vec<Kept>, usize) {
        let count = batch.len();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 0 and `count`"
        )]
        let kept = ((count as f64 * self.keep).round() as usize).clamp(count.min(1), count);
        let mut nearest = vec![(f32::INFINITY, 0_usize); count];
        let mut centres = Vec::with_capacity(kept);
        let mut next = 0;
        while centres.len() < kept {
            let centre = group.keys.row(batch.start + next);
            for (at, nearest) in nearest.iter_mut().enumerate() {
                let distance = square_distance(group.keys.row(batch.start + at), centre);
                if distance < nearest.0 {
                    *nearest = (distance, centres.len());
                }
            }
            // A centre is at distance 0 of itself; below that, it is not chosen again where keys are equal.
            nearest[next].0 = -1.0;
            centres.push(next);
            let farthest = nearest.iter().enumerate();
            let farthest = farthest.max_by(|a, b| a.1.0.total_cmp(&b.1.0).then(b.0.cmp(&a.0)));
            next = farthest.map_or(0, |(at, _)| at);
        }
        let mut members = vec![0_u32; kept];
        for (at, (_, centre)) in nearest.iter().enumerate() {
            let own = centres.iter().position(|other| *other == at);
            members[own.unwrap_or(*centre)] += 1;
        }
        let kept = centres.iter().zip(&members).filter_map(|(at, members)| {
            Some(Kept {
                position: u32::try_from(batch.start + at).ok()?,
                log_weight: if self.weighted {
                    (*members as f32).ln()
                } else {
                    0.0
                },
                factor: 1.0,
            })
        });
        let mut kept: Vec<Kept> = kept.collect();
        kept.sort_by_key(|kept| kept.position);
        (kept, count * centres.len())
    }
}

/// `||x - y||^2`.
pub(super) fn square_distance(x: &[f32], y: &[f32]) -> f32 {
    x.iter().zip(y).map(|(x, y)| (x - y) * (x - y)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MatrixRef;

    #[test]
    fn the_farthest_keys_are_kept_and_count_for_those_around_them() {
        // On a line: a cluster at 0, one at 10, one key at -4.
        let keys = [0.0, 0.1, 10.0, 10.2, 9.9, -4.0, 0.2];
        let keys = MatrixRef::new(&keys, 7, 1).unwrap();
        let queries = [keys];
        let group = HeadGroup {
            queries: &queries,
            keys,
            values: keys,
            scale: 1.0,
            causal: true,
            layer: 0,
            layers: 1,
            head: 0,
            rotary: None,
        };
        let mut centres = Centres {
            keep: 3.0 / 7.0,
            weighted: true,
        };
        let (kept, products) = centres.compress(&group, 0..7);
        let found: Vec<(u32, f32)> = kept
            .iter()
            .map(|kept| (kept.position, kept.log_weight.exp().round()))
            .collect();
        assert_eq!(found, [(0, 3.0), (3, 3.0), (5, 1.0)]);
        assert_eq!(products, 21);
    }
}
