//! Delta Attention (arXiv 2505.11254): a cheap attention for all queries, corrected by what it gets wrong for every
//! `gamma`-th one.
//!
//! For every `gamma`-th query `i` the exact output is computed too; its difference to the cheap one is added to the
//! outputs of the queries `i .. i + gamma`. The last queries are exact, as they precede the first generated token. Extra
//! cost: `1 / gamma` of exact attention, and the last queries. With `mode = "recompute"` the exact outputs replace those
//! of their own queries and correct no other: the control that shows what the correction itself is worth.

use super::group::{Attended, GroupShape, HeadGroup, Seen};
use super::hip::HipSearch;
use super::run::Run;
use super::settings::{SINK, Settings, WINDOW};
use super::sink_window::SinkWindowAttention;
use super::{Attention, AttentionError, SparseAttention};
use crate::ParamError;

/// The fewest queries at the end that are exact, unless `tail` says otherwise.
const TAIL: usize = 128;

/// The registry entry.
pub(super) struct Delta;

impl Attention for Delta {
    fn name(&self) -> &'static str {
        "delta"
    }

    fn summary(&self) -> &'static str {
        "a window or `hip`, corrected by the exact output of every 64th query"
    }

    fn parameters(&self) -> &'static [(&'static str, &'static str)] {
        &[
            (
                "gamma",
                "distance of the queries that are also computed exactly; default 64",
            ),
            (
                "mode",
                "`delta` (default): their differences correct the queries up to the next one; `recompute`: they replace their own output only",
            ),
            (
                "tail",
                "last queries that are exact; default (tokens mod gamma) + max(128, gamma). Set 0 to measure the correction on the last queries",
            ),
            (
                "base",
                "what is corrected: `sink-window` (default) or `hip`",
            ),
            (
                "sink",
                "first tokens that every query sees, for `sink-window`; default 64",
            ),
            (
                "window",
                "last tokens a query sees, for `sink-window`; default 2048",
            ),
            ("k", "keys a query keeps, for `hip`; default 512"),
            (
                "block_size_q",
                "queries that choose together, for `hip`; default 32",
            ),
            (
                "block_size_k",
                "keys that are kept together, for `hip`; default 2",
            ),
        ]
    }

    fn usual(&self, tokens: usize) -> String {
        // The last queries, which are compared, are not exact.
        format!("sink=16 window={} tail=0", (tokens / 4).max(1))
    }

    fn configure(&self, table: &toml::Table) -> Result<Box<dyn SparseAttention>, ParamError> {
        let settings = Settings::new(self.name(), self.parameters(), table)?;
        let window = settings.choice("base", &[("sink-window", true), ("hip", false)])?;
        let others: &[&str] = if window {
            &["k", "block_size_q", "block_size_k"]
        } else {
            &["sink", "window"]
        };
        if let Some(key) = others.iter().find(|key| table.contains_key(**key)) {
            return Err(settings.refuse(key, "no such key, as `base` is the other attention"));
        }
        let base = if window {
            Base::Window(SinkWindowAttention {
                sink: settings.count("sink", 0, SINK)?,
                window: settings.count("window", 1, WINDOW)?,
            })
        } else {
            Base::Hip(HipSearch::new(
                settings.count("k", 1, HipSearch::KEYS)?,
                settings.count("block_size_q", 1, HipSearch::QUERIES)?,
                settings.count("block_size_k", 1, HipSearch::BLOCK)?,
            ))
        };
        let tail = settings.maybe_count("tail")?;
        Ok(Box::new(DeltaAttention {
            gamma: settings.count("gamma", 1, 64)?,
            corrects: settings.choice("mode", &[("delta", true), ("recompute", false)])?,
            tail,
            base,
        }))
    }
}

enum Base {
    Window(SinkWindowAttention),
    Hip(HipSearch),
}

struct DeltaAttention {
    gamma: usize,
    /// Whether differences correct other queries.
    corrects: bool,
    tail: Option<usize>,
    base: Base,
}

impl DeltaAttention {
    /// Last queries that are exact.
    fn tail(&self, tokens: usize) -> usize {
        let default = || (tokens % self.gamma).saturating_add(self.gamma.max(TAIL));
        self.tail.unwrap_or_else(default).min(tokens)
    }
}

impl SparseAttention for DeltaAttention {
    fn plan(&self, shape: &GroupShape) -> Result<Vec<String>, AttentionError> {
        if !shape.causal {
            return Err(AttentionError::CausalOnly(Delta.name()));
        }
        Ok(match self.tail(shape.tokens) {
            0 => Vec::new(),
            tail => vec![format!("the last {tail} queries are exact")],
        })
    }

    fn attend(
        &self,
        group: &HeadGroup<'_>,
        seen: Option<&mut dyn Seen>,
    ) -> Result<Attended, AttentionError> {
        self.plan(&group.shape())?;
        let mut run = Run::new(group, seen)?;
        // Every query is corrected by the one before it that is computed exactly.
        let first = (0..run.tokens()).find(|token| !run.skips(*token));
        let first = first.unwrap_or(run.tokens());
        run.need_from(first - first % self.gamma);
        match &self.base {
            Base::Window(window) => window.run(&mut run),
            Base::Hip(search) => search.run(&mut run),
        }
        // Exact outputs need every key.
        run.holds(group.tokens());
        let end = group.tokens() - self.tail(group.tokens());
        for anchor in (0..end).step_by(self.gamma) {
            for head in run.heads() {
                self.correct(&mut run, head, anchor..end.min(anchor + self.gamma));
            }
        }
        run.exact_range(end..group.tokens());
        Ok(run.finish())
    }
}

impl DeltaAttention {
    /// Computes the first query of `queries` exactly and corrects the others by its difference.
    fn correct(&self, run: &mut Run<'_, '_>, head: usize, queries: std::ops::Range<usize>) {
        let sparse = run.output(head, queries.start).to_vec();
        run.exact(head, queries.start);
        if !self.corrects {
            return;
        }
        let exact = run.output(head, queries.start).iter();
        let difference: Vec<f32> = exact
            .zip(&sparse)
            .map(|(exact, sparse)| exact - sparse)
            .collect();
        for token in queries.skip(1) {
            let output = run.output(head, token).iter_mut();
            for (output, difference) in output.zip(&difference) {
                *output += difference;
            }
        }
    }
}
