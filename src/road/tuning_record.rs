//! How the tuning of blocks goes, and what the original blocks make of the data.

use crate::plan::PlannedLayer;
use crate::progress::{Progress, Track};
use calib::running::walk::StageWalk;
use calib::{Forward, Hidden, StageError};
use quantizers::methods::Tuning;
use std::collections::BTreeMap;

/// What is left to tune, and how it went so far.
pub(super) struct TuningRecord {
    track: Track,
    /// Calibration data as the original blocks leave it.
    reference: StageWalk,
    /// The last stage with a layer that is tuned.
    last: usize,
    steps: usize,
    shares: Vec<f64>,
}

/// How long the layers of a stage are tuned: as long as the one that is tuned longest.
pub(super) fn tuning_of<'p>(layers: impl Iterator<Item = &'p PlannedLayer>) -> Option<Tuning> {
    let tunings = layers.filter_map(|layer| layer.plan.tuning);
    tunings.reduce(|one, other| Tuning {
        steps: one.steps.max(other.steps),
        batch: one.batch.max(other.batch),
    })
}

impl TuningRecord {
    /// Nothing where no layer is tuned; else `walk` is before the first stage and learns what the original blocks return.
    pub(super) fn new(
        layers: &[&PlannedLayer],
        walk: impl FnOnce() -> StageWalk,
        progress: &Progress,
    ) -> Option<Self> {
        let mut stages: BTreeMap<usize, Vec<&PlannedLayer>> = BTreeMap::new();
        for layer in layers.iter().filter(|layer| layer.plan.tuning.is_some()) {
            stages.entry(layer.stage).or_default().push(layer);
        }
        let (last, _) = stages.last_key_value()?;
        let steps = |layers: &Vec<&PlannedLayer>| {
            tuning_of(layers.iter().copied()).map_or(0, |tuning| tuning.steps)
        };
        Some(Self {
            track: progress.stage("tune", stages.values().map(steps).sum()),
            reference: walk(),
            last: *last,
            steps: stages.values().map(steps).max().unwrap_or(0),
            shares: Vec::new(),
        })
    }

    /// Takes the original path past the next stage, as long as somebody asks for it.
    pub(super) fn pass(&mut self, forward: &Forward<'_>) -> Result<(), StageError> {
        if self.reference.stage() <= self.last {
            self.reference.advance(forward)?;
        } else {
            self.reference.skip();
        }
        Ok(())
    }

    /// What a reader of the report should know.
    pub(super) fn note(&self) -> Option<String> {
        let percent = |share: f64| format!("{:.0} %", 100.0 * share);
        let count = self.shares.len();
        let least = self.shares.iter().copied().reduce(f64::min)?;
        let most = self.shares.iter().copied().reduce(f64::max)?;
        let mean = self.shares.iter().sum::<f64>() / count as f64;
        let unmoved = self.shares.iter().filter(|share| **share >= 1.0).count();
        let unmoved = match unmoved {
            0 => String::new(),
            count => format!(
                "; in {count} of them no step was better: more samples or a smaller `learning_rate` may help"
            ),
        };
        Some(format!(
            "learned roundings leave {} of the error that nearest rounding makes in the output of a block, in the mean of {count} blocks ({} to {}, up to {} steps){unmoved}",
            percent(mean),
            percent(least),
            percent(most),
            self.steps
        ))
    }

    /// What the original blocks return of the stage passed last.
    pub(super) fn targets(&self) -> &[Hidden] {
        self.reference.hidden()
    }

    /// Counts a step.
    pub(super) fn advance(&self) {
        self.track.advance(1);
    }

    /// Takes down that a block keeps `share` of the error of nearest rounding.
    pub(super) fn tuned(&mut self, share: f64) {
        self.shares.push(share);
    }
}
