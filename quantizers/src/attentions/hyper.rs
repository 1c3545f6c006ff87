//! HyperAttention (arXiv 2310.05869): queries and keys sorted by a hash meet in blocks, a sample of keys stands for the
//! rest, and causal attention is cut into parts without a mask.
//!
//! Without a mask, queries and keys are sorted by sign projections; queries attend to the keys in the block of their
//! rank, and to `sample_size` sampled keys that count for all. Causal attention of more than `min_seq_len` tokens is that
//! of its two halves, and attention without a mask of the second half's queries to the first half's keys, merged by
//! log-sum-exp. `O(tokens log tokens)` products.
//!
//! `variant = "theory"` draws keys for every part without a mask, a key that is in the block already is left out, and
//! each is weighted by the inverse of its probability: half of it uniform, half by the squared norm of its value
//! (`sampling = "value-norms"`; the uniform half, which bounds the weights, is ours), or all uniform. `variant = "shipped"`
//! takes what the released kernel does instead: always the first `sample_size` keys, with weight 1 and counted twice where
//! they are in the block. (That kernel reads further blocks of 128 keys from offsets multiplied by the row stride twice;
//! here they follow the first.)
//!
//! A later key changes no earlier output. Later queries do: ranks are those among all queries of a part.

use super::group::{Attended, GroupShape, HeadGroup, Seen};
use super::hashed::{Sample, Sums};
use super::random::Random;
use super::run::Run;
use super::settings::Settings;
use super::sign_hash::SignHash;
use super::weighted_draw::draw;
use super::{Attention, AttentionError, SparseAttention};
use crate::ParamError;
use std::ops::Range;

/// The registry entry.
pub(super) struct Hyper;

impl Attention for Hyper {
    fn name(&self) -> &'static str {
        "hyper"
    }

    fn summary(&self) -> &'static str {
        "blocks of queries and keys with like hashes, and a sample of all keys; causal by recursion"
    }

    fn parameters(&self) -> &'static [(&'static str, &'static str)] {
        &[
            ("block_size", "keys of a block; default 256"),
            ("sample_size", "sampled keys a query sees; default 256"),
            ("projections", "sign projections of the hash; default 8"),
            (
                "min_seq_len",
                "tokens up to which attention is exact; default 2048",
            ),
            (
                "variant",
                "`theory` (default): keys are sampled and weighted; `shipped`: the first keys, with weight 1, as the released kernel does",
            ),
            (
                "sampling",
                "for `theory`: by `value-norms` (default) or `uniform`",
            ),
            ("seed", "of projections and samples; default 0"),
        ]
    }

    fn usual(&self, tokens: usize) -> String {
        let part = (tokens / 8).max(1);
        format!(
            "min_seq_len={} block_size={part} sample_size={part}",
            2 * part
        )
    }

    fn configure(&self, table: &toml::Table) -> Result<Box<dyn SparseAttention>, ParamError> {
        let settings = Settings::new(self.name(), self.parameters(), table)?;
        let shipped = settings.choice("variant", &[("theory", false), ("shipped", true)])?;
        if shipped && table.contains_key("sampling") {
            return Err(settings.refuse("sampling", "no such key, as `variant` is `shipped`"));
        }
        let by_norms = settings.choice("sampling", &[("value-norms", true), ("uniform", false)])?;
        Ok(Box::new(HyperAttention {
            block_size: settings.count("block_size", 1, 256)?,
            sample_size: settings.count("sample_size", 0, 256)?,
            projections: settings.at_most("projections", 1, SignHash::MOST, 8)?,
            min_seq_len: settings.count("min_seq_len", 1, 2048)?,
            sampling: match (shipped, by_norms) {
                (true, _) => Sampling::First,
                (false, true) => Sampling::ValueNorms,
                (false, false) => Sampling::Uniform,
            },
            seed: settings.seed()?,
        }))
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Sampling {
    ValueNorms,
    Uniform,
    /// No draw: the first keys, as released.
    First,
}

struct HyperAttention {
    block_size: usize,
    sample_size: usize,
    projections: usize,
    min_seq_len: usize,
    sampling: Sampling,
    seed: u64,
}

impl SparseAttention for HyperAttention {
    fn plan(&self, shape: &GroupShape) -> Result<Vec<String>, AttentionError> {
        let short = if shape.causal {
            shape.tokens <= self.min_seq_len
        } else {
            shape.tokens < self.min_seq_len
        };
        let note = || {
            format!(
                "{} tokens are no more than min_seq_len: exact",
                shape.tokens
            )
        };
        Ok(short.then(note).into_iter().collect())
    }

    fn attend(
        &self,
        group: &HeadGroup<'_>,
        seen: Option<&mut dyn Seen>,
    ) -> Result<Attended, AttentionError> {
        let mut run = Run::new(group, seen)?;
        run.holds(group.tokens());
        let mut random = Random::new(self.seed, "hyper", group.layer, group.head);
        let hash = SignHash::new(self.projections, group.keys.cols(), &mut random);
        for head in run.heads() {
            let mut part = Part {
                settings: self,
                hash: &hash,
                random: Random::new(self.seed, "hyper sample", group.layer, group.head),
                sums: Sums::new(&run, head),
            };
            if group.causal {
                part.causal(&mut run, 0..group.tokens());
            } else {
                part.unmasked(&mut run, 0..group.tokens(), 0..group.tokens());
            }
            part.sums.finish(&mut run);
        }
        Ok(run.finish())
    }

    fn randomised(&self) -> bool {
        true
    }
}

/// The recursion of one query head.
struct Part<'a> {
    settings: &'a HyperAttention,
    hash: &'a SignHash,
    /// The same for every query head: heads of a group share their samples.
    random: Random,
    sums: Sums,
}

impl Part<'_> {
    fn causal(&mut self, run: &mut Run<'_, '_>, tokens: Range<usize>) {
        if tokens.len() <= self.settings.min_seq_len {
            self.sums.add_range(run, tokens.clone(), tokens, true);
            return;
        }
        let middle = tokens.start + tokens.len().div_ceil(2);
        self.causal(run, tokens.start..middle);
        self.causal(run, middle..tokens.end);
        self.unmasked(run, middle..tokens.end, tokens.start..middle);
    }

    fn unmasked(&mut self, run: &mut Run<'_, '_>, queries: Range<usize>, keys: Range<usize>) {
        if queries.len() < self.settings.min_seq_len {
            self.sums.add_range(run, queries, keys, false);
            return;
        }
        let sample = self.sample(run.group, keys.clone());
        let block_size = self.settings.block_size;
        self.sums
            .add_hashed(run, self.hash, (queries, keys), block_size, sample.as_ref());
    }

    /// The keys that stand for those outside of the blocks, if there are any.
    fn sample(&mut self, group: &HeadGroup<'_>, keys: Range<usize>) -> Option<Sample> {
        let count = self.settings.sample_size;
        if count == 0 || keys.len() <= self.settings.block_size {
            return None;
        }
        let uniform = 1.0 / keys.len() as f64;
        let probabilities = match self.settings.sampling {
            Sampling::Uniform => vec![uniform; keys.len()],
            Sampling::ValueNorms => {
                let values = keys.clone().map(|key| group.values.row(key).iter());
                let squares: Vec<f64> = values
                    .map(|row| row.map(|value| f64::from(*value).powi(2)).sum())
                    .collect();
                let total: f64 = squares.iter().sum();
                let share = |square: f64| if total > 0.0 { square / total } else { uniform };
                squares
                    .into_iter()
                    .map(|square| 0.5 * (share(square) + uniform))
                    .collect()
            }
            Sampling::First => {
                let positions = (0..).skip(keys.start).take(count.min(keys.len()));
                let positions: Vec<u32> = positions.collect();
                return Some(Sample {
                    log_weights: vec![0.0; positions.len()],
                    positions,
                    skips_covered: false,
                });
            }
        };
        Some(draw(keys, &probabilities, count, &mut self.random))
    }
}
