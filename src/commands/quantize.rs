//! `quench quantize`: the whole road.

use super::open::{DEMO, OpenModel};
use super::{print, print_json, recipes, resources, summary, threads};
use crate::args::QuantizeArgs;
use crate::plan::{QuantizeRequest, render};
use crate::progress::Progress;
use crate::{Error, pipeline};
use std::path::{Path, PathBuf};

/// Resolves everything, then travels the road and prints the report.
///
/// # Errors
/// Anything that keeps the road from its end, and a gate that fails there.
pub fn run(args: &QuantizeArgs, json: bool, progress: &Progress) -> Result<(), Error> {
    let machine = threads::prepare(&args.machine)?;
    let open = OpenModel::open(&args.model, &args.source, progress)?;
    open.require_original()?;
    let demo = args.model == DEMO;
    let (recipe, plan) = recipes::plan(
        &args.recipe,
        recipes::Evaluating::from(args),
        demo,
        &open.facts(),
        machine.threads,
    )?;
    let output = args
        .out
        .clone()
        .unwrap_or_else(|| default_output(&open.name, &recipe.name));
    check_output(&output, args.force)?;
    resources::check(&plan, &output)?;
    for note in &plan.notes {
        progress.say(&format!("note: {note}"));
    }
    progress.detail(&render(&plan));
    let request = QuantizeRequest {
        plan,
        output,
        replace: args.force,
        evaluate: !args.no_eval,
        gates: recipe.gates,
        fetch: super::open::fetch_options(&args.source),
        machine,
        command: super::command_line(),
    };
    let report = pipeline::quantize::run(&open, &request, progress)?;
    if json {
        print_json(&report)?;
    } else {
        print(&summary::render(&report, Some(&request.output)))?;
    }
    super::check_gates(&report, Some(&request.output))
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

/// The output must not exist, or be a folder that `--force` may replace.
pub(super) fn check_output(output: &Path, force: bool) -> Result<(), Error> {
    match fs_err::symlink_metadata(output) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::io(
            format!("cannot look at `{}`", output.display()),
            error,
        )),
        Ok(found) if !found.is_dir() => Err(Error::usage(format!(
            "output `{}` exists and is not a folder",
            output.display()
        ))),
        Ok(_) if force || is_unfinished(output) => Ok(()),
        Ok(_) => Err(Error::OutputExists {
            path: output.to_owned(),
        }),
    }
}

/// Empty, or holding nothing but what an interrupted run left.
fn is_unfinished(folder: &Path) -> bool {
    fs_err::read_dir(folder).is_ok_and(|entries| {
        entries.into_iter().all(|entry| {
            entry.is_ok_and(|entry| entry.path().extension().is_some_and(|e| e == "partial"))
        })
    })
}
