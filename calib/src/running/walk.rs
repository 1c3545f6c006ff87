//! The walk of calibration data through a model, stage by stage.

use super::error::CollectError;
use super::expert_calibration::ExpertTokens;
use super::forward::Forward;
use super::measured::{Measurement, StageStatistics, Wants};
use super::observers::Batch;
use crate::{Hidden, Model, Stage, StageError, Tap};
use burn::tensor::Tensor;
use rayon::prelude::*;
use std::collections::BTreeSet;
use std::ops::Range;

/// Values kept verbatim at the widest point of a model, about: 8 MiB.
pub const SAMPLE_VALUES: usize = 1 << 21;

/// The data before one stage of a model: it can be looked at there, and moved on.
///
/// Whoever collects statistics, quantizes, rewrites weights or evaluates goes through here. The weights
/// come with each call, as the [`Forward`] of a source: the original ones, or those changed so far
/// ([`super::overlay::Overlay`]). Batches pass a stage in parallel, observers take them in their given order,
/// so results do not depend on the number of threads.
pub struct StageWalk {
    stage: usize,
    hidden: Vec<Hidden>,
    sample: Sample,
}

impl StageWalk {
    /// Puts `batches` before the first stage of `model`.
    pub fn new(model: &dyn Model, batches: Vec<Hidden>) -> Self {
        Self {
            stage: 0,
            hidden: batches,
            sample: Sample::new(model),
        }
    }

    /// Puts `batches` before `stage` of `model`.
    pub fn at(model: &dyn Model, stage: usize, batches: Vec<Hidden>) -> Self {
        Self {
            stage,
            ..Self::new(model, batches)
        }
    }

    /// The stage the data is before.
    pub fn stage(&self) -> usize {
        self.stage
    }

    /// The data before that stage, by batch.
    pub fn hidden(&self) -> &[Hidden] {
        &self.hidden
    }

    /// The data, where the walk ends.
    pub fn into_hidden(self) -> Vec<Hidden> {
        self.hidden
    }

    /// Runs the stage and measures what is wanted there; the data stays where it is.
    ///
    /// # Errors
    /// The stage fails, or a value is not finite.
    pub fn observe(
        &mut self,
        forward: &Forward<'_>,
        wants: &Wants,
    ) -> Result<StageStatistics, CollectError> {
        let wants = wants.of_stage(forward.model(), self.stage);
        if wants.no_points() {
            return Ok(StageStatistics::default());
        }
        let hidden = self.hidden.clone();
        let (statistics, _) = self.run(forward, &wants, hidden, false)?;
        Ok(statistics)
    }

    /// Runs the stage and goes on to the next.
    ///
    /// # Errors
    /// The stage fails.
    pub fn advance(&mut self, forward: &Forward<'_>) -> Result<(), StageError> {
        let hidden = std::mem::take(&mut self.hidden);
        self.hidden = forward.with_stage(self.stage, |built| {
            hidden
                .into_par_iter()
                .map(|hidden| built.forward(hidden, &mut crate::NoTap))
                .collect::<Result<Vec<_>, _>>()
        })??;
        self.decide_sample();
        self.stage += 1;
        Ok(())
    }

    /// Counts a stage as passed without running it, for a walk whose data nobody needs any more.
    pub fn skip(&mut self) {
        self.hidden.clear();
        self.stage += 1;
    }

    /// [`Self::observe`] and [`Self::advance`] in one run.
    ///
    /// # Errors
    /// As both.
    pub fn observe_and_advance(
        &mut self,
        forward: &Forward<'_>,
        wants: &Wants,
    ) -> Result<StageStatistics, CollectError> {
        let wants = wants.of_stage(forward.model(), self.stage);
        if wants.no_points() {
            self.advance(forward)?;
            return Ok(StageStatistics::default());
        }
        let hidden = std::mem::take(&mut self.hidden);
        let (statistics, outputs) = self.run(forward, &wants, hidden, true)?;
        self.hidden = outputs;
        self.stage += 1;
        Ok(statistics)
    }

    /// Goes on to the next stage by `run`, which gets the data before this one.
    ///
    /// # Errors
    /// Those of `run`.
    pub(crate) fn advance_with<E>(
        &mut self,
        run: impl FnOnce(Vec<Hidden>) -> Result<Vec<Hidden>, E>,
    ) -> Result<(), E> {
        let hidden = std::mem::take(&mut self.hidden);
        self.hidden = run(hidden)?;
        self.decide_sample();
        self.stage += 1;
        Ok(())
    }

    /// Runs the stage on `hidden` and measures; returns the outputs if they are to be kept. Experts that saw too few
    /// tokens are measured over all of them in a second run, where that is wanted.
    fn run(
        &mut self,
        forward: &Forward<'_>,
        wants: &Wants,
        hidden: Vec<Hidden>,
        keep: bool,
    ) -> Result<(StageStatistics, Vec<Hidden>), CollectError> {
        let inputs = match wants.experts().tokens {
            ExpertTokens::AllWhereFew => hidden.clone(),
            ExpertTokens::Routed | ExpertTokens::All => Vec::new(),
        };
        let whole = match wants.experts().tokens {
            ExpertTokens::All => wants.points().map(|(point, _)| point).collect(),
            ExpertTokens::Routed | ExpertTokens::AllWhereFew => BTreeSet::new(),
        };
        let (mut statistics, outputs) = self.measure(forward, wants, &whole, hidden, keep)?;
        if let Some(again) = wants.again(&statistics) {
            let whole = again.points().map(|(point, _)| point).collect();
            let (over_all, _) = self.measure(forward, &again, &whole, inputs, false)?;
            statistics.extend(over_all);
        }
        Ok((statistics, outputs))
    }

    /// One run; `whole` are the points where experts are shown every token.
    fn measure(
        &mut self,
        forward: &Forward<'_>,
        wants: &Wants,
        whole: &BTreeSet<&str>,
        hidden: Vec<Hidden>,
        keep: bool,
    ) -> Result<(StageStatistics, Vec<Hidden>), CollectError> {
        let stage = self.stage;
        let sample = &mut self.sample;
        forward.with_stage(stage, |built| {
            let mut measurement = Measurement::new(wants);
            let mut outputs = Vec::new();
            let mut index = 0;
            let chunk = rayon::current_num_threads();
            let mut rest = hidden.into_iter();
            loop {
                let group: Vec<Hidden> = rest.by_ref().take(chunk).collect();
                if group.is_empty() {
                    return Ok((measurement.finish(), outputs));
                }
                let results: Vec<_> = group
                    .into_par_iter()
                    .map(|hidden| captured(built, hidden, wants, whole))
                    .collect();
                for result in results {
                    let (output, seen) = result?;
                    if stage == 0 {
                        sample.decide(index, &output);
                    }
                    for (point, values) in seen {
                        let [sequences, rows, width] = values.dims();
                        let batch = Batch {
                            values: values.reshape([sequences * rows, width]),
                            sequences,
                            kept: sample.kept(index),
                        };
                        measurement.add(&point, &batch, index)?;
                    }
                    if keep {
                        outputs.push(output);
                    }
                    index += 1;
                }
            }
        })?
    }

    fn decide_sample(&mut self) {
        if self.stage == 0 {
            for (index, output) in self.hidden.iter().enumerate() {
                self.sample.decide(index, output);
            }
        }
    }
}

/// One batch through a stage, with what is seen at the wanted points.
fn captured(
    built: &dyn Stage,
    hidden: Hidden,
    wants: &Wants,
    whole: &BTreeSet<&str>,
) -> Result<(Hidden, Vec<(String, Tensor<3>)>), StageError> {
    let mut capture = Capture {
        wants,
        whole,
        seen: Vec::new(),
    };
    let output = built.forward(hidden, &mut capture)?;
    Ok((output, capture.seen))
}

/// Keeps what was seen at the wanted points in one batch.
struct Capture<'a> {
    wants: &'a Wants,
    whole: &'a BTreeSet<&'a str>,
    seen: Vec<(String, Tensor<3>)>,
}

impl Tap for Capture<'_> {
    fn observe(&mut self, point: &str, values: &Tensor<3>) {
        if self.wants.has_point(point) {
            self.seen.push((point.to_owned(), values.clone()));
        }
    }

    fn wants_every_token(&self, point: &str) -> bool {
        self.whole.contains(point)
    }
}

/// Which sequences are kept verbatim: the first ones, as long as their rows fit at the widest
/// point, and at least one. Nothing but the model and the sequences matters, so every walk
/// keeps the same ones.
struct Sample {
    rows_left: usize,
    /// Sequences of each batch so far; empty batches after the last that fits.
    kept: Vec<usize>,
    full: bool,
}

impl Sample {
    fn new(model: &dyn Model) -> Self {
        let points = (0..model.stages()).flat_map(|stage| model.points(stage));
        let widest = points.map(|point| point.width).max().unwrap_or(1);
        Self {
            rows_left: SAMPLE_VALUES / widest.max(1),
            kept: Vec::new(),
            full: false,
        }
    }

    /// Decides on batch `index`, the next one or one already decided on, by its hidden states after the
    /// first stage.
    fn decide(&mut self, index: usize, output: &Hidden) {
        if index < self.kept.len() {
            return;
        }
        let [sequences, rows] = match output {
            Hidden::States(states) | Hidden::Embedding(states) => {
                [states.dims()[0], states.dims()[1]]
            }
            Hidden::Tokens(tokens) => tokens.dims(),
            Hidden::Pixels(pixels) => [pixels.dims()[0], 1],
        };
        let first = usize::from(self.kept.is_empty());
        let fit = (self.rows_left / rows.max(1)).max(first).min(sequences);
        let kept = if self.full { 0 } else { fit };
        self.full |= kept < sequences;
        self.rows_left = self.rows_left.saturating_sub(kept * rows);
        self.kept.push(kept);
    }

    fn kept(&self, index: usize) -> usize {
        self.kept.get(index).copied().unwrap_or(0)
    }
}

impl Forward<'_> {
    /// Walks `batches` through `stages`, batches in parallel; keeps their order.
    ///
    /// # Errors
    /// The first error of a build or a forward pass.
    pub fn run(
        &self,
        stages: Range<usize>,
        batches: Vec<Hidden>,
    ) -> Result<Vec<Hidden>, StageError> {
        let mut walk = StageWalk::at(self.model(), stages.start, batches);
        for _ in stages {
            walk.advance(self)?;
        }
        Ok(walk.into_hidden())
    }

    /// Runs all stages but the last: what enters the head.
    ///
    /// # Errors
    /// As [`Forward::run`].
    pub fn before_head(&self, batches: Vec<Hidden>) -> Result<Vec<Hidden>, StageError> {
        self.run(0..self.model().stages() - 1, batches)
    }
}
