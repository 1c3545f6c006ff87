//! Predicted memory, disk and time, from shapes and the plan itself.
//!
//! Memory is the most that is resident in one of the phases of the road; each is a sum of what that phase holds,
//! by the same constants and the same decisions (tapes kept, inputs kept, models held) that the road reads.

mod evaluation;
mod on_the_side;
mod sampling;
mod statistics;
mod tuning;

use super::{
    BlockOrder, ModelFacts, PlannedCache, PlannedCalibration, PlannedEvaluation, PlannedLayer,
    SYNTHETIC,
};
use calib::running::fisher::{StageSize, TapedStages};
use calib::running::walk::SAMPLE_VALUES;
use quantizers::statistics::{Pass, StatisticShape};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What integer programs are calibrated with: ranges and samples of every activation.
pub(super) const ACTIVATIONS: &str = "activations";

/// Predicted memory, disk and time of the whole road.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Estimate {
    /// Largest resident memory.
    pub memory_bytes: u64,
    /// The phase that needs it.
    pub phase: String,
    /// What that phase holds, by name; the sum is [`Self::memory_bytes`].
    pub parts: BTreeMap<String, u64>,
    /// Disk taken while calibrating and given back at the end: scratch files of block inputs and statistics.
    pub scratch_bytes: u64,
    /// Disk taken by statistics that stay for the next run.
    pub kept_bytes: u64,
    /// Wall time at `threads`, evaluation included.
    pub seconds: f64,
    /// The part of it that evaluating takes.
    #[serde(default)]
    pub evaluation_seconds: f64,
    /// Threads assumed.
    pub threads: usize,
}

/// The program itself and its threads.
const BASE_BYTES: u64 = 40 << 20;
/// A token of the vocabulary in the tokenizer.
const VOCABULARY_ENTRY_BYTES: u64 = 1200;
/// f32 operations of one thread in matrix products, per second.
const FLOPS_PER_THREAD: f64 = 20e9;
/// Weights written and read back, per second.
const FILE_WEIGHTS_PER_SECOND: f64 = 100e6;
/// Share of what a tap sees in a stage that its tapes hold, in tenths.
const TAPE_TENTHS: u64 = 9;
/// Blocks whose activations the compile step of integer programs has in memory: three, and a copy of the one it
/// works on.
const STAGES_TOGETHER: u64 = 4;
/// A model up to this size in f32 is evaluated with all its stages in memory.
pub(crate) const RESIDENT_BYTES: u64 = 1 << 30;

/// The cost model in words, for the plan's footer.
pub(super) const ASSUMPTIONS: &str = "time assumes 20 GFLOP/s a thread in matrix products and the stated speed of each method: a rough guide";

/// What is to be estimated.
pub(super) struct Subject<'a> {
    pub(super) facts: &'a ModelFacts,
    pub(super) layers: &'a [PlannedLayer],
    pub(super) calibration: Option<&'a PlannedCalibration>,
    /// The cache that is fitted.
    pub(super) cache: Option<&'a PlannedCache>,
    /// What will run on the result.
    pub(super) evaluations: &'a [PlannedEvaluation],
    /// Bytes of the artifact.
    pub(super) artifact_bytes: u64,
    pub(super) threads: usize,
}

/// One phase of the road: what it holds, by name.
struct Phase {
    name: &'static str,
    parts: BTreeMap<String, u64>,
}

impl Phase {
    fn new(name: &'static str, parts: &[(&str, u64)]) -> Self {
        let held = parts.iter().filter(|(_, bytes)| *bytes > 0);
        Self {
            name,
            parts: held
                .map(|(name, bytes)| ((*name).to_owned(), *bytes))
                .collect(),
        }
    }

    fn bytes(&self) -> u64 {
        self.parts.values().sum()
    }
}

impl Subject<'_> {
    /// Estimates the road.
    pub(super) fn estimate(&self) -> Estimate {
        let mut phases = vec![self.quantizing()];
        phases.extend(self.sampling());
        phases.extend(self.gradients());
        phases.extend(self.rewriting());
        phases.extend(self.tuning());
        phases.extend(self.caching());
        let loads = self.loads();
        phases.extend(self.evaluating(&loads));
        let largest = phases.into_iter().max_by_key(Phase::bytes);
        let largest = largest.unwrap_or_else(|| Phase::new("quantize", &[]));
        let evaluation_seconds = self.evaluation_seconds(&loads);
        let (scratch_bytes, kept_bytes) = self.disk();
        Estimate {
            memory_bytes: largest.bytes(),
            phase: largest.name.to_owned(),
            parts: largest.parts,
            scratch_bytes,
            kept_bytes,
            seconds: rounded(self.seconds() + evaluation_seconds),
            evaluation_seconds: rounded(evaluation_seconds),
            threads: self.threads,
        }
    }

    /// Whether the result is an integer program.
    fn is_integer_only(&self) -> bool {
        let statistics = self
            .calibration
            .map_or(&[][..], |plan| &plan.statistics[..]);
        statistics.iter().any(|name| name == ACTIVATIONS)
    }

    fn program(&self) -> u64 {
        let vocabulary = self.facts.vocabulary.unwrap_or(0) as u64;
        BASE_BYTES + VOCABULARY_ENTRY_BYTES * vocabulary
    }

    fn samples(&self) -> u64 {
        let held = |plan: &PlannedCalibration| plan.at_most.unwrap_or(plan.samples);
        self.calibration
            .map_or(0, |plan| held(plan).min(plan.samples) as u64)
    }

    /// Weights that every token meets: those of all stages but the first, which looks its vectors up.
    fn computing(&self) -> f64 {
        let stages = self.facts.stages.iter().skip(1);
        stages.map(|stage| stage.parameters as f64).sum()
    }

    /// Tokens of one calibration sequence; patches of an image.
    fn sequence(&self) -> u64 {
        let length = self.calibration.map_or(0, |plan| plan.sequence_length);
        if self.calibration.is_some() && length == 0 {
            return 64;
        }
        length as u64
    }

    /// Tokens of all samples. Rows of a table are rarely as long as they may be, but nothing says so before they are
    /// read.
    fn tokens(&self) -> u64 {
        self.samples() * self.sequence()
    }

    /// Bytes of the hidden states of all sequences.
    fn hidden(&self) -> u64 {
        4 * self.tokens() * self.facts.width() as u64
    }

    /// f32 weights of the largest stage; blocks only, or the head and embedding too.
    fn largest_stage(&self, blocks_only: bool) -> u64 {
        let stages = self.facts.stages.iter();
        let counted = stages.filter(|stage| !blocks_only || stage.name.starts_with("block"));
        4 * counted.map(|stage| stage.parameters).max().unwrap_or(0)
    }

    /// Bytes of `parameters` values in the files, which are mapped while a stage is built from them.
    fn stored(&self, parameters: u64) -> u64 {
        let share = self.facts.tensor_bytes as f64 / self.facts.parameters.max(1) as f64;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a number of bytes"
        )]
        let bytes = (share * parameters as f64) as u64;
        bytes
    }

    /// What runs through a block at once, besides the hidden states: everything a tap sees, in each thread.
    fn in_flight(&self) -> u64 {
        let widths = self.facts.stages.iter().map(|stage| stage.size.activations);
        4 * self.sequence() * widths.max().unwrap_or(0) as u64 * self.threads as u64
    }

    /// Walking forward and quantizing block by block.
    fn quantizing(&self) -> Phase {
        if self.calibration.is_none() {
            return Phase::new(
                "quantize",
                &[("program", self.program()), ("layer", self.layer())],
            );
        }
        let integers = self.is_integer_only();
        // Those of the experts of a block may be measured part by part.
        let experts = self.experts();
        let held = self.calibration.map_or(0, |planned| experts.held(planned));
        let sums = self.stage_statistics(Pass::Forward);
        let sums = sums - (experts.block - held).min(sums);
        // Sums are f64 while samples come in, and f32 when layers are quantized with them.
        let (observing, quantizing) = (sums, sums / 2 + self.layer());
        // The table of tokens or the head is built as any other stage.
        let walked = self
            .largest_stage(false)
            .max(self.largest_stage(true) + observing.max(quantizing));
        let samples = if integers { self.verbatim() } else { 0 };
        Phase::new(
            "calibrate and quantize",
            &[
                ("program", self.program()),
                ("stage and its statistics", walked),
                ("hidden states", self.paths() * self.hidden()),
                ("activations", self.in_flight()),
                ("samples", samples),
                // What the allocator keeps between samples of many sizes.
                ("gaps", samples / 6),
            ],
        )
    }

    /// Sending the loss back.
    fn gradients(&self) -> Vec<Phase> {
        let Some(calibration) = self.calibration else {
            return Vec::new();
        };
        if !self.reads(Pass::Backward) {
            return Vec::new();
        }
        let all_inputs = self.hidden() * self.facts.stages.len() as u64;
        let inputs = all_inputs.min(calibration.kept_input_bytes);
        let block = 2 * self.largest_stage(true)
            + self.in_flight()
            + self.stage_statistics(Pass::Backward)
            + self.stage_statistics(Pass::Forward)
            + self.layer();
        let tapes = self.tapes(calibration);
        let common = [
            ("program", self.program()),
            ("block inputs", inputs),
            ("tapes", tapes),
            // What the allocator keeps between tensors of many sizes.
            ("gaps", tapes / 12),
            // What comes out of the last block, and its gradient.
            ("hidden states", 2 * self.hidden()),
        ];
        let with = |name, parts: &[(&str, u64)]| Phase::new(name, &[&common, parts].concat());
        vec![
            with("loss and its gradient", &[("head and logits", self.loss())]),
            with(
                "gradients and quantize",
                &[("block, its statistics and a layer", block)],
            ),
        ]
    }

    /// The last stage and the logits it is sent the gradient of, in each thread.
    fn loss(&self) -> u64 {
        let logits = 4 * (self.facts.vocabulary.unwrap_or(0) as u64 * self.sequence());
        let logits = logits * self.threads as u64;
        // Weights are held in the layouts of both directions; while a stage is built, also as they are read.
        let head = self.facts.stages.last().map_or(0, |stage| stage.parameters);
        let built = 3 * 4 * head + self.stored(head);
        built.max(2 * 4 * head + logits)
    }

    /// Bytes of the tapes that are kept on the way forward.
    fn tapes(&self, calibration: &PlannedCalibration) -> u64 {
        let sizes: Vec<StageSize> = self.facts.stages.iter().map(|stage| stage.size).collect();
        let backward = self
            .stats()
            .filter(|(_, stat)| stat.0.pass == Pass::Backward);
        let first = backward.map(|(layer, _)| layer.stage).min().unwrap_or(0);
        let count = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
        let (samples, tokens) = (count(self.samples()), count(self.tokens()));
        let budget = calibration.tape_bytes;
        TapedStages::within(&sizes, first, samples, tokens, budget).bytes / 10 * TAPE_TENTHS
    }

    /// The largest layer while it is quantized: its weight, what it decodes to, codes and the method's own.
    fn layer(&self) -> u64 {
        let of_layer = |layer: &PlannedLayer| 9 * layer.weights() + layer.plan.cost.scratch_bytes;
        self.layers.iter().map(of_layer).max().unwrap_or(0)
    }

    /// Activations kept verbatim for the compile step: those of the blocks it looks at together.
    fn verbatim(&self) -> u64 {
        let widest = self.layers.iter().flat_map(|layer| layer.shape).max();
        let rows = (SAMPLE_VALUES / widest.unwrap_or(1).max(1)) as u64;
        let widths = self.facts.stages.iter().map(|stage| stage.size.activations);
        4 * rows.min(self.tokens()) * widths.max().unwrap_or(0) as u64 * STAGES_TOGETHER
    }

    /// Scratch files, and statistics that stay.
    fn disk(&self) -> (u64, u64) {
        let Some(calibration) = self.calibration else {
            return (0, 0);
        };
        let mut scratch = 0;
        if self.reads(Pass::Backward) {
            let inputs = self.hidden() * self.facts.stages.len() as u64;
            scratch += inputs.saturating_sub(calibration.kept_input_bytes);
        } else if self.cache.is_some_and(|cache| cache.needs_gradients) {
            let inputs = self.fitted_states() * self.facts.stages.len() as u64;
            scratch += inputs.saturating_sub(calibration.kept_input_bytes);
        }
        let stored: u64 = self
            .stats()
            .map(|(layer, stat)| {
                let values = stat.0.shape.values(layer.shape[0], layer.shape[1]);
                4 * values.unwrap_or(0) as u64
            })
            .sum();
        if calibration.keep_statistics {
            return (scratch, stored);
        }
        if calibration.order == BlockOrder::FirstToLast {
            let waiting = self
                .stats()
                .filter(|(_, stat)| stat.0.pass == Pass::Backward);
            let waiting = waiting.map(|(layer, stat)| {
                let values = stat.0.shape.values(layer.shape[0], layer.shape[1]);
                4 * values.unwrap_or(0) as u64
            });
            scratch += waiting.sum::<u64>();
        }
        (scratch, 0)
    }

    fn seconds(&self) -> f64 {
        let threads = self.threads as f64;
        // 2 operations a parameter and token forward; sequential methods run each block twice; with gradients
        // twice forward and once back.
        let sequential = self
            .calibration
            .is_some_and(|plan| plan.sequential != quantizers::Sequential::No);
        let passes = match (self.reads(Pass::Backward), sequential) {
            (true, true) => 12.0,
            (true, false) => 8.0,
            (false, true) => 4.0,
            (false, false) => 2.0,
        };
        let runs = self
            .calibration
            .map_or(1, |planned| self.experts().runs(planned));
        let passes = passes + 2.0 * (runs - 1) as f64;
        let mut operations =
            passes * self.tokens() as f64 * self.computing() + self.tuning_operations();
        let points = self.facts.input_points();
        let mut seen = BTreeSet::new();
        for (layer, stat) in self.stats() {
            let point = points.get(layer.name.as_str()).copied();
            if stat.0.shape == StatisticShape::InputByInput && seen.insert(point) {
                let cols = layer.shape[1] as f64;
                operations += 2.0 * self.tokens() as f64 * cols * cols;
            }
            // Of each layer and group one triangle.
            if let StatisticShape::InputByInputOfGroups(groups) = stat.0.shape {
                let cols = layer.shape[1] as f64;
                operations += groups as f64 * self.tokens() as f64 * cols * cols;
            }
        }
        let place: f64 = self
            .layers
            .iter()
            .map(|layer| layer.plan.cost.thread_seconds)
            .sum();
        let sampled = self.calibration.is_some_and(|plan| plan.data == SYNTHETIC);
        let sampling = if sampled {
            self.sampling_seconds(self.tokens())
        } else {
            0.0
        };
        (operations / FLOPS_PER_THREAD + place) / threads
            + sampling
            + self.facts.parameters as f64 / FILE_WEIGHTS_PER_SECOND
    }
}

/// Seconds, no finer than the guess is worth.
fn rounded(seconds: f64) -> f64 {
    (seconds * 10.0).ceil() / 10.0
}
