//! What is measured, and how much of it there is at a time.

use super::Subject;
use crate::plan::PlannedLayer;
use crate::plan::experts::ExpertStatistics;
use quantizers::Stat;
use quantizers::statistics::{Pass, StatisticShape};
use std::collections::{BTreeMap, BTreeSet};

impl Subject<'_> {
    /// What is measured for the experts of a block.
    pub(super) fn experts(&self) -> ExpertStatistics {
        let report = self.calibration.map_or(&[][..], |plan| &plan.report[..]);
        ExpertStatistics::of(self.facts, self.layers, report)
    }

    pub(super) fn reads(&self, pass: Pass) -> bool {
        self.stats().any(|(_, stat)| stat.0.pass == pass)
    }

    /// Every statistic of every layer: what its quantizer reads and what the report does.
    pub(super) fn stats(&self) -> impl Iterator<Item = (&PlannedLayer, Stat)> {
        let report = self.calibration.map_or(&[][..], |plan| &plan.report[..]);
        let layers = self.layers.iter();
        layers.flat_map(move |layer| {
            let all = layer.plan.needs.iter().chain(report);
            all.map(move |stat| (layer, *stat))
        })
    }

    /// Statistics of the stage that has most of them while they are measured; one of an input point counts
    /// once, whoever shares it.
    pub(super) fn stage_statistics(&self, pass: Pass) -> u64 {
        let points = self.facts.input_points();
        let mut stages: BTreeMap<usize, u64> = BTreeMap::new();
        let mut seen: BTreeSet<(&str, &str)> = BTreeSet::new();
        for (layer, stat) in self.stats().filter(|(_, stat)| stat.0.pass == pass) {
            let owner = match pass {
                Pass::Forward => points
                    .get(layer.name.as_str())
                    .copied()
                    .unwrap_or(&layer.name),
                Pass::Backward => layer.name.as_str(),
            };
            if !seen.insert((owner, stat.0.name)) {
                continue;
            }
            let [rows, cols] = layer.shape;
            let values = stat.0.shape.values(rows, cols).unwrap_or(0) as u64;
            // Sums of the forward pass are f64 until they are finished, squares of gradients f32.
            let bytes = match stat.0.shape {
                StatisticShape::PerWeight => 4,
                _ => 8,
            };
            *stages.entry(layer.stage).or_default() += bytes * values;
        }
        stages.into_values().max().unwrap_or(0)
    }
}
