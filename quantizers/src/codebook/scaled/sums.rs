//! Sums over a group of weights that say what its scale and the entries of its table should be.

use super::levels::{Block, LANES, Levels, nearest};
use super::scales::GroupSums;
use multiversion::multiversion;

/// A group of weights and the weights of their squared errors.
#[derive(Debug, Clone, Copy)]
pub(super) struct Group<'a> {
    pub(super) values: &'a [f32],
    pub(super) weights: &'a [f32],
}

impl Group<'_> {
    /// `sum f w^2`.
    pub(super) fn squares(self) -> f64 {
        let pairs = self.values.iter().zip(self.weights);
        pairs
            .map(|(value, weight)| f64::from(*weight) * f64::from(*value).powi(2))
            .sum()
    }

    /// What the group says about its scale when every weight takes the entry nearest to it times `inverse`.
    pub(super) fn sums(self, inverse: f32, levels: &Levels, squares: f64) -> GroupSums {
        let mut block = Block::default();
        let (mut cross, mut curvature) = ([0.0; LANES], [0.0; LANES]);
        for (values, weights) in self.values.chunks(LANES).zip(self.weights.chunks(LANES)) {
            block.load(values, inverse);
            nearest(&mut block, levels);
            accumulate(values, weights, &block.entries, &mut cross, &mut curvature);
        }
        GroupSums {
            squares,
            cross: cross.iter().sum(),
            curvature: curvature.iter().sum(),
        }
    }
}

#[multiversion(targets("x86_64+avx512f+avx512dq+avx512bw+avx512vl", "x86_64+avx2"))]
fn accumulate(
    values: &[f32],
    weights: &[f32],
    entries: &[f32; LANES],
    cross: &mut [f64; LANES],
    curvature: &mut [f64; LANES],
) {
    let lanes = cross.iter_mut().zip(curvature).zip(entries);
    for (((cross, curvature), entry), (value, weight)) in lanes.zip(values.iter().zip(weights)) {
        let (entry, weight) = (f64::from(*entry), f64::from(*weight));
        *cross += weight * f64::from(*value) * entry;
        *curvature += weight * entry * entry;
    }
}

/// What some rows say about the entries of their table.
#[derive(Debug, Clone)]
pub(super) struct TableSums {
    /// `sum f s w` of the weights that use each entry.
    pub(super) cross: Vec<f64>,
    /// `sum f s^2`.
    pub(super) curvature: Vec<f64>,
    /// Weighted squared error.
    pub(super) error: f64,
}

impl TableSums {
    pub(super) fn new(entries: usize) -> Self {
        Self {
            cross: vec![0.0; entries],
            curvature: vec![0.0; entries],
            error: 0.0,
        }
    }

    /// Adds the weights of a group whose scale is `scale`.
    pub(super) fn add_group(&mut self, group: Group<'_>, scale: f32, levels: &Levels) {
        let mut block = Block::default();
        let inverse = inverse(scale);
        let pairs = group.values.chunks(LANES).zip(group.weights.chunks(LANES));
        for (values, weights) in pairs {
            block.load(values, inverse);
            nearest(&mut block, levels);
            let found = block.indices.iter().zip(&block.entries);
            for ((value, weight), (index, entry)) in values.iter().zip(weights).zip(found) {
                let (value, weight, scale) =
                    (f64::from(*value), f64::from(*weight), f64::from(scale));
                let at = *index as usize;
                self.cross[at] += weight * scale * value;
                self.curvature[at] += weight * scale * scale;
                self.error += weight * (value - scale * f64::from(*entry)).powi(2);
            }
        }
    }

    /// Adds the sums of other rows.
    pub(super) fn add(&mut self, other: &Self) {
        let pairs = self.cross.iter_mut().zip(&other.cross);
        pairs.for_each(|(own, other)| *own += other);
        let pairs = self.curvature.iter_mut().zip(&other.curvature);
        pairs.for_each(|(own, other)| *own += other);
        self.error += other.error;
    }
}

/// `1 / scale`, and 0 for 0: a group without a scale takes the entry nearest 0.
pub(crate) fn inverse(scale: f32) -> f32 {
    let inverse = scale.recip();
    if inverse.is_finite() { inverse } else { 0.0 }
}
