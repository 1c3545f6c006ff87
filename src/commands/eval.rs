//! `quench eval`: tasks on any checkpoint or quantized folder.

use super::open::OpenModel;
use super::{check_gates, command_line, print, print_json, recipes, summary, threads};
use crate::args::EvalArgs;
use crate::plan::{EvaluateRequest, PlanError, evaluations};
use crate::progress::Progress;
use crate::{Error, pipeline};
use eval::report;
use std::path::Path;

/// Runs the tasks and prints the scores.
///
/// # Errors
/// A model or data that cannot be read, nothing to evaluate on, or a gate that fails.
pub fn run(args: &EvalArgs, json: bool, progress: &Progress) -> Result<(), Error> {
    let machine = threads::prepare(&args.machine)?;
    let recipe = args.recipe.as_deref().map(recipes::named).transpose()?;
    let open = OpenModel::open(&args.model, &args.source, progress)?;
    let baseline = match &args.baseline {
        Some(name) => Some(OpenModel::open(name, &args.source, progress)?),
        None => known_baseline(&open, args, progress),
    };
    let mut notes = Vec::new();
    let tables = recipe
        .as_ref()
        .map_or(&[][..], |recipe| &recipe.evaluations);
    let facts = open.facts();
    let evaluations = evaluations(
        tables,
        args.evaluation.eval_data.as_deref(),
        &facts,
        &mut notes,
    )
    .map_err(|source| match source {
        PlanError::Recipe(source) => Error::Recipe {
            origin: args.recipe.clone().unwrap_or_default(),
            source,
        },
        source => Error::Plan {
            recipe: args
                .recipe
                .clone()
                .unwrap_or_else(|| "the command line".to_owned()),
            model: facts.name.clone(),
            source,
        },
    })?;
    if evaluations.is_empty() {
        return Err(Error::usage(format!(
            "nothing to evaluate `{}` on: a {} needs data of its own",
            args.model,
            facts.kind.name()
        ))
        .with_hint("name data with `--eval-data`, or a recipe with `[[evaluate]]` tables"));
    }
    for note in &notes {
        progress.say(&format!("note: {note}"));
    }
    let mut gates = recipe.map_or_else(Vec::new, |recipe| recipe.gates);
    gates.extend(args.evaluation.gate.iter().cloned());
    let request = EvaluateRequest {
        evaluations,
        gates,
        seed: args.seed,
        fetch: super::open::fetch_options(&args.source),
        machine,
        command: command_line(),
    };
    let report = pipeline::evaluate::run(&open, baseline.as_ref(), &request, progress)?;
    if json {
        print_json(&report)?;
    } else {
        print(&summary::render(&report, None))?;
    }
    check_gates(&report, None)
}

/// The original a quantized folder was made from, where its report names one that is still there.
fn known_baseline(open: &OpenModel, args: &EvalArgs, progress: &Progress) -> Option<OpenModel> {
    if !open.is_quantized() {
        return None;
    }
    let written = report::read(&open.folder.join(report::JSON_FILE)).ok()?;
    let (name, revision) = (written.model.name, written.model.revision);
    let is_folder = Path::new(&name).is_dir();
    let text = match revision {
        Some(revision) if !is_folder => format!("{name}@{revision}"),
        _ => name,
    };
    let source = crate::args::SourceArgs {
        revision: None,
        offline: args.source.offline,
    };
    match OpenModel::open(&text, &source, progress) {
        Ok(baseline) => Some(baseline),
        Err(error) => {
            progress.warn(&format!(
                "no comparison with the original `{text}`: {error}"
            ));
            None
        }
    }
}
