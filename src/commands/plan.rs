//! `quench plan`: what a recipe would do to a model.

use super::recipes::Budgeting;
use super::{fetch_options, measured, print, print_json, recipes, resources};
use crate::Error;
use crate::args::PlanArgs;
use crate::model::{DEMO, OpenModel};
use crate::plan::{render, render_all};
use crate::progress::Progress;
use std::sync::Arc;

/// Reads headers, decides everything, prints the decisions.
///
/// # Errors
/// A model that cannot be opened, or a recipe that does not fit it.
pub fn run(args: &PlanArgs, json: bool, progress: &Progress) -> Result<(), Error> {
    let open = OpenModel::open(
        &args.model,
        args.source.revision.as_deref(),
        &fetch_options(&args.source),
        progress,
    )?;
    let open = Arc::new(open.into_original(progress)?);
    let demo = args.model == DEMO;
    let threads = args.threads.unwrap_or_else(resources::available_threads);
    let resolved = recipes::resolve(
        &args.recipe,
        Budgeting::With(&args.budget),
        recipes::Evaluating::With(&args.evaluation),
        demo,
        &open.facts(),
    )?;
    let open = resolved.rewritten(&open)?;
    let facts = open.facts();
    let scores = measured::find(&resolved.recipe, &open, progress)?;
    let plan = resolved.plan(&facts, threads, scores.as_ref())?;
    if json {
        print_json(&plan)
    } else {
        let render = if progress.is_verbose() {
            render_all
        } else {
            render
        };
        print(&render(&plan))
    }
}
