//! KDEformer (arXiv 2302.02451) for encoders: exact attention in blocks of queries and keys with like hashes, and a
//! sample of keys for all other pairs.
//!
//! Keys are drawn with `p_i ~ ||v_i|| / ||V||_op + 1 / n`, the operator norm by 20 steps of the power method on `V^T V`,
//! and weighted `1 / (p_i sample_size)`; pairs that a block covers already are left out. Numerator and denominator are
//! estimated from the same sample, which is the published ones column beside the values.

use super::group::{Attended, GroupShape, HeadGroup, Seen};
use super::hashed::Sums;
use super::random::Random;
use super::run::Run;
use super::settings::Settings;
use super::sign_hash::SignHash;
use super::weighted_draw::draw;
use super::{Attention, AttentionError, SparseAttention};
use crate::{MatrixRef, ParamError};

/// Steps of the power method.
const POWER_STEPS: usize = 20;

/// The registry entry.
pub(super) struct KdeFormer;

impl Attention for KdeFormer {
    fn name(&self) -> &'static str {
        "kdeformer"
    }

    fn summary(&self) -> &'static str {
        "for encoders: blocks of queries and keys with like hashes, and keys sampled by the norms of their values"
    }

    fn parameters(&self) -> &'static [(&'static str, &'static str)] {
        &[
            ("block_size", "keys of a block; default 64"),
            ("sample_size", "sampled keys a query sees; default 800"),
            ("projections", "sign projections of the hash; default 7"),
            ("seed", "of projections and samples; default 0"),
        ]
    }

    fn configure(&self, table: &toml::Table) -> Result<Box<dyn SparseAttention>, ParamError> {
        let settings = Settings::new(self.name(), self.parameters(), table)?;
        Ok(Box::new(KdeFormerAttention {
            block_size: settings.count("block_size", 1, 64)?,
            sample_size: settings.count("sample_size", 0, 800)?,
            projections: settings.at_most("projections", 1, SignHash::MOST, 7)?,
            seed: settings.seed()?,
        }))
    }
}

struct KdeFormerAttention {
    block_size: usize,
    sample_size: usize,
    projections: usize,
    seed: u64,
}

impl SparseAttention for KdeFormerAttention {
    fn plan(&self, shape: &GroupShape) -> Result<Vec<String>, AttentionError> {
        if shape.causal {
            return Err(AttentionError::BidirectionalOnly(KdeFormer.name()));
        }
        let mut notes = Vec::new();
        if shape.tokens <= self.block_size {
            notes.push(format!("{} tokens are one block: exact", shape.tokens));
        } else if shape.tokens <= self.block_size.saturating_add(self.sample_size) {
            notes.push(format!(
                "{} tokens are no more than block and sample together: exact attention costs less",
                shape.tokens
            ));
        }
        Ok(notes)
    }

    fn attend(
        &self,
        group: &HeadGroup<'_>,
        seen: Option<&mut dyn Seen>,
    ) -> Result<Attended, AttentionError> {
        self.plan(&group.shape())?;
        let mut run = Run::new(group, seen)?;
        let tokens = group.tokens();
        run.holds(tokens);
        let mut random = Random::new(self.seed, "kdeformer", group.layer, group.head);
        let hash = SignHash::new(self.projections, group.keys.cols(), &mut random);
        let sample = (self.sample_size > 0 && tokens > self.block_size).then(|| {
            let probabilities = probabilities(group.values, &mut random);
            draw(0..tokens, &probabilities, self.sample_size, &mut random)
        });
        for head in run.heads() {
            let mut sums = Sums::new(&run, head);
            let all = (0..tokens, 0..tokens);
            sums.add_hashed(&mut run, &hash, all, self.block_size, sample.as_ref());
            sums.finish(&mut run);
        }
        Ok(run.finish())
    }

    fn randomised(&self) -> bool {
        true
    }
}

/// What keys are drawn with, before normalisation.
fn probabilities(values: MatrixRef<'_>, random: &mut Random) -> Vec<f64> {
    let norm = operator_norm(values, random);
    let rows = (0..values.rows()).map(|row| length(values.row(row).iter().map(|x| f64::from(*x))));
    let of = |length: f64| if norm > 0.0 { length / norm } else { 0.0 };
    rows.map(|length| of(length) + 1.0 / values.rows() as f64)
        .collect()
}

/// The largest singular value of `matrix`, by the power method on `V^T V`.
fn operator_norm(matrix: MatrixRef<'_>, random: &mut Random) -> f64 {
    let mut direction: Vec<f64> = (0..matrix.cols())
        .map(|_| f64::from(random.normal()))
        .collect();
    let mut square = 0.0;
    for _ in 0..POWER_STEPS {
        let length_before = length(direction.iter().copied());
        if length_before <= 0.0 {
            return 0.0;
        }
        for value in &mut direction {
            *value /= length_before;
        }
        let mut next = vec![0.0; matrix.cols()];
        for row in 0..matrix.rows() {
            let row = matrix.row(row);
            let product: f64 = row
                .iter()
                .zip(&direction)
                .map(|(x, y)| f64::from(*x) * y)
                .sum();
            for (next, value) in next.iter_mut().zip(row) {
                *next += product * f64::from(*value);
            }
        }
        square = length(next.iter().copied());
        direction = next;
    }
    square.sqrt()
}

fn length(values: impl Iterator<Item = f64>) -> f64 {
    values.map(|value| value * value).sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_operator_norm_of_a_matrix_with_known_singular_values() {
        // Columns of lengths 5 and 2, orthogonal.
        let matrix = [3.0, 0.0, 4.0, 0.0, 0.0, 2.0];
        let matrix = MatrixRef::new(&matrix, 3, 2).unwrap();
        let norm = operator_norm(matrix, &mut Random::new(0, "test", 0, 0));
        assert!((norm - 5.0).abs() < 1e-9, "{norm}");
        let zeros = MatrixRef::new(&[0.0; 6], 3, 2).unwrap();
        assert!(operator_norm(zeros, &mut Random::new(0, "test", 0, 0)) <= 0.0);
    }
}
