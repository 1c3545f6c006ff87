//! Writes the sums of one stage while the next stage runs.

use super::KIND;
use crate::collect::CollectError;
use crate::hidden::values;
use crate::stats_store::{Entries, Entry, StatsStore};
use burn::tensor::Tensor;
use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::thread::{Scope, ScopedJoinHandle};

/// The sums of one stage, by layer.
type Sums = BTreeMap<String, Tensor<2>>;

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
    /// Those of `body`; a sum is not finite; the store fails.
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

    /// Starts to write the sums of `stage`.
    ///
    /// # Errors
    /// The stage before it could not be written.
    pub(super) fn save(&mut self, stage: usize, sums: Sums) -> Result<(), CollectError> {
        self.finish()?;
        let store = self.store;
        self.writing = Some(self.scope.spawn(move || write(store, stage, sums)));
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

fn write(store: &StatsStore, stage: usize, sums: Sums) -> Result<(), CollectError> {
    let mut entries = Entries::new();
    for (layer, sum) in sums {
        let shape = sum.dims().to_vec();
        let values = values(sum);
        if values.iter().any(|value| !value.is_finite()) {
            return Err(CollectError::Unsupported {
                statistic: KIND,
                layer,
                reason: "its gradient is not finite",
            });
        }
        entries.insert(layer, Entry { shape, values });
    }
    if !entries.is_empty() {
        store.write(KIND, stage, &entries)?;
    }
    Ok(())
}
