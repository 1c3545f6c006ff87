//! What the commands hand to the road: a plan and where it is to be carried out.

use super::{Plan, PlannedEvaluation};
use crate::machine::Machine;
use calib::hub::FetchOptions;
use eval::gate::Gate;
use quantizers::kernels::Compute;
use std::path::PathBuf;

/// `quench quantize`, resolved.
#[derive(Debug, Clone)]
pub struct QuantizeRequest {
    /// Every decision.
    pub plan: Plan,
    /// The recipe in force as TOML, for the artifact.
    pub recipe: String,
    /// The folder to write.
    pub output: PathBuf,
    /// An existing folder is to be replaced.
    pub replace: bool,
    /// Run [`Plan::evaluations`] on the written files.
    pub evaluate: bool,
    /// Bounds of the recipe and the command line.
    pub gates: Vec<Gate>,
    /// How to reach the Hub, for data.
    pub fetch: FetchOptions,
    /// Where.
    pub machine: Machine,
    /// The command as typed, for the report.
    pub command: String,
}

/// `quench eval`, resolved.
#[derive(Debug, Clone)]
pub struct EvaluateRequest {
    /// Tasks to run.
    pub evaluations: Vec<PlannedEvaluation>,
    /// Bounds of the command line and the recipe.
    pub gates: Vec<Gate>,
    /// Share of the tokens that blocks of the result compute; absent for all.
    pub keep_tokens: Option<f64>,
    /// Seed of sampled data and of the intervals.
    pub seed: u64,
    /// How packed weights are multiplied; decoded weights are used where nothing is said.
    pub compute: Option<Compute>,
    /// How to reach the Hub, for data.
    pub fetch: FetchOptions,
    /// Where.
    pub machine: Machine,
    /// The command as typed, for the report.
    pub command: String,
}
