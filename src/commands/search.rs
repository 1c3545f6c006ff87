//! `quench search`: which configuration of a recipe loses least, found with few measurements.

use super::output::{self, Input, Replace};
use super::{fetch_options, print, print_json, recipes, resources};
use crate::Error;
use crate::args::{BudgetArgs, SearchArgs};
use crate::model::{DEMO, OpenModel};
use crate::plan::{ModelFacts, ModelKind, Plan};
use crate::progress::Progress;
use crate::recipe::{RECIPE_FILE, Recipe};
use crate::search::{
    BUILTIN_SPACES, Comparison, Measured, RECORD_FILE, Record, Search, Space, unreadable,
};
use eval::score::Metric;
use eval::tasks::TASKS;
use quantizers::nearest::nearest;
use quantizers::search::Earlier;
use serde::Serialize;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Configurations in the printed table.
const SHOWN: usize = 5;

/// Measures configurations until enough are, and prints the best.
///
/// # Errors
/// A space or record that does not fit, a recipe no configuration of which suits the model, anything that keeps the
/// road from its end.
pub fn run(args: &SearchArgs, json: bool, progress: &Progress) -> Result<(), Error> {
    if let Some(gate) = args.evaluation.gate.first() {
        let message = format!("a search has no gates, found `{gate}`");
        return Err(
            Error::usage(message).with_hint("name it when you quantize with the best recipe")
        );
    }
    let machine = resources::prepare(&args.machine)?;
    let fetch = fetch_options(&args.source);
    let revision = args.source.revision.as_deref();
    let open = OpenModel::open(&args.model, revision, &fetch, progress)?;
    let open = Arc::new(open.into_original(progress)?);
    let facts = open.facts();
    let space = space(args, &facts)?;
    let mut recipe = args.recipe.clone();
    recipe.recipe.get_or_insert_with(|| space.recipe.clone());
    let budget = BudgetArgs::default();
    let resolved = recipes::resolve(
        &recipe,
        recipes::Budgeting::With(&budget),
        recipes::Evaluating::With(&args.evaluation),
        args.model == DEMO,
        &facts,
    )?;
    let plan = resolved.plan(&resolved.rewritten(&open)?.facts(), machine.threads, None)?;
    let base = resolved.recipe;
    let metric = metric(args, &plan)?;
    let output = args
        .output
        .clone()
        .unwrap_or_else(|| output::default_folder(&open.name, &space.name));
    let search = Search {
        model: &open,
        space: &space,
        base: base.to_toml(),
        metric,
        fetch,
        machine,
        output,
        progress,
        command: super::command_line(),
    };
    let record = Record::new(&space, &open.name, &base.sha256, metric.name);
    check(&search, &base)?;
    let inputs = output::inputs(recipe.recipe.as_deref(), &open, &plan);
    let mut record = begun(&search, record, &inputs)?;
    let taught = earlier(&search, args, &record)?;
    let count = space.choices().count().unwrap_or(usize::MAX);
    let wanted = args.evaluations.unwrap_or(count.div_ceil(4)).min(count);
    search.measure(&mut record, &taught, wanted, base.seed)?;
    let found = result(&search, record, &taught, count)?;
    if json {
        print_json(&found)
    } else {
        print(&render(&search, &found))
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

/// Tries to plan every choice, each beside the first choices of the other dimensions.
fn check(search: &Search<'_>, base: &Recipe) -> Result<(), Error> {
    let choices = search.space.choices();
    let count = choices.count().unwrap_or(0);
    let alone =
        (0..count).filter(|at| choices.of(*at).iter().filter(|choice| **choice > 0).count() <= 1);
    for at in alone.take(1000) {
        let (recipe, plan, _) = search.planned(at)?;
        if at == 0 {
            resources::check(&plan, &search.model.folder, &search.output, search.progress)?;
        }
        if at > 0 && recipe.sha256 == base.sha256 {
            search.progress.say(&format!(
                "{} changes nothing in the recipe",
                search.space.line(at)
            ));
        }
    }
    Ok(())
}

/// `record`, or the one that is there already and was begun with the same.
fn begun(search: &Search<'_>, record: Record, inputs: &[Input]) -> Result<Record, Error> {
    let path = search.record_path();
    if !path.is_file() {
        output::check(&search.output, Replace::Nothing, inputs)?;
        fs_err::create_dir_all(&search.output)
            .map(|()| output::mark(&search.output))
            .map_err(|error| {
                Error::io(format!("cannot write `{}`", search.output.display()), error)
            })??;
        return Ok(record);
    }
    let found = Record::read(&path).map_err(unreadable)?;
    found.check(&record, &path, true).map_err(|error| {
        Error::mismatch("the output folder holds another search", error)
            .with_hint("name another folder with `-o`")
    })?;
    search.progress.say(&format!(
        "{} configurations have been measured before",
        found.measured.len()
    ));
    Ok(found)
}

/// Losses of the searches of `--learn-from`.
fn earlier(search: &Search<'_>, args: &SearchArgs, record: &Record) -> Result<Vec<Earlier>, Error> {
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
            .filter_map(|row| Some((row.configuration, search.loss(row.value?))))
            .filter(|(_, loss)| loss.is_finite())
            .collect())
    };
    args.learn_from.iter().map(read).collect()
}

/// Ranks, writes the recipe of the best, and compares where everything has been measured.
fn result(
    search: &Search<'_>,
    record: Record,
    earlier: &[Earlier],
    count: usize,
) -> Result<Found, Error> {
    let mut ranking: Vec<Measured> = record.measured.clone();
    ranking.retain(|row| row.value.is_some());
    let loss = |row: &Measured| row.value.map_or(f64::INFINITY, |value| search.loss(value));
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
    let (recipe, ..) = search.planned(best.configuration)?;
    let path = search.output.join(RECIPE_FILE);
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
                &search.space.choices(),
                &values,
                |value| search.loss(value),
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

fn render(search: &Search<'_>, found: &Found) -> String {
    let mut text = String::new();
    let record = &found.record;
    let count = search.space.choices().count().unwrap_or(0);
    let failed = record.measured.len() - found.ranking.len();
    let _ = writeln!(
        text,
        "{} of {count} configurations of `{}` measured on `{}`{}",
        record.measured.len(),
        search.space.name,
        record.model,
        if failed > 0 {
            format!(", {failed} of which do not suit it")
        } else {
            String::new()
        }
    );
    if let Some(original) = record.original {
        let _ = writeln!(
            text,
            "{} of the original: {original:.5}",
            search.metric.label
        );
    }
    let _ = writeln!(text, "\n{:>12}  bits  configuration", search.metric.name);
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
