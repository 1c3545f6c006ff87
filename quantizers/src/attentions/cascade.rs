//! The Cascading KV cache (arXiv 2406.17808): sinks, and ring buffers of which each keeps its tokens twice as long as
//! the one before it.
//!
//! The window is cut into buffers of equal size. New tokens enter buffer 0; what a full buffer drops is offered to the
//! next. Buffer `i` accepts at every `2^i`-th token of the sequence; at others it compares the offered token with its
//! newest one by the attention they have received, and keeps the better of the two. Until all buffers are full, every
//! offer is accepted. The attention a token has received is an exponential moving average,
//! `score <- beta * score + (1 - beta) * share`, of the largest share among the query heads of the group.
//!
//! Sequences are read in strides: the queries of a stride see the cache as it was before it, and each other causally.
//! With `positions = "consecutive"` keys are rotated to their place in the cache, so positions never exceed its size.

use super::group::{Attended, GroupShape, HeadGroup, Rotary, Seen};
use super::moved::MovedKeys;
use super::run::Run;
use super::settings::{SINK, Settings, WINDOW};
use super::{Attention, AttentionError, SparseAttention};
use crate::ParamError;
use std::collections::VecDeque;
use std::ops::Range;

/// The registry entry.
pub(super) struct Cascade;

impl Attention for Cascade {
    fn name(&self) -> &'static str {
        "cascade"
    }

    fn summary(&self) -> &'static str {
        "sinks and cascading ring buffers that keep tokens longer the more attention they receive"
    }

    fn parameters(&self) -> &'static [(&'static str, &'static str)] {
        &[
            ("sink", "first tokens that are always kept; default 64"),
            ("window", "tokens all buffers hold together; default 2048"),
            (
                "cascades",
                "buffers, each accepting half as often as the one before; default 4",
            ),
            (
                "beta",
                "decay of the attention a token has received, for each query; default exp(-ln 100 / window)",
            ),
            ("stride", "tokens that are read at once; default 1024"),
            (
                "positions",
                "`consecutive` (default): keys are rotated to their place in the cache, which needs a rotary embedding; `original`: positions stay",
            ),
        ]
    }

    fn usual(&self, tokens: usize) -> String {
        let quarter = (tokens / 4).max(4);
        format!("sink=16 window={quarter} stride={}", quarter / 2)
    }

    fn configure(&self, table: &toml::Table) -> Result<Box<dyn SparseAttention>, ParamError> {
        let settings = Settings::new(self.name(), self.parameters(), table)?;
        let window = settings.count("window", 1, WINDOW)?;
        let cascades = settings.count("cascades", 1, 4)?;
        if cascades > window.min(60) {
            return Err(settings.refuse("cascades", "at most 60, and at most `window`"));
        }
        let beta = settings.maybe("beta", 0.0..=1.0)?;
        #[expect(clippy::cast_possible_truncation, reason = "scores are f32")]
        let beta = beta.unwrap_or_else(|| (-(100.0_f64.ln()) / window as f64).exp()) as f32;
        Ok(Box::new(CascadeAttention {
            sink: settings.count("sink", 0, SINK)?,
            buffer: window / cascades,
            cascades,
            beta,
            stride: settings.count("stride", 1, 1024)?,
            moves: settings.choice("positions", &[("consecutive", true), ("original", false)])?,
        }))
    }
}

struct CascadeAttention {
    sink: usize,
    /// Tokens of one buffer.
    buffer: usize,
    cascades: usize,
    beta: f32,
    stride: usize,
    /// Whether keys are rotated to their place in the cache.
    moves: bool,
}

impl SparseAttention for CascadeAttention {
    fn plan(&self, shape: &GroupShape) -> Result<Vec<String>, AttentionError> {
        if !shape.causal {
            return Err(AttentionError::CausalOnly(Cascade.name()));
        }
        if self.moves && !shape.rotary {
            return Err(AttentionError::NeedsRotary(Cascade.name()));
        }
        let holds = self.sink.saturating_add(self.buffer * self.cascades);
        let note = || format!("{} tokens fit into the cache: exact", shape.tokens);
        Ok((shape.tokens <= holds).then(note).into_iter().collect())
    }

    fn attend(
        &self,
        group: &HeadGroup<'_>,
        seen: Option<&mut dyn Seen>,
    ) -> Result<Attended, AttentionError> {
        self.plan(&group.shape())?;
        let rotary = group.rotary.filter(|_| self.moves);
        let mut run = Run::new(group, seen)?;
        let mut cache = Cache {
            sinks: Vec::new(),
            buffers: vec![VecDeque::new(); self.cascades],
        };
        for start in (0..run.tokens()).step_by(self.stride) {
            let tokens = start..run.tokens().min(start + self.stride);
            let slots = self.read(&mut run, rotary, cache.ordered(), tokens.clone());
            cache.replace(&slots);
            for (token, slot) in tokens.clone().zip(&slots[slots.len() - tokens.len()..]) {
                self.insert(&mut cache, token, *slot);
            }
        }
        Ok(run.finish())
    }
}

/// A token in the cache and the attention it has received.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Slot {
    position: u32,
    score: f32,
}

struct Cache {
    sinks: Vec<Slot>,
    /// Oldest token first, each.
    buffers: Vec<VecDeque<Slot>>,
}

impl Cache {
    /// All slots, oldest token first.
    fn ordered(&self) -> Vec<Slot> {
        let buffers = self.buffers.iter().rev().flatten();
        self.sinks.iter().chain(buffers).copied().collect()
    }

    /// Takes the scores of `slots`, which begin as [`Cache::ordered`] does.
    fn replace(&mut self, slots: &[Slot]) {
        let buffers = self.buffers.iter_mut().rev().flatten();
        for (own, slot) in self.sinks.iter_mut().chain(buffers).zip(slots) {
            *own = *slot;
        }
    }
}

impl CascadeAttention {
    /// Attends with the queries of `tokens` to `slots` and to each other; returns the slots of both, with new scores.
    fn read(
        &self,
        run: &mut Run<'_, '_>,
        rotary: Option<&dyn Rotary>,
        mut slots: Vec<Slot>,
        tokens: Range<usize>,
    ) -> Vec<Slot> {
        let cached = slots.len();
        let new = run.positions(tokens.start, tokens.end).iter();
        slots.extend(new.map(|position| Slot {
            position: *position,
            score: 0.0,
        }));
        run.holds(slots.len());
        let positions: Vec<u32> = slots.iter().map(|slot| slot.position).collect();
        let keys = MovedKeys::new(run.group, rotary, &positions);
        for (at, token) in (cached..).zip(tokens) {
            let mut received = vec![0.0_f32; at + 1];
            for head in run.heads() {
                let shares = keys.attend(run, (head, token), at);
                for (received, share) in received.iter_mut().zip(shares) {
                    *received = received.max(share);
                }
            }
            for (slot, share) in slots.iter_mut().zip(received) {
                slot.score = self.beta * slot.score + (1.0 - self.beta) * share;
            }
        }
        slots
    }

    /// Puts `slot`, which holds `token`, into the cache.
    fn insert(&self, cache: &mut Cache, token: usize, slot: Slot) {
        if cache.sinks.len() < self.sink {
            cache.sinks.push(slot);
            return;
        }
        let filling = token < self.sink + self.buffer * self.cascades;
        let mut offered = slot;
        for (index, buffer) in cache.buffers.iter_mut().enumerate() {
            let accepts = filling || (token - self.sink).is_multiple_of(1 << index);
            if buffer.len() < self.buffer {
                buffer.push_back(offered);
                return;
            }
            if !accepts {
                if let Some(newest) = buffer.back_mut()
                    && newest.score < offered.score
                {
                    *newest = offered;
                }
                return;
            }
            buffer.push_back(offered);
            let Some(oldest) = buffer.pop_front() else {
                return;
            };
            offered = oldest;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `tokens` tokens leave in the buffers, oldest first; `score` is what a token has received.
    fn left(tokens: u16, score: fn(u16) -> f32) -> Vec<Vec<u32>> {
        let method = CascadeAttention {
            sink: 1,
            buffer: 2,
            cascades: 3,
            beta: 0.9,
            stride: 1,
            moves: false,
        };
        let mut cache = Cache {
            sinks: Vec::new(),
            buffers: vec![VecDeque::new(); 3],
        };
        for token in 0..tokens {
            let slot = Slot {
                position: u32::from(token),
                score: score(token),
            };
            method.insert(&mut cache, usize::from(token), slot);
        }
        let positions = |buffer: &VecDeque<Slot>| buffer.iter().map(|slot| slot.position).collect();
        cache.buffers.iter().map(positions).collect()
    }

    #[test]
    fn the_last_tokens_are_kept_until_the_cache_is_full() {
        assert_eq!(left(7, |_| 0.0), [[5, 6], [3, 4], [1, 2]]);
    }

    #[test]
    fn later_buffers_accept_every_second_and_every_fourth_token() {
        // Counted from the end of the sinks, token 7 is step 6: buffer 1 accepts token 5, buffer 2 does not take token 3.
        assert_eq!(left(8, |_| 0.0), [[6, 7], [4, 5], [1, 2]]);
        // Step 7: buffer 1 drops token 6.
        assert_eq!(left(9, |_| 0.0), [[7, 8], [4, 5], [1, 2]]);
        // Step 8: both accept; token 1 is gone.
        assert_eq!(left(10, |_| 0.0), [[8, 9], [5, 7], [2, 4]]);
    }

    #[test]
    fn a_token_with_more_attention_replaces_the_newest_one() {
        // Token 6 is offered at step 7 and better than token 5.
        let left = left(9, |token| if token == 6 { 1.0 } else { 0.0 });
        assert_eq!(left, [[7, 8], [4, 6], [1, 2]]);
    }
}
