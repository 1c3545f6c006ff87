//! What a person sees while the work is done; all of it on stderr.
//!
//! On a terminal: a bar over the blocks with the time left, one over the current step, one line per
//! finished layer, resident memory at the right. Elsewhere plain lines, or JSON lines, or nothing.

mod bars;
mod events;
pub mod interrupt;
mod layer_line;
pub mod memory;

pub use layer_line::FinishedLayer;

use crate::args::{ConsoleArgs, ProgressMode};
use bars::Bars;
use calib::data::Remark;
use calib::hub::{HubEvent, HubProgress};
use eval::report::figures;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Where progress goes; shared by all threads.
pub struct Progress {
    output: Output,
    verbosity: Verbosity,
    warnings: Mutex<Vec<String>>,
    /// Those already made.
    remarks: Mutex<BTreeSet<Remark>>,
    download: Mutex<Option<Download>>,
}

enum Output {
    Bars(Bars),
    Plain,
    Json,
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Verbosity {
    Quiet,
    Normal,
    Verbose,
}

/// Something being counted; ends when dropped.
pub struct Track {
    name: String,
    total: u64,
    done: AtomicU64,
    started: Instant,
    last_line: Mutex<Instant>,
    shown: Shown,
}

enum Shown {
    Bar(indicatif::ProgressBar),
    Lines { json: bool },
    Nothing,
}

/// Plain lines of one track are at least this far apart.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

impl Progress {
    /// As the command line says; `auto` is bars on a terminal and plain lines elsewhere.
    pub fn new(console: &ConsoleArgs) -> Self {
        let verbosity = match (console.quiet, console.verbose) {
            (true, _) => Verbosity::Quiet,
            (_, true) => Verbosity::Verbose,
            _ => Verbosity::Normal,
        };
        let output = match console.progress {
            ProgressMode::None => Output::None,
            ProgressMode::Json => Output::Json,
            _ if verbosity == Verbosity::Quiet => Output::None,
            ProgressMode::Auto if std::io::stderr().is_terminal() => Output::Bars(Bars::new()),
            ProgressMode::Auto | ProgressMode::Plain => Output::Plain,
        };
        Self::with(output, verbosity)
    }

    /// Shows nothing; for tests and for callers that have their own display.
    pub fn silent() -> Self {
        Self::with(Output::None, Verbosity::Quiet)
    }

    fn with(output: Output, verbosity: Verbosity) -> Self {
        Self {
            output,
            verbosity,
            warnings: Mutex::default(),
            remarks: Mutex::default(),
            download: Mutex::default(),
        }
    }

    /// Starts the overall bar of a stage of the road: `total` blocks (or layers, files, windows).
    pub fn stage(&self, name: &str, total: usize) -> Track {
        self.track(name, total as u64, true)
    }

    /// Starts the bar of the current step below it.
    pub fn step(&self, name: &str, total: usize) -> Track {
        self.track(name, total as u64, false)
    }

    fn track(&self, name: &str, total: u64, overall: bool) -> Track {
        let shown = match &self.output {
            Output::Bars(bars) => Shown::Bar(bars.add(name, total, overall)),
            Output::Plain => {
                // Steps are too many for lines; they report by interval only.
                if overall {
                    write_line(&format!("{name}: 0/{total}"));
                }
                Shown::Lines { json: false }
            }
            Output::Json => {
                write_line(&events::track("started", name, 0, total, 0.0));
                Shown::Lines { json: true }
            }
            Output::None => Shown::Nothing,
        };
        let now = Instant::now();
        Track {
            name: name.to_owned(),
            total,
            done: AtomicU64::new(0),
            started: now,
            last_line: Mutex::new(now),
            shown,
        }
    }

    /// One finished layer.
    pub fn layer(&self, layer: &FinishedLayer) {
        match &self.output {
            Output::Bars(bars) => bars.print(&layer.to_string()),
            Output::Plain => write_line(&layer.to_string()),
            Output::Json => write_line(&events::layer(layer)),
            Output::None => {}
        }
    }

    /// A note: something worth a line.
    pub fn say(&self, text: &str) {
        if self.verbosity >= Verbosity::Normal {
            self.line("note", text);
        }
    }

    /// A remark on data: said once however often the data are looked at; notes are kept for the report.
    pub fn remark(&self, remark: &Remark) {
        if !lock(&self.remarks).insert(remark.clone()) {
            return;
        }
        match remark {
            Remark::Note(text) => {
                self.say(text);
                lock(&self.warnings).push(text.clone());
            }
            Remark::Detail(text) => self.detail(text),
        }
    }

    /// Something worth a line under `-v`.
    pub fn detail(&self, text: &str) {
        if self.verbosity >= Verbosity::Verbose {
            self.line("detail", text);
        }
    }

    /// Something a reader of the result must know; shown even under `-q` and kept for the report.
    pub fn warn(&self, text: &str) {
        match &self.output {
            Output::Bars(bars) => bars.print(&format!("warning: {text}")),
            Output::Json => write_line(&events::text("warning", text)),
            Output::Plain | Output::None => write_line(&format!("warning: {text}")),
        }
        lock(&self.warnings).push(text.to_owned());
    }

    /// Every warning so far, in order.
    pub fn warnings(&self) -> Vec<String> {
        lock(&self.warnings).clone()
    }

    /// Whether `-v` was given.
    pub fn is_verbose(&self) -> bool {
        self.verbosity == Verbosity::Verbose
    }

    fn line(&self, kind: &str, text: &str) {
        let shown = match kind {
            "note" => format!("note: {text}"),
            _ => text.to_owned(),
        };
        match &self.output {
            Output::Bars(bars) => bars.print(&shown),
            Output::Plain => write_line(&shown),
            Output::Json => write_line(&events::text(kind, text)),
            Output::None => {}
        }
    }
}

impl Track {
    /// `count` more are done.
    pub fn advance(&self, count: usize) {
        let count = count as u64;
        let done = self.done.fetch_add(count, Ordering::Relaxed) + count;
        match &self.shown {
            Shown::Bar(bar) => bars::advance(bar, count),
            Shown::Lines { json } => {
                let mut last = lock(&self.last_line);
                if done < self.total && last.elapsed() >= LINE_INTERVAL {
                    *last = Instant::now();
                    self.write(*json, "progress", done);
                }
            }
            Shown::Nothing => {}
        }
    }

    /// Names what is being done now, at the right of the bar.
    pub fn now(&self, what: &str) {
        if let Shown::Bar(bar) = &self.shown {
            bar.set_message(what.to_owned());
        }
    }

    /// Time since it started.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    fn write(&self, json: bool, event: &str, done: u64) {
        let seconds = self.started.elapsed().as_secs_f64();
        if json {
            write_line(&events::track(event, &self.name, done, self.total, seconds));
        } else {
            let memory = memory::resident_bytes()
                .map_or_else(String::new, |bytes| format!(", {}", figures::bytes(bytes)));
            write_line(&format!(
                "{}: {done}/{}, {seconds:.1} s{memory}",
                self.name, self.total
            ));
        }
    }
}

impl Drop for Track {
    fn drop(&mut self) {
        match &self.shown {
            Shown::Bar(bar) => bar.finish_and_clear(),
            Shown::Lines { json } => {
                let done = self.done.load(Ordering::Relaxed);
                // Short plain steps end without a word.
                if *json || self.started.elapsed() >= LINE_INTERVAL {
                    self.write(*json, "finished", done);
                }
            }
            Shown::Nothing => {}
        }
    }
}

/// Files on their way from the Hub, with the bytes of each on disk.
struct Download {
    track: Track,
    _kept: interrupt::Situation,
    files: BTreeMap<String, u64>,
}

impl HubProgress for Progress {
    fn event(&self, event: HubEvent<'_>) {
        let mut download = lock(&self.download);
        match event {
            HubEvent::Started { bytes, .. } => {
                let track = self.track("download", bytes, true);
                *download = Some(Download {
                    track,
                    _kept: interrupt::Situation::new(
                        "what was downloaded so far is kept in the cache",
                        "run the same command again: the download continues where it stopped",
                    ),
                    files: BTreeMap::new(),
                });
            }
            HubEvent::Advanced { file, done, .. } => {
                if let Some(Download { track, files, .. }) = download.as_mut() {
                    let before = files.insert(file.to_owned(), done).unwrap_or(0);
                    track.now(file);
                    track.advance(usize::try_from(done.saturating_sub(before)).unwrap_or(0));
                }
            }
            HubEvent::Finished => *download = None,
            HubEvent::Note { text } => self.say(text),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One line on stderr; a closed stderr is no error.
fn write_line(text: &str) {
    let mut stderr = std::io::stderr().lock();
    let _ = writeln!(stderr, "{text}");
}
