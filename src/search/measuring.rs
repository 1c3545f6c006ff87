//! The configurations of a space one after the other, each quantized and evaluated for real.

use super::record::{Measured, RECORD_FILE, Record, RecordError};
use super::space::{Space, SpaceError};
use crate::machine::Machine;
use crate::model::OpenModel;
use crate::plan::{Plan, QuantizeRequest};
use crate::progress::Progress;
use crate::recipe::{Origin, Recipe};
use crate::road::Clock;
use crate::{Error, ExitCode, road};
use calib::hub::FetchOptions;
use eval::report::Report;
use eval::score::{Better, Metric};
use quantizers::search::{Earlier, Explorer};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

/// Name of the folder of the configuration that is being measured.
const MEASURED_FOLDER: &str = "measured";

/// One search, resolved.
pub struct Search<'a> {
    /// The original model.
    pub model: &'a Arc<OpenModel>,
    /// What is chosen among.
    pub space: &'a Space,
    /// The recipe that is changed.
    pub base: String,
    /// The figure that is to be best.
    pub metric: &'static Metric,
    /// How to reach the Hub, for data.
    pub fetch: FetchOptions,
    /// Where.
    pub machine: Machine,
    /// The folder of the search.
    pub output: PathBuf,
    /// Where it is told of.
    pub progress: &'a Progress,
    /// The command as typed.
    pub command: String,
}

impl Search<'_> {
    /// Least where a figure is best.
    pub fn loss(&self, value: f64) -> f64 {
        match self.metric.better {
            Better::Lower => value.ln(),
            Better::Higher => -value,
        }
    }

    /// Where its record is.
    pub fn record_path(&self) -> PathBuf {
        self.output.join(RECORD_FILE)
    }

    /// The recipe and plan of configuration `at`, and the model as its transforms leave it.
    ///
    /// # Errors
    /// A configuration that is no recipe, or does not suit the model.
    pub fn planned(&self, at: usize) -> Result<(Recipe, Plan, Arc<OpenModel>), Error> {
        let failed = |source: SpaceError| {
            Error::mismatch(
                format!("space `{}` does not fit its recipe", self.space.name),
                source,
            )
        };
        let text = self.space.recipe_at(&self.base, at).map_err(failed)?;
        let recipe = Recipe::parse(&text, Origin::CommandLine, None).map_err(|source| {
            failed(SpaceError::Recipe {
                choices: self.space.line(at),
                source,
            })
        })?;
        let model = self.model.rewritten(&recipe, &self.space.line(at))?;
        let plan = recipe.check(&model.facts(), self.machine.threads);
        let plan = plan.map_err(|source| Error::Plan {
            recipe: self.space.line(at),
            model: self.model.name.clone(),
            source,
        })?;
        Ok((recipe, plan, model))
    }

    /// Measures until `wanted` configurations are.
    ///
    /// # Errors
    /// Anything but a model that cannot be quantized so.
    pub fn measure(
        &self,
        record: &mut Record,
        earlier: &[Earlier],
        wanted: usize,
        seed: u64,
    ) -> Result<(), Error> {
        let mut explorer = Explorer::new(self.space.choices(), 0, earlier, seed);
        for row in &record.measured {
            explorer.add(row.configuration, row.value.map(|value| self.loss(value)));
        }
        while record.measured.len() < wanted {
            let Some(at) = explorer.suggest() else { break };
            let begun = Instant::now();
            let mut row = Measured {
                configuration: at,
                choices: self.space.line(at),
                value: None,
                reason: None,
                bits_per_weight: None,
                seconds: 0.0,
            };
            match self.report(at) {
                Ok(report) => {
                    let score = report
                        .scores
                        .iter()
                        .find(|score| score.metric == self.metric.name);
                    row.value = score
                        .and_then(|score| score.quantized)
                        .filter(|value| value.is_finite());
                    record.original = score.and_then(|score| score.original);
                    row.bits_per_weight = report.size.map(|size| size.bits_per_weight_linear);
                    if row.value.is_none() {
                        row.reason = Some(format!("`{}` is no number", self.metric.name));
                    }
                }
                // The model cannot be quantized so; another configuration may do.
                Err(error) if error.exit_code() == ExitCode::Mismatch => {
                    row.reason = Some(with_causes(&error));
                }
                Err(error) => return Err(error),
            }
            row.seconds = begun.elapsed().as_secs_f64();
            let value = match (&row.value, &row.reason) {
                (Some(value), _) => format!("{} {value:.5}", self.metric.name),
                (None, reason) => reason.clone().unwrap_or_default(),
            };
            self.progress.say(&format!(
                "{}/{wanted} {value}: {}, {:.1} s",
                record.measured.len() + 1,
                row.choices,
                row.seconds
            ));
            explorer.add(at, row.value.map(|value| self.loss(value)));
            record.measured.push(row);
            record.write(&self.record_path()).map_err(unreadable)?;
        }
        Ok(())
    }

    /// Travels the road with configuration `at`; what it wrote is gone afterwards.
    fn report(&self, at: usize) -> Result<Report, Error> {
        let (recipe, plan, model) = self.planned(at)?;
        let output = self.output.join(MEASURED_FOLDER);
        let request = QuantizeRequest {
            plan,
            recipe: recipe.to_toml(),
            output: output.clone(),
            replace: true,
            evaluate: true,
            gates: Vec::new(),
            fetch: self.fetch.clone(),
            machine: self.machine.clone(),
            command: self.command.clone(),
        };
        let report = road::quantize::run(&model, &request, Clock::start(), &Progress::silent());
        if output.is_dir() {
            fs_err::remove_dir_all(&output)
                .map_err(|error| Error::io("cannot remove what was measured", error))?;
        }
        report
    }
}

/// An error and what caused it, in one line.
fn with_causes(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// The error of a record that cannot be used.
pub fn unreadable(error: RecordError) -> Error {
    match error {
        RecordError::File(error) => Error::io("cannot read or write the record of a search", error),
        other => Error::mismatch("cannot use the record of a search", other),
    }
}
