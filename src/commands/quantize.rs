//! `quench quantize`: the whole road.

use super::measured::{self, Measuring};
use super::output::{self, Input, Replace};
use super::recipes::Budgeting;
use super::{fetch_options, print, print_json, recipes, resources, summary};
use crate::args::QuantizeArgs;
use crate::model::{DEMO, OpenModel};
use crate::plan::{Plan, QuantizeRequest, render_all};
use crate::progress::Progress;
use crate::{Error, road};
use std::path::{Path, PathBuf};

/// Resolves everything, then travels the road and prints the report.
///
/// # Errors
/// Anything that keeps the road from its end, and a gate that fails there.
pub fn run(args: &QuantizeArgs, json: bool, progress: &Progress) -> Result<(), Error> {
    let machine = resources::prepare(&args.machine)?;
    let fetch = fetch_options(&args.source);
    let revision = args.source.revision.as_deref();
    let open = OpenModel::open(&args.model, revision, &fetch, progress)?;
    let open = open.into_original(progress)?;
    let demo = args.model == DEMO;
    let facts = open.facts();
    let resolved = recipes::resolve(
        &args.recipe,
        Budgeting::With(&args.budget),
        recipes::Evaluating::from(args),
        demo,
        &facts,
    )?;
    let mut scores = measured::find(&resolved.recipe, &open, progress)?;
    if scores.is_none() && resolved.recipe.is_open() {
        let measuring = Measuring {
            open: &open,
            facts: &facts,
            machine: machine.clone(),
            fetch: &fetch,
        };
        scores = Some(measuring.measure_once(&resolved, progress)?);
    }
    let plan = resolved.plan(&facts, machine.threads, scores.as_ref())?;
    let recipe = resolved.recipe;
    let output = args
        .output
        .clone()
        .unwrap_or_else(|| default_output(&open.name, &recipe.name));
    let replace = Replace::of(args.force, args.force_foreign);
    output::check(&output, replace, &inputs(args, &open, &plan))?;
    resources::check(&plan, &open.folder, &output, progress)?;
    for note in &plan.notes {
        progress.say(note);
    }
    progress.detail(&render_all(&plan));
    let request = QuantizeRequest {
        plan,
        recipe: recipe.to_toml(),
        output,
        replace: replace != Replace::Nothing,
        evaluate: !args.no_eval,
        gates: recipe.gates,
        fetch,
        machine,
        command: super::command_line(),
    };
    let report = road::quantize::run(&open, &request, progress)?;
    if json {
        print_json(&report)?;
    } else {
        print(&summary::render(&report, Some(&request.output)))?;
    }
    super::check_gates(&report, Some(&request.output))
}

/// Everything the run reads from this disk.
fn inputs(args: &QuantizeArgs, open: &OpenModel, plan: &Plan) -> Vec<Input> {
    let calibration = plan.calibration.iter().map(|planned| &planned.data);
    let evaluation = plan.evaluations.iter().map(|planned| &planned.spec.data);
    let mut inputs = vec![Input::new("model", &open.folder)];
    inputs.extend(calibration.filter_map(|data| Input::data("calibration data", data)));
    inputs.extend(evaluation.filter_map(|data| Input::data("evaluation data", data)));
    let recipe = args.recipe.recipe.as_deref().map(Path::new);
    inputs.extend(
        recipe
            .filter(|path| path.is_file())
            .map(|path| Input::new("recipe", path)),
    );
    inputs
}

/// `quench-out/MODEL-RECIPE`, MODEL being the last part of its name.
fn default_output(model: &str, recipe: &str) -> PathBuf {
    let name = Path::new(model)
        .canonicalize()
        .ok()
        .as_deref()
        .unwrap_or(Path::new(model))
        .file_name()
        .map_or_else(
            || "model".to_owned(),
            |name| name.to_string_lossy().into_owned(),
        );
    Path::new("quench-out").join(format!("{name}-{recipe}"))
}
