//! `quench eval`: tasks on any checkpoint or quantized folder.

use super::output::{self, Input, Replace};
use super::{
    check_gates, command_line, fetch_options, print, print_json, recipes, resources, summary,
    write_report,
};
use crate::args::EvalArgs;
use crate::model::OpenModel;
use crate::plan::{EvaluateRequest, PlanError, check_gates as check_bounds, evaluations};
use crate::progress::Progress;
use crate::{Error, road};
use calib::hub::FetchOptions;
use eval::kind::ModelKind;
use eval::report;
use std::path::Path;

/// Runs the tasks and prints the scores.
///
/// # Errors
/// A model or data that cannot be read, nothing to evaluate on, or a gate that fails.
pub fn run(args: &EvalArgs, json: bool, progress: &Progress) -> Result<(), Error> {
    let machine = resources::prepare(&args.machine)?;
    let recipe = args.recipe.as_deref().map(recipes::named).transpose()?;
    let fetch = fetch_options(&args.source);
    let revision = args.source.revision.as_deref();
    let open = OpenModel::open(&args.model, revision, &fetch, progress)?;
    let baseline = match &args.baseline {
        Some(name) => Some(OpenModel::open(name, revision, &fetch, progress)?),
        None => known_baseline(&open, &fetch, progress),
    };
    match &baseline {
        Some(baseline) => baseline.warn_of_baseline(progress),
        None => open.warn_of_quantization(progress),
    }
    let tables = recipe
        .as_ref()
        .map_or(&[][..], |recipe| &recipe.evaluations);
    let facts = open.facts();
    if facts.kind == ModelKind::Unknown {
        return Err(Error::Mismatch {
            message: format!("`{}` cannot be evaluated: its architecture is unknown", args.model),
            source: None,
            hint: Some(
                "`quench list architectures` says which models can be run; `quench quantize` takes others too"
                    .to_owned(),
            ),
        });
    }
    let mut notes = facts.notes.clone();
    let evaluations = evaluations(
        tables,
        args.evaluation.eval_data.as_deref(),
        &facts,
        &mut notes,
    )
    .map_err(|source| refused(args, &facts.name, source))?;
    if evaluations.is_empty() {
        return Err(Error::usage(format!(
            "nothing to evaluate `{}` on: a {} needs data of its own",
            args.model,
            facts.kind.name()
        ))
        .with_hint("name data with `--eval-data`, or a recipe with `[[evaluate]]` tables"));
    }
    for note in &notes {
        progress.say(note);
    }
    if let Some(output) = &args.output {
        let replace = Replace::of(args.force, args.force_foreign);
        let mut inputs = vec![Input::new("model", &open.folder)];
        inputs.extend(
            baseline
                .iter()
                .map(|baseline| Input::new("baseline", &baseline.folder)),
        );
        let data = evaluations.iter().map(|planned| &planned.spec.data);
        inputs.extend(data.filter_map(|data| Input::data("evaluation data", data)));
        output::check(output, replace, &inputs)?;
    }
    let mut gates = recipe.map_or_else(Vec::new, |recipe| recipe.gates);
    gates.extend(args.evaluation.gate.iter().cloned());
    let compares = baseline.is_some() || args.keep_tokens.is_some();
    check_bounds(&gates, &evaluations, compares)
        .map_err(|source| refused(args, &facts.name, source))?;
    let request = EvaluateRequest {
        evaluations,
        gates,
        keep_tokens: args.keep_tokens,
        seed: args.seed,
        compute: args.compute,
        fetch,
        machine,
        command: command_line(),
    };
    let report = road::evaluate::run(&open, baseline.as_ref(), &request, progress)?;
    let output = args.output.as_deref();
    if let Some(output) = output {
        write_report(&report, output)?;
    }
    if json {
        print_json(&report)?;
    } else {
        print(&summary::render(&report, output))?;
    }
    check_gates(&report, output)
}

/// Evaluations that do not fit the model.
fn refused(args: &EvalArgs, model: &str, source: PlanError) -> Error {
    match source {
        PlanError::Recipe(source) => Error::Recipe {
            origin: args.recipe.clone().unwrap_or_default(),
            source,
        },
        source => {
            let typed = || "the command line".to_owned();
            Error::Plan {
                recipe: args.recipe.clone().unwrap_or_else(typed),
                model: model.to_owned(),
                source,
            }
        }
    }
}

/// The original a quantized folder was made from, where its report names one that is still there.
fn known_baseline(
    open: &OpenModel,
    fetch: &FetchOptions,
    progress: &Progress,
) -> Option<OpenModel> {
    if !open.is_quantized() {
        return None;
    }
    let written = report::read(&open.folder.join(report::JSON_FILE)).ok()?;
    let (name, revision) = (written.model.name, written.model.revision);
    let is_folder = Path::new(&name).exists();
    let text = match revision {
        Some(revision) if !is_folder => format!("{name}@{revision}"),
        _ => name,
    };
    match OpenModel::open(&text, None, fetch, progress) {
        Ok(baseline) => Some(baseline),
        Err(error) => {
            progress.warn(&format!(
                "no comparison with the original `{text}`: {error}"
            ));
            None
        }
    }
}
