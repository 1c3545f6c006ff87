//! `quench quantize`: the whole road.

use super::measured::{self, Measuring};
use super::output::{self, Replace};
use super::recipes::Budgeting;
use super::{fetch_options, print, print_json, recipes, resources, summary};
use crate::args::QuantizeArgs;
use crate::model::{DEMO, OpenModel};
use crate::plan::{QuantizeRequest, render_all};
use crate::progress::Progress;
use crate::road::Clock;
use crate::{Error, road};
use std::sync::Arc;

/// Resolves everything, then travels the road and prints the report.
///
/// # Errors
/// Anything that keeps the road from its end, and a gate that fails there.
pub fn run(args: &QuantizeArgs, json: bool, progress: &Progress) -> Result<(), Error> {
    let machine = resources::prepare(&args.machine)?;
    let fetch = fetch_options(&args.source);
    let revision = args.source.revision.as_deref();
    let open = OpenModel::open(&args.model, revision, &fetch, progress)?;
    let open = Arc::new(open.into_original(progress)?);
    let demo = args.model == DEMO;
    let resolved = recipes::resolve(
        &args.recipe,
        Budgeting::With(&args.budget),
        recipes::Evaluating::from(args),
        demo,
        &open.facts(),
    )?;
    let open = resolved.rewritten(&open)?;
    let facts = open.facts();
    let mut clock = Clock::start();
    let mut scores = measured::find(&resolved.recipe, &open, progress)?;
    if scores.is_none() && resolved.recipe.is_open() {
        let measuring = Measuring {
            open: &open,
            facts: &facts,
            machine: machine.clone(),
            fetch: &fetch,
        };
        scores = Some(clock.stage("measure", || measuring.measure_once(&resolved, progress))?);
    }
    let plan = resolved.plan(&facts, machine.threads, scores.as_ref())?;
    let recipe = resolved.recipe;
    let output = args
        .output
        .clone()
        .unwrap_or_else(|| output::default_folder(&open.name, &recipe.name));
    let replace = Replace::of(args.force, args.force_foreign);
    let inputs = output::inputs(args.recipe.recipe.as_deref(), &open, &plan);
    output::check(&output, replace, &inputs)?;
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
    let report = road::quantize::run(&open, &request, clock, progress)?;
    if json {
        print_json(&report)?;
    } else {
        print(&summary::render(&report, Some(&request.output)))?;
    }
    super::check_gates(&report, Some(&request.output))
}
