//! One stage on the way from first to last: measured, rewritten, quantized, passed.

use super::blocks::Blocks;
use super::calibration;
use super::tuning_record::TuningRecord;
use crate::Error;
use calib::Forward;
use calib::running::error::CollectError;
use calib::running::measured::StageStatistics;
use calib::running::overlay::Overlay;
use calib::running::walk::StageWalk;
use quantizers::Sequential;

impl Blocks<'_> {
    /// One stage that is measured with the original weights.
    pub(super) fn fixed_stage(
        &mut self,
        walk: &mut StageWalk,
        forward: &Forward<'_>,
        mut waiting: StageStatistics,
    ) -> Result<(), Error> {
        let model = self.model;
        let failed = |error: CollectError| calibration::failed(model, error);
        let groups = self.groups(walk.stage());
        let last = groups.len().saturating_sub(1);
        for (at, group) in groups.into_iter().enumerate() {
            let wants = self.wants_of(&group);
            let (statistics, stored) = if at == last {
                let taken = std::mem::take(&mut waiting);
                (walk.observe_and_advance(forward, &wants), taken)
            } else {
                (walk.observe(forward, &wants), waiting.clone())
            };
            let mut statistics = statistics.map_err(failed)?;
            statistics.extend(stored);
            for index in group {
                self.quantize(index, model.weights(), &statistics, None)?;
            }
        }
        Ok(())
    }

    /// One stage whose weights change on the way: rewritten by transforms, measured with what everything
    /// before has become, quantized, and run as it is now.
    pub(super) fn overlaid_stage(
        &mut self,
        (walk, tuning): (&mut StageWalk, &mut Option<TuningRecord>),
        forward: &Forward<'_>,
        overlay: &mut Overlay<'_>,
        waiting: &StageStatistics,
    ) -> Result<(), Error> {
        let model = self.model;
        let failed = |error: CollectError| calibration::failed(model, error);
        let stage = walk.stage();
        let mut changed = self.transform(walk, forward, overlay)?;
        let mut made = Vec::new();
        let mut to_tune = Vec::new();
        let stepwise = self.is_stepwise(stage);
        for group in self.groups(stage) {
            let wants = self.wants_of(&group);
            let current = Forward::new(forward.model(), &*overlay, forward.device().clone());
            let mut statistics = walk.observe(&current, &wants).map_err(failed)?;
            drop(current);
            statistics.extend(waiting.clone());
            let is_tuned = |index: &usize| self.layers[*index].planned.plan.tuning.is_some();
            let (tuned, alone): (Vec<usize>, Vec<usize>) = group.into_iter().partition(is_tuned);
            for index in alone {
                let result = self.quantize(index, &*overlay, &statistics, None)?;
                let planned = self.layers[index].planned;
                made.push((index, result.into_checkpoint_layout(planned)));
            }
            if !tuned.is_empty() {
                to_tune.push((tuned, statistics));
            }
            if stepwise {
                changed.extend(self.put(made.drain(..), overlay));
            }
        }
        changed.extend(self.put(made.drain(..), overlay));
        if let Some(record) = tuning {
            record.pass(forward).map_err(|error| failed(error.into()))?;
            let layers: Vec<usize> = to_tune
                .iter()
                .flat_map(|(layers, _)| layers.clone())
                .collect();
            let mut tuned = self.tune(&layers, walk, forward, overlay, record)?;
            for (layers, statistics) in to_tune {
                for index in layers {
                    let result =
                        self.quantize(index, &*overlay, &statistics, tuned.remove(&index))?;
                    let planned = self.layers[index].planned;
                    made.push((index, result.into_checkpoint_layout(planned)));
                }
            }
            changed.extend(self.put(made.drain(..), overlay));
        }
        let sequential =
            |index: &usize| self.layers[*index].planned.plan.sequential != Sequential::No;
        if self.layers_of(stage).iter().any(sequential) {
            let current = Forward::new(forward.model(), &*overlay, forward.device().clone());
            walk.advance(&current)
        } else {
            // A rewritten block computes what it did before.
            walk.advance(forward)
        }
        .map_err(|error| failed(error.into()))?;
        for name in changed {
            overlay.unset(&name);
        }
        Ok(())
    }
}
