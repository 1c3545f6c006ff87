//! How much there is to measure for the experts of a block, and in how many runs of it.

use super::{ModelFacts, PlannedCalibration, PlannedLayer};
use eval::report::figures;
use quantizers::Stat;
use quantizers::statistics::Pass;
use std::collections::{BTreeMap, BTreeSet};

/// Forward statistics of experts while they are measured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct ExpertStatistics {
    /// Bytes for the block that has most.
    pub(super) block: u64,
    /// Bytes at the input that has most.
    pub(super) input: u64,
}

/// Bytes of what is measured at the input of `layer`: sums are f64 until they are finished.
pub(crate) fn input_bytes(layer: &PlannedLayer, stats: impl Iterator<Item = Stat>) -> u64 {
    let [rows, cols] = layer.shape;
    let forward = stats.filter(|stat| stat.0.pass == Pass::Forward);
    let values = forward.filter_map(|stat| stat.0.shape.values(rows, cols));
    values.map(|values| 8 * values as u64).sum()
}

impl ExpertStatistics {
    /// Of `layers`, with what the report reads besides.
    pub(super) fn of(facts: &ModelFacts, layers: &[PlannedLayer], report: &[Stat]) -> Self {
        let points = facts.input_points();
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        let mut blocks: BTreeMap<usize, u64> = BTreeMap::new();
        let mut input = 0;
        for layer in layers.iter().filter(|layer| layer.routed) {
            let point = points.get(layer.name.as_str());
            if point.is_none_or(|point| seen.insert(point)) {
                let stats = layer.plan.needs.iter().chain(report).copied();
                let bytes = input_bytes(layer, stats);
                input = input.max(bytes);
                *blocks.entry(layer.stage).or_default() += bytes;
            }
        }
        Self {
            block: blocks.into_values().max().unwrap_or(0),
            input,
        }
    }

    /// Bytes held at a time.
    pub(super) fn held(self, calibration: &PlannedCalibration) -> u64 {
        match calibration.experts {
            Some(experts) if !calibration.keep_statistics => {
                self.block.min(experts.memory_bytes.max(self.input))
            }
            _ => self.block,
        }
    }

    /// Runs of the block, about.
    pub(super) fn runs(self, calibration: &PlannedCalibration) -> u64 {
        self.block.div_ceil(self.held(calibration).max(1)).max(1)
    }

    /// What a reader of the plan should know of a block that is run more than once.
    pub(super) fn note(self, calibration: &PlannedCalibration) -> Option<String> {
        let runs = self.runs(calibration);
        (runs > 1).then(|| {
            format!(
                "statistics of the experts of one block take {}: the block is run about {runs} times for at most {} of them at a time",
                figures::bytes(self.block),
                figures::bytes(self.held(calibration))
            )
        })
    }
}
