//! Statistics of one stage in memory, and how they are measured.

use super::error::CollectError;
use super::expert_calibration::{ExpertCalibration, ExpertTokens};
use super::observers::{self, Accumulator, Batch, LENGTHS};
use crate::{LayerSpec, Model};
use quantizers::statistics::{LayerStats, Pass, Stat, Statistic, StatisticShape, TOKEN_COUNT};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

/// A statistic of one layer or input point.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Dimensions, outermost first.
    pub shape: Vec<usize>,
    /// Values, row-major.
    pub values: Vec<f32>,
}

/// The entries of one statistic of one stage, by input point or layer name.
pub type Entries = BTreeMap<String, Entry>;

/// What is to be measured: statistics of the forward pass by point, and of the backward pass by layer.
/// Layers that share an input point share its statistics.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wants {
    points: BTreeMap<String, BTreeSet<Stat>>,
    layers: BTreeMap<String, BTreeSet<Stat>>,
    experts: ExpertCalibration,
}

impl Wants {
    /// Says which tokens are looked at where tokens are counted: at the inputs of the layers of experts.
    #[must_use]
    pub fn with_experts(self, experts: ExpertCalibration) -> Self {
        Self { experts, ..self }
    }

    /// Which tokens are looked at where tokens are counted.
    pub fn experts(&self) -> ExpertCalibration {
        self.experts
    }

    /// Whether the tokens at `point` are counted.
    pub fn counts(&self, point: &str) -> bool {
        let wanted = self.points.get(point);
        wanted.is_some_and(|wanted| wanted.contains(&Stat(&TOKEN_COUNT)))
    }

    /// What is to be measured over all tokens, given what `statistics` measured over the routed ones: everything but
    /// their number, at points that saw too few. `None` where nothing is.
    pub(crate) fn again(&self, statistics: &StageStatistics) -> Option<Self> {
        if self.experts.tokens != ExpertTokens::AllWhereFew {
            return None;
        }
        let is_few = |point: &str| {
            let seen = statistics.tokens(point);
            seen.is_some_and(|tokens| self.experts.is_few(tokens))
        };
        let mut again = Self::default();
        for (point, wanted) in self.points().filter(|(point, _)| is_few(point)) {
            for stat in wanted.iter().filter(|stat| *stat.0 != TOKEN_COUNT) {
                again.point(point, stat.0);
            }
        }
        (!again.is_empty()).then_some(again)
    }

    /// Only what is wanted at the inputs of `layers`, and of their gradients.
    #[must_use]
    pub(crate) fn at_inputs_of(mut self, layers: &[&LayerSpec]) -> Self {
        let is_input = |point: &String| layers.iter().any(|layer| layer.input_point == *point);
        self.points.retain(|point, _| is_input(point));
        self
    }

    /// Adds a statistic of a layer.
    pub fn layer(&mut self, layer: &LayerSpec, statistic: &'static Statistic) {
        match statistic.pass {
            Pass::Forward => self.point(&layer.input_point, statistic),
            Pass::Backward => {
                let entry = self.layers.entry(layer.name.clone()).or_default();
                entry.insert(Stat(statistic));
            }
        }
    }

    /// Adds a statistic of the forward pass at a point.
    pub fn point(&mut self, point: &str, statistic: &'static Statistic) {
        let entry = self.points.entry(point.to_owned()).or_default();
        entry.insert(Stat(statistic));
    }

    /// Only what is wanted of the backward pass, and how many tokens it sees.
    #[must_use]
    pub fn only_layers(&self) -> Self {
        let mut only = Self {
            layers: self.layers.clone(),
            ..Self::default()
        };
        let counted = self.points.keys().filter(|point| self.counts(point));
        for point in counted.filter(|_| !self.layers.is_empty()) {
            only.point(point, &TOKEN_COUNT);
        }
        only
    }

    /// Whether nothing is wanted.
    pub fn is_empty(&self) -> bool {
        self.points.is_empty() && self.layers.is_empty()
    }

    /// Whether nothing is wanted of the forward pass.
    pub fn no_points(&self) -> bool {
        self.points.is_empty()
    }

    /// Names of the layers of which something of the backward pass is wanted.
    pub fn layers(&self) -> impl Iterator<Item = &str> {
        self.layers.keys().map(String::as_str)
    }

    /// What is wanted of the backward pass, layer by layer.
    pub fn layer_statistics(&self) -> impl Iterator<Item = (&str, Stat)> {
        self.layers.iter().flat_map(|(layer, statistics)| {
            let statistics = statistics.iter();
            statistics.map(|stat| (layer.as_str(), *stat))
        })
    }

    /// Whether `statistic` of the backward pass is wanted of the layer of that name.
    pub(crate) fn wants_of(&self, layer: &str, statistic: &'static Statistic) -> bool {
        let wanted = self.layers.get(layer);
        wanted.is_some_and(|wanted| wanted.contains(&Stat(statistic)))
    }

    /// Whether values at `point` are to be looked at.
    pub fn has_point(&self, point: &str) -> bool {
        self.points.contains_key(point)
    }

    /// Every point with its statistics.
    pub fn points(&self) -> impl Iterator<Item = (&str, &BTreeSet<Stat>)> {
        self.points
            .iter()
            .map(|(point, statistics)| (point.as_str(), statistics))
    }

    /// Those at points of `stage` and of its layers.
    #[must_use]
    pub fn of_stage(&self, model: &dyn Model, stage: usize) -> Self {
        let points = model.points(stage).into_iter();
        let in_stage = model.layers().iter().filter(|layer| layer.stage == stage);
        Self {
            points: points
                .filter_map(|point| self.points.get_key_value(&point.name))
                .map(|(point, statistics)| (point.clone(), statistics.clone()))
                .collect(),
            layers: in_stage
                .filter_map(|layer| self.layers.get_key_value(&layer.name))
                .map(|(layer, statistics)| (layer.clone(), statistics.clone()))
                .collect(),
            experts: self.experts,
        }
    }

    /// Refuses points the model does not have.
    ///
    /// # Errors
    /// The first of them.
    pub fn check(&self, model: &dyn Model) -> Result<(), CollectError> {
        let known: BTreeSet<String> = (0..model.stages())
            .flat_map(|stage| model.points(stage))
            .map(|point| point.name)
            .collect();
        match self.points.keys().find(|point| !known.contains(*point)) {
            Some(point) => Err(CollectError::NoPoint {
                point: point.clone(),
            }),
            None => Ok(()),
        }
    }
}

/// Statistics of one stage.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StageStatistics(BTreeMap<Stat, Entries>);

impl StageStatistics {
    /// Adds the entries of one statistic.
    pub fn insert(&mut self, statistic: &'static Statistic, entries: Entries) {
        self.0.entry(Stat(statistic)).or_default().extend(entries);
    }

    /// Adds everything of `other`.
    pub fn extend(&mut self, other: Self) {
        for (stat, entries) in other.0 {
            self.insert(stat.0, entries);
        }
    }

    /// One statistic of a point or layer.
    pub fn get(&self, statistic: &'static Statistic, name: &str) -> Option<&Entry> {
        self.0.get(&Stat(statistic))?.get(name)
    }

    /// How many tokens were seen at `point`, or with the gradients of the layer of that name, where they were counted.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "counts were stored as whole numbers, which f32 holds to 2^24"
    )]
    pub fn tokens(&self, point: &str) -> Option<usize> {
        let entry = self.get(&TOKEN_COUNT, point)?;
        entry.values.first().map(|&tokens| tokens as usize)
    }

    /// Names what was counted at the inputs of `layers` by layer: the tokens that gradients are of, which need not be
    /// those of another pass with other weights.
    #[must_use]
    pub(crate) fn counted_by_layer(mut self, layers: &[&LayerSpec]) -> Self {
        let counts = self.0.remove(&Stat(&TOKEN_COUNT)).unwrap_or_default();
        for layer in layers {
            if let Some(count) = counts.get(&layer.input_point) {
                let entry = Entries::from([(layer.name.clone(), count.clone())]);
                self.insert(&TOKEN_COUNT, entry);
            }
        }
        self
    }

    /// Every statistic with its entries.
    pub fn iter(&self) -> impl Iterator<Item = (&'static Statistic, &Entries)> {
        self.0.iter().map(|(stat, entries)| (stat.0, entries))
    }

    /// What quantizers read of `layer`, as matrices `[out, in]` whatever the checkpoint's layout. Layers that
    /// share an input point borrow the same values.
    pub fn of_layer<'s>(&'s self, layer: &LayerSpec) -> LayerValues<'s> {
        let mut values = Vec::new();
        for (stat, entries) in &self.0 {
            let found = match stat.0.pass {
                Pass::Forward => entries.get(&layer.input_point),
                Pass::Backward => entries.get(&layer.name),
            };
            let Some(entry) = found else { continue };
            let turned = stat.0.shape == StatisticShape::PerWeight && layer.transposed;
            values.push((
                *stat,
                if turned {
                    let turned = crate::artifact::transpose(&entry.values, layer.cols, layer.rows);
                    Cow::Owned(turned)
                } else {
                    Cow::Borrowed(entry.values.as_slice())
                },
            ));
        }
        LayerValues(values)
    }
}

/// The statistics of one layer.
#[derive(Debug, Clone, Default)]
pub struct LayerValues<'s>(Vec<(Stat, Cow<'s, [f32]>)>);

impl LayerValues<'_> {
    /// Adds everything to `stats`.
    pub fn add_to<'a>(&'a self, stats: LayerStats<'a>) -> LayerStats<'a> {
        let all = self.0.iter();
        all.fold(stats, |stats, (stat, values)| stats.with(stat.0, values))
    }
}

/// Accumulators of the wanted statistics of one stage.
pub(crate) struct Measurement<'w> {
    wants: &'w Wants,
    accumulators: BTreeMap<String, Accumulators>,
}

/// Those of one point.
type Accumulators = Vec<(Stat, Box<dyn Accumulator>)>;

impl<'w> Measurement<'w> {
    /// Nothing measured yet.
    pub(crate) fn new(wants: &'w Wants) -> Self {
        Self {
            wants,
            accumulators: BTreeMap::new(),
        }
    }

    /// Takes in what one batch shows at `point`; `sequence` is its index, for messages.
    ///
    /// # Errors
    /// A value that is not finite.
    pub(crate) fn add(
        &mut self,
        point: &str,
        batch: &Batch,
        sequence: usize,
    ) -> Result<(), CollectError> {
        let Some(wanted) = self.wants.points.get(point) else {
            return Ok(());
        };
        // One reduction instead of a pass over the values: any NaN or infinity makes the sum so.
        let sum: f32 = batch.values.clone().abs().sum().into_scalar();
        if !sum.is_finite() {
            let point = point.to_owned();
            return Err(CollectError::NotFinite { point, sequence });
        }
        if !self.accumulators.contains_key(point) {
            let width = batch.values.dims()[1];
            let started = wanted
                .iter()
                .filter_map(|stat| Some((*stat, observers::of(stat.0)?.start(width))));
            self.accumulators
                .insert(point.to_owned(), started.collect());
        }
        for (_, accumulator) in self.accumulators.get_mut(point).into_iter().flatten() {
            accumulator.add(batch);
        }
        Ok(())
    }

    /// The statistics.
    pub(crate) fn finish(self) -> StageStatistics {
        let mut statistics = StageStatistics::default();
        let counted = self
            .wants
            .points
            .keys()
            .filter(|point| self.wants.counts(point));
        for point in counted.filter(|point| !self.accumulators.contains_key(*point)) {
            // An expert that no token was sent to.
            let none = Entry {
                shape: vec![1],
                values: vec![0.0],
            };
            statistics.insert(&TOKEN_COUNT, Entries::from([(point.clone(), none)]));
        }
        for (point, accumulators) in self.accumulators {
            for (stat, accumulator) in accumulators {
                let mut entries = Entries::new();
                if let Some(lengths) = accumulator.lengths() {
                    let entry = Entry {
                        shape: vec![lengths.len()],
                        values: lengths.iter().map(|&length| length as f32).collect(),
                    };
                    entries.insert(format!("{point}{LENGTHS}"), entry);
                }
                let (shape, values) = accumulator.finish();
                entries.insert(point.clone(), Entry { shape, values });
                statistics.insert(stat.0, entries);
            }
        }
        statistics
    }
}
