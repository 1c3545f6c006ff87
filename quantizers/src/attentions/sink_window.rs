//! Attention sinks and a sliding window: the first tokens and the last ones, and nothing between. A control that every
//! method with a budget has to beat.

use super::group::{Attended, GroupShape, HeadGroup, Seen};
use super::run::Run;
use super::settings::{SINK, Settings, WINDOW};
use super::softmax::Listed;
use super::{Attention, AttentionError, SparseAttention};
use crate::ParamError;

/// The registry entry.
pub(super) struct SinkWindow;

impl Attention for SinkWindow {
    fn name(&self) -> &'static str {
        "sink-window"
    }

    fn summary(&self) -> &'static str {
        "control: the first tokens and a sliding window of the last ones"
    }

    fn parameters(&self) -> &'static [(&'static str, &'static str)] {
        &[
            ("sink", "first tokens that every query sees; default 64"),
            (
                "window",
                "last tokens a query sees, itself among them; default 2048",
            ),
        ]
    }

    fn usual(&self, tokens: usize) -> String {
        format!("sink=16 window={}", tokens / 4)
    }

    fn configure(&self, table: &toml::Table) -> Result<Box<dyn SparseAttention>, ParamError> {
        let settings = Settings::new(self.name(), self.parameters(), table)?;
        Ok(Box::new(SinkWindowAttention {
            sink: settings.count("sink", 0, SINK)?,
            window: settings.count("window", 1, WINDOW)?,
        }))
    }
}

/// Sinks and a window.
#[derive(Debug, Clone, Copy)]
pub(super) struct SinkWindowAttention {
    pub(super) sink: usize,
    pub(super) window: usize,
}

impl SinkWindowAttention {
    /// The keys the query at `token` sees, ascending.
    fn positions(&self, run: &Run<'_, '_>, token: usize, out: &mut Vec<u32>) {
        let from = (token + 1).saturating_sub(self.window);
        let to = if run.group.causal {
            token + 1
        } else {
            token.saturating_add(self.window).min(run.tokens())
        };
        let sink = self.sink.min(from);
        out.clear();
        out.extend_from_slice(run.positions(0, sink));
        out.extend_from_slice(run.positions(from, to));
    }

    /// Attends with the queries of all tokens.
    pub(super) fn run(&self, run: &mut Run<'_, '_>) {
        let mut positions = Vec::new();
        for token in 0..run.tokens() {
            if run.skips(token) {
                continue;
            }
            self.positions(run, token, &mut positions);
            for head in run.heads() {
                run.listed(head, token, Listed::plain(&positions));
            }
            run.holds(positions.len());
        }
    }
}

impl SparseAttention for SinkWindowAttention {
    fn plan(&self, shape: &GroupShape) -> Result<Vec<String>, AttentionError> {
        let all = shape.tokens <= self.sink.saturating_add(self.window);
        let note = || format!("{} tokens fit into sinks and window: exact", shape.tokens);
        Ok(all.then(note).into_iter().collect())
    }

    fn attend(
        &self,
        group: &HeadGroup<'_>,
        seen: Option<&mut dyn Seen>,
    ) -> Result<Attended, AttentionError> {
        let mut run = Run::new(group, seen)?;
        self.run(&mut run);
        Ok(run.finish())
    }
}
