//! Forward statistics into the store, stage by stage: for statistics that a later command reuses.

use super::error::CollectError;
use super::expert_calibration::ExpertTokens;
use super::forward::Forward;
use super::measured::Wants;
use super::observers::OBSERVERS;
use super::point_statistics::is_read_by_compiler;
use super::stats_store::StatsStore;
use super::walk::StageWalk;
use crate::{Hidden, Model};

impl Wants {
    /// Everything the compile step of integer programs reads, at every point of `model`.
    pub fn for_integers(model: &dyn Model) -> Self {
        let mut wants = Self::default();
        for stage in 0..model.stages() {
            for point in model.points(stage) {
                for observer in OBSERVERS {
                    let statistic = observer.statistic();
                    if is_read_by_compiler(statistic) {
                        wants.point(&point.name, statistic);
                    }
                }
            }
        }
        wants
    }
}

/// Walks `batches` through the model and stores what is wanted of the forward pass; nothing is run where the
/// store has it all. `progress` is told `(stages done, stages)`.
///
/// # Errors
/// A point the model does not have, a stage or the store fails, or a value is not finite.
pub fn collect(
    forward: &Forward<'_>,
    batches: Vec<Hidden>,
    wants: &Wants,
    store: &StatsStore,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<(), CollectError> {
    let model = forward.model();
    wants.check(model)?;
    let of_stage: Vec<Wants> = (0..model.stages())
        .map(|stage| wants.of_stage(model, stage))
        .collect();
    let Some(last) = of_stage.iter().rposition(|wants| !wants.no_points()) else {
        return Ok(());
    };
    let is_stored = |(stage, wants): (usize, &Wants)| {
        let mut all = wants.points().flat_map(|(point, statistics)| {
            let statistics = statistics.iter();
            statistics.map(move |stat| (stat.0, point))
        });
        let routed = wants.experts().tokens == ExpertTokens::Routed;
        all.all(|(statistic, point)| {
            store.covers(statistic, stage, [point])
                || (routed && wants.counts(point) && store.saw_nothing(stage, point))
        })
    };
    if of_stage.iter().enumerate().all(is_stored) {
        return Ok(());
    }
    let mut walk = StageWalk::new(model, batches);
    for stage in 0..=last {
        let statistics = walk.observe_and_advance(forward, wants)?;
        for (statistic, entries) in statistics.iter() {
            store.add(statistic, stage, entries.clone())?;
        }
        progress(stage + 1, last + 1);
    }
    Ok(())
}
