//! BalanceKV (arXiv 2502.07861): tokens between sinks and window are halved again and again by a self-balancing walk,
//! so that the half that stays stands for the half that goes better than a random half would.
//!
//! The variant is the released one. Each halving takes blocks of tokens, centres their keys, and gives every token a
//! sign: `s_0 = +1`, `s_i = +1` with probability `1/2 - gamma * sum_{j<i} M_ij s_j`, with the kernel
//! `M_ij = exp(temperature * scale * <k_i, k_j> - beta) * (<v_i, v_j> + 0.025)`. Of all blocks together, tokens are
//! taken up to the one where the second class reaches half of all; there the class of that token goes (weight -2), the
//! other stays with weight 2, and later tokens have weight 1. The half with the largest weights stays. Logits of kept
//! tokens get `ln 2^T` after `T` halvings, values are multiplied by the product of their weights over `2^T`.
//! Keys are those of one key-value head, whatever the number of query heads.

use super::compressed::{CACHE_PARAMETERS, Compressed, Compressor, Kept, beside_cache};
use super::group::{Attended, GroupShape, HeadGroup, Seen};
use super::random::Random;
use super::settings::Settings;
use super::{Attention, AttentionError, SparseAttention};
use crate::ParamError;
use std::ops::Range;

/// Added to the product of two values, so that the walk also balances the denominator.
const DENOMINATOR: f64 = 0.025;

/// Halvings that leave one of a million million tokens.
const MOST_ITERATIONS: i64 = 40;

/// The registry entry.
pub(super) struct BalanceKv;

static PARAMETERS: [(&str, &str); CACHE_PARAMETERS.len() + 6] = beside_cache(&[
    (
        "iterations",
        "halvings: 2 (default) keep a quarter of the tokens between sinks and window",
    ),
    (
        "block_size",
        "tokens that are balanced against each other; default 128",
    ),
    (
        "gamma",
        "how strongly the walk corrects itself; 0 is a random half; default 4",
    ),
    (
        "temperature",
        "factor of the logits in the kernel; default 1",
    ),
    (
        "beta",
        "subtracted from the logits in the kernel; default 0",
    ),
    ("seed", "of the random signs; default 0"),
]);

impl Attention for BalanceKv {
    fn name(&self) -> &'static str {
        "balance-kv"
    }

    fn summary(&self) -> &'static str {
        "sinks, a window, and a part of the tokens between that a self-balancing walk leaves"
    }

    fn parameters(&self) -> &'static [(&'static str, &'static str)] {
        &PARAMETERS
    }

    fn configure(&self, table: &toml::Table) -> Result<Box<dyn SparseAttention>, ParamError> {
        let settings = Settings::new(self.name(), self.parameters(), table)?;
        let iterations = settings.at_most("iterations", 0, MOST_ITERATIONS, 2)?;
        Ok(Box::new(BalanceKvAttention {
            cache: Compressed::read(&settings)?,
            walk: Walk {
                iterations: u8::try_from(iterations).unwrap_or(0),
                block_size: settings.count("block_size", 2, 128)?,
                gamma: settings.number("gamma", 0.0..=1e6, 4.0)?,
                temperature: settings.number("temperature", 0.0..=1e6, 1.0)?,
                beta: settings.number("beta", -1e6..=1e6, 0.0)?,
            },
            seed: settings.seed()?,
        }))
    }
}

struct BalanceKvAttention {
    cache: Compressed,
    walk: Walk,
    seed: u64,
}

impl SparseAttention for BalanceKvAttention {
    fn plan(&self, shape: &GroupShape) -> Result<Vec<String>, AttentionError> {
        self.cache.plan(BalanceKv.name(), shape)
    }

    fn attend(
        &self,
        group: &HeadGroup<'_>,
        seen: Option<&mut dyn Seen>,
    ) -> Result<Attended, AttentionError> {
        let mut halving = Halving {
            walk: self.walk,
            random: Random::new(self.seed, "balance-kv", group.layer, group.head),
        };
        self.cache
            .attend(BalanceKv.name(), &mut halving, group, seen)
    }

    fn randomised(&self) -> bool {
        true
    }
}

#[derive(Debug, Clone, Copy)]
struct Walk {
    iterations: u8,
    block_size: usize,
    gamma: f64,
    temperature: f64,
    beta: f64,
}

struct Halving {
    walk: Walk,
    random: Random,
}

/// A token that has survived so far.
#[derive(Debug, Clone, Copy)]
struct Survivor {
    token: usize,
    weight: f32,
}

impl Compressor for Halving {
    fn compress(&mut self, group: &HeadGroup<'_>, batch: Range<usize>) -> (Vec<Kept>, usize) {
        let all = 1_usize << self.walk.iterations;
        let mut survivors: Vec<Survivor> =
            batch.map(|token| Survivor { token, weight: 1.0 }).collect();
        let (mut log_weight, mut share, mut products) = (0.0, 1.0, 0);
        // Fewer tokens than halvings leave one of are kept as they are.
        if survivors.len() >= all {
            for _ in 0..self.walk.iterations {
                products += self.halve(group, &mut survivors);
            }
            log_weight = (all as f32).ln();
            share = 1.0 / all as f32;
        }
        let kept = survivors.into_iter().filter_map(|survivor| {
            Some(Kept {
                position: u32::try_from(survivor.token).ok()?,
                log_weight,
                factor: survivor.weight * share,
            })
        });
        (kept.collect(), products)
    }
}

impl Halving {
    /// One halving; returns the products of keys.
    fn halve(&mut self, group: &HeadGroup<'_>, survivors: &mut Vec<Survivor>) -> usize {
        let mut signs = Vec::with_capacity(survivors.len());
        let mut products = 0;
        for block in survivors.chunks(self.walk.block_size) {
            products += self.signs(group, block, &mut signs);
        }
        let weights = weights(&signs);
        for (survivor, weight) in survivors.iter_mut().zip(&weights) {
            survivor.weight *= f32::from(*weight);
        }
        let half = survivors.len() / 2;
        let mut order: Vec<usize> = (0..survivors.len()).collect();
        order.sort_by_key(|at| -weights[*at]);
        order.truncate(half);
        order.sort_unstable();
        *survivors = order.into_iter().map(|at| survivors[at]).collect();
        products
    }

    /// Appends the signs of one block; returns the products of keys.
    fn signs(&mut self, group: &HeadGroup<'_>, block: &[Survivor], out: &mut Vec<bool>) -> usize {
        let dim = group.keys.cols();
        let mut keys: Vec<f32> = Vec::with_capacity(block.len() * dim);
        for survivor in block {
            keys.extend_from_slice(group.keys.row(survivor.token));
        }
        for channel in 0..dim {
            let column = keys.iter().skip(channel).step_by(dim);
            let mean = column.sum::<f32>() / block.len() as f32;
            for value in keys.iter_mut().skip(channel).step_by(dim) {
                *value -= mean;
            }
        }
        let key = |at: usize| &keys[at * dim..][..dim];
        let value = |at: usize| group.values.row(block[at].token);
        let first = out.len();
        out.push(true);
        for i in 1..block.len() {
            let mut inner = 0.0;
            for j in 0..i {
                let logit = f64::from(group.scale) * dot(key(i), key(j));
                let values = f64::from(block[i].weight * block[j].weight) * dot(value(i), value(j));
                let kernel =
                    (self.walk.temperature * logit - self.walk.beta).exp() * (values + DENOMINATOR);
                inner += if out[first + j] { kernel } else { -kernel };
            }
            out.push(self.random.uniform() < 0.5 - self.walk.gamma * inner);
        }
        block.len() * (block.len() - 1) / 2
    }
}

fn dot(left: &[f32], right: &[f32]) -> f64 {
    let products = left.iter().zip(right).map(|(x, y)| x * y);
    f64::from(products.sum::<f32>())
}

/// 2 for a token that stays in the place of another, -2 for that other, 1 for those after the balance is reached.
fn weights(signs: &[bool]) -> Vec<i8> {
    let half = signs.len() / 2;
    // Where each class has half of all tokens; 0 where it never does.
    let reached = |class: bool| {
        let mut count = 0;
        let counts = signs.iter().map(|sign| {
            count += usize::from(*sign == class);
            count
        });
        counts
            .into_iter()
            .position(|count| count == half)
            .unwrap_or(0)
    };
    let end = reached(true).max(reached(false));
    let goes = signs.get(end).copied();
    let of = |(at, sign): (usize, &bool)| match at <= end {
        true if Some(*sign) == goes => -2,
        true => 2,
        false => 1,
    };
    signs.iter().enumerate().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_worked_by_hand() {
        let of = |signs: &str| weights(&signs.chars().map(|sign| sign == '+').collect::<Vec<_>>());
        // The second plus is half of four: pluses go, the rest stays.
        assert_eq!(of("++-+"), [-2, -2, 1, 1]);
        assert_eq!(of("+-+-"), [2, -2, 2, -2]);
        assert_eq!(of("+--+--"), [2, -2, -2, 2, -2, 1]);
    }

    #[test]
    fn half_of_the_tokens_stay_and_their_weights_are_about_all_of_them() {
        let tokens = 96;
        let keys: Vec<f32> = (0..tokens * 4)
            .map(|at| ((at * at % 37) as f32 / 37.0) - 0.5)
            .collect();
        let keys = crate::MatrixRef::new(&keys, tokens, 4).unwrap();
        let queries = [keys];
        let group = HeadGroup {
            queries: &queries,
            keys,
            values: keys,
            scale: 0.5,
            causal: true,
            layer: 0,
            layers: 1,
            head: 0,
            rotary: None,
        };
        let mut halving = Halving {
            walk: Walk {
                iterations: 2,
                block_size: 32,
                gamma: 4.0,
                temperature: 1.0,
                beta: 0.0,
            },
            random: Random::new(0, "test", 0, 0),
        };
        let (kept, products) = halving.compress(&group, 0..tokens);
        assert_eq!(kept.len(), tokens / 4);
        assert!(kept.is_sorted_by_key(|kept| kept.position));
        // 3 blocks of 32 tokens, then 32 and 16.
        assert_eq!(products, 4 * (32 * 31 / 2) + 16 * 15 / 2);
        let total: f32 = kept
            .iter()
            .map(|kept| kept.factor * kept.log_weight.exp())
            .sum();
        assert!((total / tokens as f32 - 1.0).abs() < 0.2, "{total}");
        let (kept, products) = halving.compress(&group, 5..8);
        assert_eq!((kept.len(), products), (3, 0));
        assert!(
            kept.iter()
                .all(|kept| (kept.factor, kept.log_weight) == (1.0, 0.0))
        );
    }
}
