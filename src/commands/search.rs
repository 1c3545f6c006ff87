//! `quench search`: which configuration of a recipe loses least, found with few measurements.

use super::output::{self, Replace};
use super::{fetch_options, print, print_json, recipes, resources};
use crate::args::SearchArgs;
use crate::machine::Machine;
use crate::model::{DEMO, OpenModel};
use crate::plan::{ModelFacts, ModelKind, Plan, QuantizeRequest};
use crate::progress::Progress;
use crate::recipe::{Origin, RECIPE_FILE, Recipe};
use crate::search::{
    BUILTIN_SPACES, Comparison, Measured, RECORD_FILE, Record, RecordError, Space, SpaceError,
};
use crate::{Error, ExitCode, road};
use calib::hub::FetchOptions;
use eval::report::Report;
use eval::score::{Better, Metric};
use eval::tasks::TASKS;
use quantizers::nearest::nearest;
use quantizers::search::{Earlier, Explorer};
use serde::Serialize;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Configurations in the printed table.
const SHOWN: usize = 5;

/// Measures configurations until enough are, and prints the best.
///
/// # Errors
/// A space or record that does not fit, a recipe no configuration of which suits the model, anything that keeps the
/// road from its end.
pub fn run(args: &SearchArgs, json: bool, progress: &Progress) -> Result<(), Error> {
    let machine = resources::prepare(&args.machine)?;
    let fetch = fetch_options(&args.source);
    let revision = args.source.revision.as_deref();
    let open = OpenModel::open(&args.model, revision, &fetch, progress)?;
    let open = open.into_original(progress)?;
    let facts = open.facts();
    let space = space(args, &facts)?;
    let mut recipe = args.recipe.clone();
    recipe.recipe.get_or_insert_with(|| space.recipe.clone());
    let (base, plan) = recipes::plan(
        &recipe,
        recipes::Evaluating::With(&args.evaluation),
        args.model == DEMO,
        &facts,
        machine.threads,
    )?;
    let metric = metric(args, &plan)?;
    let output = args
        .output
        .clone()
        .unwrap_or_else(|| default_output(&open.name, &space.name));
    let search = Search {
        model: &open,
        facts: &facts,
        space: &space,
        base: base.to_toml(),
        metric,
        fetch,
        machine,
        output,
        progress,
    };
    let record = Record::new(&space, &open.name, &base.sha256, metric.name);
    search.check(&base)?;
    let mut record = search.begun(record)?;
    let earlier = search.earlier(args, &record)?;
    let count = space.choices().count().unwrap_or(usize::MAX);
    let wanted = args.evaluations.unwrap_or(count.div_ceil(4)).min(count);
    search.measure(&mut record, &earlier, wanted, base.seed)?;
    let result = search.result(record, &earlier, count)?;
    if json {
        print_json(&result)
    } else {
        print(&search.render(&result))
    }
}

/// The space of `--space`, or the built-in one for the kind of model.
fn space(args: &SearchArgs, facts: &ModelFacts) -> Result<Space, Error> {
    let named = args.space.as_deref();
    let name = named.unwrap_or(match facts.kind {
        ModelKind::Decoder => BUILTIN_SPACES[0].name,
        _ => BUILTIN_SPACES[1].name,
    });
    let path = Path::new(name);
    let text = if path.is_file() {
        fs_err::read_to_string(path)
            .map_err(|error| Error::io(format!("cannot read space `{name}`"), error))?
    } else {
        let found = BUILTIN_SPACES.iter().find(|space| space.name == name);
        let known = BUILTIN_SPACES.iter().map(|space| space.name);
        let found = found.ok_or_else(|| {
            let hint = match nearest(name, known.clone()) {
                Some(nearest) => format!("did you mean `{nearest}`?"),
                None => format!(
                    "built in are {}",
                    known
                        .map(|name| format!("`{name}`"))
                        .collect::<Vec<_>>()
                        .join(", ")
                ),
            };
            Error::usage(format!("no space `{name}`: neither a file nor built in")).with_hint(hint)
        })?;
        found.text.to_owned()
    };
    Space::parse(&text)
        .map_err(|source| Error::mismatch(format!("space `{name}` is not valid"), source))
}

/// The figure of `--metric`, or the first of the task.
fn metric(args: &SearchArgs, plan: &Plan) -> Result<&'static Metric, Error> {
    let Some(evaluation) = plan.evaluations.first() else {
        return Err(Error::usage(
            "nothing says which configuration is better: the recipe evaluates nothing",
        )
        .with_hint("name data like the model's own with `--eval-data`"));
    };
    let task = TASKS
        .iter()
        .find(|task| task.name() == evaluation.spec.task);
    let known = task.map_or(&[][..], |task| task.metrics());
    let found = match &args.metric {
        Some(name) => known.iter().find(|metric| metric.name == name),
        None => known.first(),
    };
    found.ok_or_else(|| {
        let names: Vec<String> = known
            .iter()
            .map(|metric| format!("`{}`", metric.name))
            .collect();
        Error::usage(format!(
            "task `{}` has no figure `{}`, expected one of {}",
            evaluation.spec.task,
            args.metric.as_deref().unwrap_or_default(),
            names.join(", ")
        ))
    })
}

/// `quench-out/MODEL-SPACE`, MODEL being the last part of its name.
fn default_output(model: &str, space: &str) -> PathBuf {
    let name = model.rsplit(['/', '\\']).find(|part| !part.is_empty());
    Path::new("quench-out").join(format!("{}-{space}", name.unwrap_or("model")))
}

/// One search, resolved.
struct Search<'a> {
    model: &'a OpenModel,
    facts: &'a ModelFacts,
    space: &'a Space,
    /// The recipe that is changed.
    base: String,
    metric: &'static Metric,
    fetch: FetchOptions,
    machine: Machine,
    output: PathBuf,
    progress: &'a Progress,
}

/// What a search ends with.
#[derive(Serialize)]
struct Found {
    /// The best first.
    ranking: Vec<Measured>,
    /// Where the recipe of the best is.
    recipe: PathBuf,
    comparison: Option<Comparison>,
    #[serde(flatten)]
    record: Record,
}

impl Search<'_> {
    /// Least where a figure is best.
    fn loss(&self, value: f64) -> f64 {
        match self.metric.better {
            Better::Lower => value.ln(),
            Better::Higher => -value,
        }
    }

    fn record_path(&self) -> PathBuf {
        self.output.join(RECORD_FILE)
    }

    /// Tries to plan every choice, each beside the first choices of the other dimensions.
    fn check(&self, base: &Recipe) -> Result<(), Error> {
        let choices = self.space.choices();
        let count = choices.count().unwrap_or(0);
        let alone = (0..count)
            .filter(|at| choices.of(*at).iter().filter(|choice| **choice > 0).count() <= 1);
        for at in alone.take(1000) {
            let (recipe, plan) = self.planned(at)?;
            if at == 0 {
                resources::check(&plan, &self.model.folder, &self.output, self.progress)?;
            }
            if at > 0 && recipe.sha256 == base.sha256 {
                self.progress.say(&format!(
                    "{} changes nothing in the recipe",
                    self.space.line(at)
                ));
            }
        }
        Ok(())
    }

    /// The recipe and plan of configuration `at`.
    fn planned(&self, at: usize) -> Result<(Recipe, Plan), Error> {
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
        let plan = recipe.check(self.facts, self.machine.threads);
        let plan = plan.map_err(|source| Error::Plan {
            recipe: self.space.line(at),
            model: self.model.name.clone(),
            source,
        })?;
        Ok((recipe, plan))
    }

    /// `record`, or the one that is there already and was begun with the same.
    fn begun(&self, record: Record) -> Result<Record, Error> {
        let path = self.record_path();
        if !path.is_file() {
            output::check(&self.output, Replace::Nothing, &[])?;
            fs_err::create_dir_all(&self.output)
                .map(|()| output::mark(&self.output))
                .map_err(|error| {
                    Error::io(format!("cannot write `{}`", self.output.display()), error)
                })??;
            return Ok(record);
        }
        let found = Record::read(&path).map_err(unreadable)?;
        found.check(&record, &path, true).map_err(|error| {
            Error::mismatch("the output folder holds another search", error)
                .with_hint("name another folder with `-o`")
        })?;
        self.progress.say(&format!(
            "{} configurations have been measured before",
            found.measured.len()
        ));
        Ok(found)
    }

    /// Losses of the searches of `--learn-from`.
    fn earlier(&self, args: &SearchArgs, record: &Record) -> Result<Vec<Earlier>, Error> {
        let read = |folder: &PathBuf| {
            let path = if folder.is_dir() {
                folder.join(RECORD_FILE)
            } else {
                folder.clone()
            };
            let found = Record::read(&path).map_err(unreadable)?;
            found.check(record, &path, false).map_err(|error| {
                Error::mismatch("cannot learn from a search of something else", error)
            })?;
            let rows = found.measured.iter();
            Ok(rows
                .filter_map(|row| Some((row.configuration, self.loss(row.value?))))
                .filter(|(_, loss)| loss.is_finite())
                .collect())
        };
        args.learn_from.iter().map(read).collect()
    }

    /// Measures until `wanted` configurations are.
    fn measure(
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
                    row.reason = Some(error.to_string());
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
        let (recipe, plan) = self.planned(at)?;
        let output = self.output.join("measured");
        let request = QuantizeRequest {
            plan,
            recipe: recipe.to_toml(),
            output: output.clone(),
            replace: true,
            evaluate: true,
            gates: Vec::new(),
            fetch: self.fetch.clone(),
            machine: self.machine.clone(),
            command: super::command_line(),
        };
        let report = road::quantize::run(self.model, &request, &Progress::silent());
        if output.is_dir() {
            fs_err::remove_dir_all(&output)
                .map_err(|error| Error::io("cannot remove what was measured", error))?;
        }
        report
    }

    /// Ranks, writes the recipe of the best, and compares where everything has been measured.
    fn result(&self, record: Record, earlier: &[Earlier], count: usize) -> Result<Found, Error> {
        let mut ranking: Vec<Measured> = record.measured.clone();
        ranking.retain(|row| row.value.is_some());
        let loss = |row: &Measured| row.value.map_or(f64::INFINITY, |value| self.loss(value));
        ranking.sort_by(|a, b| loss(a).total_cmp(&loss(b)));
        let Some(best) = ranking.first() else {
            let reason = record.measured.first().and_then(|row| row.reason.clone());
            return Err(Error::Mismatch {
                message: format!(
                    "none of {} configurations suits the model",
                    record.measured.len()
                ),
                source: reason.map(Into::into),
                hint: None,
            });
        };
        let (recipe, _) = self.planned(best.configuration)?;
        let path = self.output.join(RECIPE_FILE);
        fs_err::write(&path, recipe.to_toml())
            .map_err(|error| Error::io("cannot write the best recipe", error))?;
        let mut values = vec![None; count.min(record.measured.len())];
        let complete = record.measured.len() == count;
        if complete {
            for row in &record.measured {
                values[row.configuration] = row.value;
            }
        }
        let comparison = complete
            .then(|| {
                Comparison::of(
                    &self.space.choices(),
                    &values,
                    |value| self.loss(value),
                    earlier,
                )
            })
            .flatten();
        Ok(Found {
            ranking,
            recipe: path,
            comparison,
            record,
        })
    }

    fn render(&self, found: &Found) -> String {
        let mut text = String::new();
        let record = &found.record;
        let count = self.space.choices().count().unwrap_or(0);
        let failed = record.measured.len() - found.ranking.len();
        let _ = writeln!(
            text,
            "{} of {count} configurations of `{}` measured on `{}`{}",
            record.measured.len(),
            self.space.name,
            record.model,
            if failed > 0 {
                format!(", {failed} of which do not suit it")
            } else {
                String::new()
            }
        );
        if let Some(original) = record.original {
            let _ = writeln!(text, "{} of the original: {original:.5}", self.metric.label);
        }
        let _ = writeln!(text, "\n{:>12}  bits  configuration", self.metric.name);
        for row in found.ranking.iter().take(SHOWN) {
            let bits = row.bits_per_weight.unwrap_or(f64::NAN);
            let value = row.value.unwrap_or(f64::NAN);
            let _ = writeln!(text, "{value:>12.5}  {bits:.2}  {}", row.choices);
        }
        if let Some(comparison) = &found.comparison {
            let _ = writeln!(
                text,
                "\nmeasurements until one is within 0.1 % of the best, median of 20 seeds:\n  \
                 trees {}, {}random order {}, order of the grid {}",
                comparison.trees,
                comparison
                    .transferred
                    .map_or_else(String::new, |count| format!(
                        "taught by earlier searches {count}, "
                    )),
                comparison.random,
                comparison.grid
            );
        }
        let _ = writeln!(text, "\nrecipe of the best: {}", found.recipe.display());
        text
    }
}

fn unreadable(error: RecordError) -> Error {
    match error {
        RecordError::File(error) => Error::io("cannot read or write the record of a search", error),
        other => Error::mismatch("cannot use the record of a search", other),
    }
}
