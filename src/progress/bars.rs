//! Bars on a terminal.

use super::memory;
use eval::report::figures;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use std::fmt::Write;
use std::time::Duration;

/// The bars of one run, the overall one last.
pub(super) struct Bars(MultiProgress);

impl Bars {
    pub(super) fn new() -> Self {
        Self(MultiProgress::with_draw_target(
            ProgressDrawTarget::stderr_with_hz(10),
        ))
    }

    /// A new bar: the overall one shows the time left and the memory used.
    pub(super) fn add(&self, name: &str, total: u64, overall: bool) -> ProgressBar {
        let template = if overall {
            "{prefix:>12} [{bar:30}] {pos}/{len} {wide_msg} eta {eta} {memory:>10}"
        } else {
            "{prefix:>12} [{bar:30}] {pos}/{len} {wide_msg}"
        };
        let style = ProgressStyle::with_template(template)
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("=> ")
            .with_key("memory", |_: &ProgressState, line: &mut dyn Write| {
                if let Some(bytes) = memory::resident_bytes() {
                    let _ = line.write_str(&figures::bytes(bytes));
                }
            });
        let bar = self.0.add(ProgressBar::new(total));
        bar.set_style(style);
        bar.set_prefix(name.to_owned());
        bar.enable_steady_tick(Duration::from_millis(500));
        bar
    }

    /// A line above the bars.
    pub(super) fn print(&self, line: &str) {
        if self.0.println(line).is_err() {
            super::write_line(line);
        }
    }
}

/// Moves a bar on.
pub(super) fn advance(bar: &ProgressBar, count: u64) {
    bar.inc(count);
}
