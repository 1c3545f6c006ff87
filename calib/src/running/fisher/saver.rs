//! Writes the statistics of one stage while the next stage runs.

use crate::running::error::CollectError;
use crate::running::measured::StageStatistics;
use crate::running::stats_store::StatsStore;
use std::panic::resume_unwind;
use std::thread::{Scope, ScopedJoinHandle};

/// At most one stage is being written: another has to wait for it.
pub(super) struct Saver<'scope, 'env> {
    store: &'env StatsStore,
    scope: &'scope Scope<'scope, 'env>,
    writing: Option<ScopedJoinHandle<'scope, Result<(), CollectError>>>,
}

impl Saver<'_, '_> {
    /// Lends a saver to `body`; what it was given is written when this returns.
    ///
    /// # Errors
    /// Those of `body`; the store fails.
    pub(super) fn with<'env>(
        store: &'env StatsStore,
        body: impl FnOnce(&mut Saver<'_, 'env>) -> Result<(), CollectError>,
    ) -> Result<(), CollectError> {
        std::thread::scope(|scope| {
            let mut saver = Saver {
                store,
                scope,
                writing: None,
            };
            body(&mut saver)?;
            saver.finish()
        })
    }

    /// Starts to write the statistics of `stage`.
    ///
    /// # Errors
    /// The stage before it could not be written.
    pub(super) fn save(
        &mut self,
        stage: usize,
        statistics: StageStatistics,
    ) -> Result<(), CollectError> {
        self.finish()?;
        let store = self.store;
        self.writing = Some(self.scope.spawn(move || {
            for (statistic, entries) in statistics.iter() {
                if !entries.is_empty() {
                    store.add(statistic, stage, entries.clone())?;
                }
            }
            Ok(())
        }));
        Ok(())
    }

    fn finish(&mut self) -> Result<(), CollectError> {
        match self.writing.take().map(ScopedJoinHandle::join) {
            None => Ok(()),
            Some(Ok(result)) => result,
            Some(Err(panic)) => resume_unwind(panic),
        }
    }
}
