//! A cache whose middle is compressed: sinks and a window are kept as they are, and tokens between them are replaced by
//! some of them with weights, a batch at a time.
//!
//! Which ones is what a [`Compressor`] decides; here is what `balance-kv`, `subgen` and `uniform` have in common.

use super::AttentionError;
use super::group::{Attended, GroupShape, HeadGroup, Seen};
use super::run::Run;
use super::settings::Settings;
use super::softmax::Listed;
use crate::ParamError;
use std::ops::Range;

/// A kept key.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Kept {
    pub(super) position: u32,
    /// Added to its logit.
    pub(super) log_weight: f32,
    /// Multiplies its value.
    pub(super) factor: f32,
}

/// Chooses which tokens of a batch stay.
pub(super) trait Compressor {
    /// The kept ones of `batch`, ascending, and how many products of two keys that took.
    fn compress(&mut self, group: &HeadGroup<'_>, batch: Range<usize>) -> (Vec<Kept>, usize);
}

/// When tokens are compressed.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Protocol {
    /// Whenever this many have left the window, while the sequence is read.
    Stream { batch: usize },
    /// All but the last tokens of the sequence are a prompt, read with exact attention and compressed once.
    Prompt { generated: usize },
}

/// The keys every such method has, and those of its own.
pub(super) const fn beside_cache<const ALL: usize>(
    own: &[(&'static str, &'static str)],
) -> [(&'static str, &'static str); ALL] {
    assert!(ALL == own.len() + CACHE_PARAMETERS.len());
    let mut all = [("", ""); ALL];
    let mut at = 0;
    while at < ALL {
        all[at] = if at < own.len() {
            own[at]
        } else {
            CACHE_PARAMETERS[at - own.len()]
        };
        at += 1;
    }
    all
}

/// Names and help of the keys [`Compressed::read`] reads.
pub(super) const CACHE_PARAMETERS: [(&str, &str); 5] = [
    ("sink", "first tokens that are kept as they are; default 32"),
    (
        "window",
        "last tokens that are kept as they are; default 32",
    ),
    (
        "protocol",
        "`stream` (default): tokens are compressed as they leave the window; `prompt`: all tokens but the last are read with exact attention and compressed once, as the published runs do",
    ),
    (
        "batch",
        "tokens that are compressed together where `protocol` is `stream`; default 256",
    ),
    (
        "generated",
        "last tokens that see the compressed prompt where `protocol` is `prompt`; default 128",
    ),
];

/// What is kept as it is, and when the rest is compressed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Compressed {
    sink: usize,
    window: usize,
    protocol: Protocol,
}

impl Compressed {
    /// Reads [`CACHE_PARAMETERS`].
    pub(super) fn read(settings: &Settings<'_>) -> Result<Self, ParamError> {
        let stream = settings.choice("protocol", &[("stream", true), ("prompt", false)])?;
        let protocol = if stream {
            Protocol::Stream {
                batch: settings.count("batch", 1, 256)?,
            }
        } else {
            Protocol::Prompt {
                generated: settings.count("generated", 0, 128)?,
            }
        };
        Ok(Self {
            sink: settings.count("sink", 0, 32)?,
            window: settings.count("window", 1, 32)?,
            protocol,
        })
    }

    /// Notes for the plan of `method`.
    pub(super) fn plan(
        &self,
        method: &'static str,
        shape: &GroupShape,
    ) -> Result<Vec<String>, AttentionError> {
        if !shape.causal {
            return Err(AttentionError::CausalOnly(method));
        }
        let kept = self.sink.saturating_add(self.window);
        Ok(match self.protocol {
            Protocol::Stream { batch } if shape.tokens < kept.saturating_add(batch) => {
                vec![format!(
                    "{} tokens are too few to compress a batch: exact",
                    shape.tokens
                )]
            }
            Protocol::Prompt { generated } => {
                let prompt = shape.tokens.saturating_sub(generated);
                vec![format!(
                    "the first {prompt} tokens are read with exact attention"
                )]
            }
            Protocol::Stream { .. } => Vec::new(),
        })
    }

    /// Attends, compressing with `compressor`.
    pub(super) fn attend(
        &self,
        method: &'static str,
        compressor: &mut dyn Compressor,
        group: &HeadGroup<'_>,
        seen: Option<&mut dyn Seen>,
    ) -> Result<Attended, AttentionError> {
        self.plan(method, &group.shape())?;
        let mut run = Run::new(group, seen)?;
        let mut cache = Cache::new(self.sink);
        let mut first = 0;
        if let Protocol::Prompt { generated } = self.protocol {
            first = run.tokens().saturating_sub(generated);
            run.exact_range(0..first);
            cache.push_to(first);
            let middle = cache.compressed_to..first.saturating_sub(self.window);
            if !middle.is_empty() {
                cache.compress(&mut run, compressor, middle);
            }
        }
        for token in first..run.tokens() {
            if let Protocol::Stream { batch } = self.protocol {
                let next = cache.compressed_to..cache.compressed_to + batch;
                if next.end + self.window <= token + 1 {
                    cache.compress(&mut run, compressor, next);
                }
            }
            cache.push_to(token + 1);
            run.holds(cache.positions.len());
            for head in run.heads() {
                run.listed(head, token, cache.listed());
            }
        }
        Ok(run.finish())
    }
}

/// The keys held: sinks, kept ones, then every token from `compressed_to` on.
struct Cache {
    positions: Vec<u32>,
    log_weights: Vec<f32>,
    factors: Vec<f32>,
    /// First token that has not been compressed; the sinks never are.
    compressed_to: usize,
    /// Tokens read.
    read: usize,
}

impl Cache {
    fn new(sink: usize) -> Self {
        Self {
            positions: Vec::new(),
            log_weights: Vec::new(),
            factors: Vec::new(),
            compressed_to: sink,
            read: 0,
        }
    }

    fn push(&mut self, kept: Kept) {
        self.positions.push(kept.position);
        self.log_weights.push(kept.log_weight);
        self.factors.push(kept.factor);
    }

    /// Reads the tokens up to `end`.
    fn push_to(&mut self, end: usize) {
        let tokens = (self.read..end).filter_map(|token| u32::try_from(token).ok());
        for position in tokens {
            self.push(Kept {
                position,
                log_weight: 0.0,
                factor: 1.0,
            });
        }
        self.read = end;
    }

    /// Replaces `batch`, the first tokens that are not compressed.
    fn compress(
        &mut self,
        run: &mut Run<'_, '_>,
        compressor: &mut dyn Compressor,
        batch: Range<usize>,
    ) {
        let (kept, products) = compressor.compress(run.group, batch.clone());
        run.count(products);
        let before = self.positions.len() - (self.read - batch.start);
        self.positions.truncate(before);
        self.log_weights.truncate(before);
        self.factors.truncate(before);
        for kept in kept {
            self.push(kept);
        }
        let read = std::mem::replace(&mut self.read, batch.end);
        self.compressed_to = batch.end;
        self.push_to(read);
    }

    fn listed(&self) -> Listed<'_> {
        Listed {
            positions: &self.positions,
            log_weights: &self.log_weights,
            factors: &self.factors,
        }
    }
}
