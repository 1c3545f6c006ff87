//! What will be done to one model: every decision made, nothing read but headers.
//!
//! [`Plan`] is complete and serialisable: for each tensor the method, its parameters and why. The
//! quantizers are configured from it again, so a plan read back does what it says.

mod budget;
mod budgeted;
mod choose;
mod data;
mod error;
mod estimate;
mod evaluations;
mod experts;
mod facts;
mod formats;
mod integer;
mod request;
mod resolve;
mod size;
mod table;
mod cache;
mod cache_budget;
mod transforms;
mod way;
#[cfg(test)]
pub(crate) mod tests;

pub use budget::{
    Correlation, MEASURED_VERSION, Measured, MeasuredCalibration, MeasuredLayer, MeasuredModel,
    MeasuredOption, OptionScore, PlannedBudget, Scores,
};
pub(crate) use budgeted::option_key;
pub use cache::{FITTED_TOKENS, PlannedCache};
pub use cache_budget::PlannedCacheBudget;
pub(crate) use data::{SYNTHETIC_SAMPLES, SYNTHETIC_TOKENS};
pub use error::PlanError;
pub use estimate::Estimate;
pub(crate) use estimate::RESIDENT_BYTES;
pub use eval::kind::ModelKind;
pub(crate) use evaluations::{check_gates, evaluations};
pub(crate) use experts::input_bytes;
pub(crate) use facts::float_type;
pub use facts::{KeptTensors, ModelFacts, RewriteFacts, StageFacts, dtype_name};
pub use integer::PlannedInteger;
pub(crate) use integer::SYNTHETIC;
pub use request::{EvaluateRequest, QuantizeRequest};
pub(crate) use resolve::KEPT_INPUT_BYTES;
pub use size::PredictedSize;
pub use table::{render, render_all};
pub use transforms::PlannedTransform;
pub use way::PlannedAttention;

use calib::running::expert_calibration::ExpertCalibration;
use calib::sampling::{Selection, Template, TextMode};
use eval::tasks::TaskSpec;
use quantizers::statistics::TOKEN_COUNT;
use quantizers::{LayerPlan, METHODS, ParamError, Quantizer, Sequential, Stat};
use serde::{Deserialize, Serialize};

/// Every decision about one model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The checkpoint.
    pub model: PlannedModel,
    /// The recipe.
    pub recipe: PlannedRecipe,
    /// Seed of everything random; split by layer name further down.
    pub seed: u64,
    /// What is measured before quantizing; absent where no method asks for anything.
    pub calibration: Option<PlannedCalibration>,
    /// How the whole checkpoint is rewritten before anything is read from it; everything else here is about what comes
    /// of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rewrite: Option<PlannedTransform>,
    /// How blocks are rewritten before their layers are quantized, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub transforms: Vec<PlannedTransform>,
    /// How the cache of keys and values is kept when the model runs; absent where it stays as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<PlannedCache>,
    /// Which keys are attended to when the model runs; absent where all are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attention: Option<PlannedAttention>,
    /// What the layers may take together, and what they were given; absent where rules say it all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<PlannedBudget>,
    /// Quantized layers, in execution order.
    pub layers: Vec<PlannedLayer>,
    /// Linear layers that stay as they are, and why.
    pub kept: Vec<KeptLayer>,
    /// Everything else that stays as it is: token tables, positions, normalisations.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kept_tensors: Vec<KeptTensors>,
    /// How the model becomes an integer program; absent for weight-only plans.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub integer: Option<PlannedInteger>,
    /// Registry name of the output format.
    pub format: String,
    /// Why that format.
    pub format_because: String,
    /// Most bytes of one weight file.
    pub shard_bytes: u64,
    /// Tasks run on the written files.
    pub evaluations: Vec<PlannedEvaluation>,
    /// Bounds the result must keep, as `figure<=bound`.
    pub gates: Vec<String>,
    /// Predicted sizes.
    pub size: PredictedSize,
    /// Predicted memory and time.
    pub estimate: Estimate,
    /// What a reader should know: fallbacks, dropped parameters, missing evaluations.
    pub notes: Vec<String>,
}

/// The checkpoint of a [`Plan`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedModel {
    /// `org/name`, the folder, or `demo`.
    pub name: String,
    /// Commit, for Hub models.
    pub revision: Option<String>,
    /// Family.
    pub architecture: String,
    /// Parameters of the whole checkpoint.
    pub parameters: u64,
}

/// The recipe of a [`Plan`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedRecipe {
    /// Its name.
    pub name: String,
    /// Where it was read from.
    pub origin: String,
    /// SHA-256 of its text, hexadecimal.
    pub sha256: String,
    /// What the command line changed.
    pub overrides: Vec<String>,
}

/// What is measured before quantizing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedCalibration {
    /// A path, `hub:...` or `synthetic`.
    pub data: String,
    /// Sequences or images wanted.
    pub samples: usize,
    /// How many the data can give at most, where that is known and fewer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_most: Option<usize>,
    /// Tokens of one sequence; 0 for images.
    pub sequence_length: usize,
    /// How text becomes sequences.
    pub mode: TextMode,
    /// Which of them are taken.
    pub selection: Selection,
    /// What conversations become.
    #[serde(default, skip_serializing_if = "Template::is_chat")]
    pub template: Template,
    /// Names of the statistics, sorted.
    pub statistics: Vec<String>,
    /// Statistics of every layer that only the report reads.
    pub report: Vec<Stat>,
    /// Which block is quantized first.
    pub order: BlockOrder,
    /// Which weights run while statistics are measured: the most demanding layer decides.
    pub sequential: Sequential,
    /// Statistics of the original model stay in the cache folder for the next run.
    pub keep_statistics: bool,
    /// What the layers of experts are measured on; absent where the model has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub experts: Option<ExpertCalibration>,
    /// Bytes of block inputs that the backward pass keeps in memory; the rest goes to a scratch file.
    pub kept_input_bytes: u64,
    /// Bytes of tapes kept, so that their blocks are not run twice.
    pub tape_bytes: u64,
}

/// Which block is quantized first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BlockOrder {
    /// In the order they run.
    FirstToLast,
    /// In the order the backward pass leaves them.
    LastToFirst,
}

/// One layer to quantize.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedLayer {
    /// Module name, without `.weight`.
    pub name: String,
    /// `[out, in]`.
    pub shape: [usize; 2],
    /// The stage it belongs to.
    pub stage: usize,
    /// It sees only the tokens that a router sends it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub routed: bool,
    /// Registry name of the method.
    pub method: String,
    /// Parameters of the method, after fallbacks.
    pub parameters: toml::Table,
    /// What its quantizer will do.
    pub plan: LayerPlan,
    /// Interquartile-range factor of its sparse part, where it is known from an earlier run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outlier_factor: Option<f64>,
    /// Predicted stored bits over weights.
    pub bits_per_weight: f64,
    /// Bytes in the checkpoint.
    pub original_bytes: u64,
    /// Predicted bytes in the artifact.
    pub bytes: u64,
    /// The rule and what made it differ from the rule.
    pub because: String,
}

/// One linear layer that stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeptLayer {
    /// Module name.
    pub name: String,
    /// `[out, in]`.
    pub shape: [usize; 2],
    /// Bytes in the checkpoint and in the artifact.
    #[serde(default)]
    pub bytes: u64,
    /// Why.
    pub because: String,
}

/// One task to run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedEvaluation {
    /// What to run on what.
    pub spec: TaskSpec,
    /// The recipe line, the flag or the default it comes from.
    pub because: String,
}

impl Plan {
    /// Statistics to be measured for `layer`: what its quantizer reads, what the report does, and for experts of how
    /// many tokens that is.
    pub fn needs_of<'p>(&'p self, layer: &'p PlannedLayer) -> impl Iterator<Item = Stat> + 'p {
        let report = self.calibration.iter();
        let report = report.flat_map(|calibration| calibration.report.iter().copied());
        let counted = layer.routed.then_some(Stat(&TOKEN_COUNT));
        let needs = layer.plan.needs.iter().copied();
        needs.chain(report).chain(counted)
    }
}

impl PlannedLayer {
    /// The configured quantizer.
    ///
    /// # Errors
    /// Parameters the method cannot take; never for a plan made by this version.
    pub fn quantizer(&self) -> Result<Box<dyn Quantizer>, ParamError> {
        let method = METHODS.iter().find(|method| method.name() == self.method);
        match method {
            Some(method) => method.configure(&self.parameters),
            None => Err(ParamError::BadValue {
                method: "plan",
                key: "method".to_owned(),
                expected: "a method of this version".to_owned(),
                found: format!("`{}`", self.method),
            }),
        }
    }

    /// Number of weights.
    pub fn weights(&self) -> u64 {
        self.shape[0] as u64 * self.shape[1] as u64
    }
}
