//! Stage by stage to the loss, and back.

use super::kept_inputs::KeptInputs;
use super::observers::GradientSums;
use super::tapes::{TapedStages, stage_sizes};
use super::{FisherOptions, Sequence, loss};
use crate::running::error::CollectError;
use crate::running::measured::{Measurement, StageStatistics};
use crate::running::observers::Batch;
use crate::running::walk::StageWalk;
use crate::running::workers::Workers;
use crate::{Forward, Hidden, LayerSpec, Model, Stage, StageError, Tape, Vjp, WeightGradient};
use burn::tensor::Tensor;
use quantizers::graph::StageNode;
use std::collections::BTreeMap;

/// What the forward pass leaves for the backward pass, and how both run.
pub(super) struct Passes<'a> {
    forward: &'a Forward<'a>,
    sequences: &'a [Sequence],
    /// Wanted layers, by the stage they belong to.
    layers: Vec<Vec<&'a LayerSpec>>,
    /// Wanted layers of blocks that repeat the weights of an earlier stage, by the stage that uses them again.
    reused: Vec<Vec<&'a LayerSpec>>,
    /// Gradients of uses after the first, by sequence, until the backward pass reaches the first.
    waiting: Vec<Vec<WeightGradient>>,
    first: usize,
    options: &'a FisherOptions,
    workers: Workers,
    kept: KeptInputs,
    /// The first stage whose tapes are kept; the last stage never is among them.
    taped_from: usize,
    /// By stage, in sequence order.
    tapes: BTreeMap<usize, Vec<Tape>>,
}

/// What one stage's backward pass leaves.
pub(super) struct Swept {
    /// Loss of every sequence; meaningful for the last stage.
    pub losses: Vec<f64>,
    /// Gradient with respect to the stage's input, by sequence.
    pub input_gradients: Vec<Tensor<3>>,
    /// What was wanted of the gradients of layers and of their inputs.
    pub statistics: StageStatistics,
}

/// What a sequence is sent back through.
enum Way<'s> {
    /// A tape from the way forward.
    Recorded(Box<Tape>),
    /// A stage that is to be run on this input once more.
    Again(&'s dyn Stage, Box<Tensor<3>>),
}

impl<'a> Passes<'a> {
    /// Prepares passes between stage `first` and the last.
    pub(super) fn new(
        forward: &'a Forward<'a>,
        sequences: &'a [Sequence],
        layers: Vec<Vec<&'a LayerSpec>>,
        first: usize,
        options: &'a FisherOptions,
    ) -> Result<Self, CollectError> {
        Ok(Self {
            forward,
            sequences,
            reused: reused(forward.model(), &layers),
            waiting: vec![Vec::new(); sequences.len()],
            layers,
            first,
            options,
            workers: Workers::new()?,
            kept: KeptInputs::new(options.memory_bytes, &options.scratch),
            taped_from: usize::MAX,
            tapes: BTreeMap::new(),
        })
    }

    /// Decides whose tapes are kept, given what enters the first stage: those of the last blocks, which are
    /// the first to be used.
    pub(super) fn plan(&mut self, batches: &[Hidden]) -> Result<(), CollectError> {
        let mut tokens = 0;
        for batch in batches {
            let [batch, length, _] = states(batch, self.first)?.dims();
            tokens += batch * length;
        }
        let taped = TapedStages::within(
            &stage_sizes(self.forward.model()),
            self.first,
            self.sequences.len(),
            tokens,
            self.options.tape_bytes,
        );
        self.taped_from = taped.from;
        Ok(())
    }

    /// Takes the walk through its stage, keeping what the way back needs.
    pub(super) fn forward(&mut self, walk: &mut StageWalk) -> Result<(), CollectError> {
        let stage = walk.stage();
        if stage < self.taped_from {
            self.kept.keep(stage, walk.hidden())?;
            return Ok(walk.advance(self.forward)?);
        }
        let built = self.build(stage)?;
        walk.advance_with(|batches| {
            let inputs = batches
                .iter()
                .map(|batch| states(batch, stage).cloned())
                .collect::<Result<Vec<_>, _>>()?;
            drop(batches);
            let recorded = self
                .workers
                .map(inputs, |input| self.record(stage, built.as_ref(), input));
            let (tapes, outputs) = recorded
                .into_iter()
                .map(|recorded| recorded.map(|(tape, output)| (tape, Hidden::States(output))))
                .collect::<Result<(Vec<_>, Vec<_>), StageError>>()?;
            self.tapes.insert(stage, tapes);
            Ok(outputs)
        })
    }

    /// Takes what enters the last stage.
    pub(super) fn end(&mut self, batches: &[Hidden]) -> Result<(), CollectError> {
        let last = self.forward.model().stages() - 1;
        self.kept.keep(last, batches)
    }

    fn build(&self, stage: usize) -> Result<Box<dyn Stage>, StageError> {
        let device = self.forward.device().clone().autodiff();
        let model = self.forward.model();
        model.build(stage, self.forward.source(), &device)
    }

    fn record(
        &self,
        stage: usize,
        built: &dyn Stage,
        input: Tensor<3>,
    ) -> Result<(Tape, Tensor<3>), StageError> {
        Tape::record(built, self.layers_of(stage), input)
    }

    /// The layers whose gradients `stage` contributes to.
    fn layers_of(&self, stage: usize) -> impl Iterator<Item = &'a LayerSpec> {
        let (own, reused) = (&self.layers[stage], &self.reused[stage]);
        own.iter().chain(reused).copied()
    }

    /// Sends `gradients` (none yet for the last stage) backwards through one stage.
    pub(super) fn backward(
        &mut self,
        stage: usize,
        gradients: Vec<Tensor<3>>,
    ) -> Result<Swept, CollectError> {
        let mut tapes = self.tapes.remove(&stage).unwrap_or_default().into_iter();
        let built = if tapes.len() == 0 {
            Some(self.build(stage)?)
        } else {
            None
        };
        let mut swept = Swept {
            losses: Vec::new(),
            input_gradients: Vec::new(),
            statistics: StageStatistics::default(),
        };
        // Of other inputs the backward pass sees nothing.
        let wants = self.options.wants.of_stage(self.forward.model(), stage);
        let wants = wants.at_inputs_of(&self.layers[stage]);
        let mut sums = GradientSums::new(&self.layers[stage], &wants);
        let mut measurement = Measurement::new(&wants);
        let mut incoming = gradients.into_iter();
        // As many sequences in flight as there are threads; they are added up in their own order.
        let count = self.sequences.len();
        for start in (0..count).step_by(self.workers.count()) {
            let range = start..(start + self.workers.count()).min(count);
            let ways: Vec<Way<'_>> = if let Some(built) = &built {
                let device = self.forward.device();
                let inputs = self.kept.take(stage, range.clone(), device)?.into_iter();
                let again = |input| Way::Again(built.as_ref(), Box::new(input));
                inputs.map(again).collect()
            } else {
                let recorded = tapes.by_ref().take(range.len());
                recorded.map(|tape| Way::Recorded(Box::new(tape))).collect()
            };
            let work: Vec<_> = range
                .zip(ways)
                .map(|(index, way)| (index, way, incoming.next()))
                .collect();
            let results = self.workers.map(work, |(index, way, gradient)| {
                self.back(stage, index, way, gradient)
            });
            let mut weight_gradients = Vec::new();
            for (index, result) in results.into_iter().enumerate() {
                let (loss, vjp) = result?;
                swept.losses.push(loss);
                swept.input_gradients.push(vjp.input_gradient);
                self.measure(
                    stage,
                    &vjp.weight_gradients,
                    start + index,
                    &mut measurement,
                )?;
                let earlier = std::mem::take(&mut self.waiting[start + index]);
                let (of_stage, waiting) = earlier
                    .into_iter()
                    .chain(vjp.weight_gradients)
                    .partition(|gradient| self.is_of(stage, gradient));
                self.waiting[start + index] = waiting;
                weight_gradients.extend(joined(of_stage));
            }
            sums.add(weight_gradients);
        }
        let layers = &self.layers[stage];
        swept.statistics = measurement.finish().counted_by_layer(layers);
        swept.statistics.extend(sums.finish()?);
        Ok(swept)
    }

    fn is_of(&self, stage: usize, gradient: &WeightGradient) -> bool {
        let mut layers = self.layers[stage].iter();
        layers.any(|layer| layer.name == gradient.layer)
    }

    /// Shows the inputs of one sequence's layers to the observers, each input point once.
    fn measure(
        &self,
        stage: usize,
        gradients: &[WeightGradient],
        sequence: usize,
        measurement: &mut Measurement<'_>,
    ) -> Result<(), CollectError> {
        let mut seen: Vec<&str> = Vec::new();
        for gradient in gradients {
            let of_gradient = |layer: &&&LayerSpec| layer.name == gradient.layer;
            let Some(layer) = self.layers[stage].iter().find(of_gradient) else {
                continue;
            };
            let point = layer.input_point.as_str();
            if seen.contains(&point) {
                continue;
            }
            seen.push(point);
            let [batch, tokens, width] = gradient.input.dims();
            let batch = Batch {
                values: gradient.input.clone().reshape([batch * tokens, width]),
                sequences: batch,
                kept: 0,
            };
            measurement.add(point, &batch, sequence)?;
        }
        Ok(())
    }

    /// One sequence; `gradient` is that of the stage's output, or none where the loss follows.
    fn back(
        &self,
        stage: usize,
        index: usize,
        way: Way<'_>,
        gradient: Option<Tensor<3>>,
    ) -> Result<(f64, Vjp), StageError> {
        match (way, gradient) {
            (Way::Recorded(tape), Some(gradient)) => Ok((0.0, tape.back(gradient))),
            (Way::Again(built, input), Some(gradient)) => {
                let (tape, _) = self.record(stage, built, *input)?;
                Ok((0.0, tape.back(gradient)))
            }
            (Way::Again(built, input), None) => loss::last_stage(
                &|input| self.record(stage, built, input),
                *input,
                self.forward.model().output(),
                &self.sequences[index].tokens,
                loss::sequence_seed(self.options.seed, index),
            ),
            (Way::Recorded(_), None) => unreachable!("the last stage is never recorded"),
        }
    }
}

/// The wanted layers that blocks use again, by stage.
fn reused<'a>(model: &dyn Model, layers: &[Vec<&'a LayerSpec>]) -> Vec<Vec<&'a LayerSpec>> {
    let stages = model.graph().stages.iter();
    let reused = stages.map(|stage| match stage {
        StageNode::Block(block) if block.repeated => {
            let names: Vec<&str> = block.linears().iter().map(|l| l.name.as_str()).collect();
            let wanted = layers.iter().flatten().copied();
            wanted
                .filter(|layer| names.contains(&layer.name.as_str()))
                .collect()
        }
        _ => Vec::new(),
    });
    reused.collect()
}

/// The gradients of one sequence, one for each layer: that of a layer used several times is the sum over its
/// uses, as if their tokens were those of one.
fn joined(gradients: Vec<WeightGradient>) -> Vec<WeightGradient> {
    let mut uses: Vec<Vec<WeightGradient>> = Vec::new();
    for gradient in gradients {
        let of_layer = |uses: &&mut Vec<WeightGradient>| uses[0].layer == gradient.layer;
        match uses.iter_mut().find(of_layer) {
            Some(uses) => uses.push(gradient),
            None => uses.push(vec![gradient]),
        }
    }
    let layers = uses.into_iter().filter_map(|mut uses| {
        if uses.len() == 1 {
            return uses.pop();
        }
        let inputs = uses.iter().map(|of_use| of_use.input.clone()).collect();
        let outputs = uses.iter().map(|of_use| of_use.output_gradient.clone());
        let output_gradient = Tensor::cat(outputs.collect(), 1);
        Some(WeightGradient {
            input: Tensor::cat(inputs, 1),
            output_gradient,
            ..uses.pop()?
        })
    });
    layers.collect()
}

/// The states of one batch entering `stage`.
fn states(batch: &Hidden, stage: usize) -> Result<&Tensor<3>, StageError> {
    match batch {
        Hidden::States(states) => Ok(states),
        Hidden::Tokens(_) | Hidden::Pixels(_) | Hidden::Embedding(_) => Err(StageError::Input {
            stage: format!("stage {stage}"),
            expected: "states",
            found: batch.kind(),
        }),
    }
}
