//! How an evaluation is shown, and how it fails.

use crate::Error;
use crate::progress::{Progress, Track};
use calib::data::Remark;
use eval::tasks::{self, TaskError, TaskSpec};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// An evaluation that cannot be done.
pub(super) fn failed(spec: &TaskSpec, error: TaskError) -> Error {
    let hint = error.hint();
    let message = format!("cannot evaluate `{}` on `{}`", spec.task, spec.data);
    Error::mismatch(message, error).hinted(hint)
}

/// Shows an evaluation as a stage of the road, and a pass before it as one of its own.
pub(super) struct Watch<'a> {
    progress: &'a Progress,
    name: &'a str,
    pass: Mutex<Option<Track>>,
    track: Mutex<Option<Track>>,
}

impl<'a> Watch<'a> {
    pub(super) fn new(progress: &'a Progress, name: &'a str) -> Self {
        Self {
            progress,
            name,
            pass: Mutex::new(None),
            track: Mutex::new(None),
        }
    }

    fn start(&self, track: &Mutex<Option<Track>>, name: &str, total: u64) {
        let total = usize::try_from(total).unwrap_or(usize::MAX);
        *lock(track) = Some(self.progress.stage(name, total));
    }
}

impl tasks::Progress for Watch<'_> {
    fn begin(&self, total: u64, _unit: &str) {
        self.start(&self.track, self.name, total);
    }

    fn advance(&self, count: u64) {
        advance(&self.track, count);
    }

    fn begin_pass(&self, total: u64, unit: &str) {
        self.start(&self.pass, &format!("{} {unit}", self.name), total);
    }

    fn advance_pass(&self, count: u64) {
        advance(&self.pass, count);
    }

    fn remark(&self, remark: &Remark) {
        self.progress.remark(remark);
    }
}

fn lock(track: &Mutex<Option<Track>>) -> MutexGuard<'_, Option<Track>> {
    track.lock().unwrap_or_else(PoisonError::into_inner)
}

fn advance(track: &Mutex<Option<Track>>, count: u64) {
    if let Some(track) = lock(track).as_ref() {
        track.advance(usize::try_from(count).unwrap_or(usize::MAX));
    }
}
