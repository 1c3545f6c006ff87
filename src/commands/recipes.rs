//! The recipe of the command line: a file, a built-in name, and what flags change.

use crate::Error;
use crate::args::{BudgetArgs, EvaluationArgs, QuantizeArgs, RecipeArgs};
use crate::model::{DEMO, OpenModel};
use crate::plan::{ModelFacts, Plan, PlanError, Scores};
use crate::recipe::{Origin, Overrides, RECIPE_FILE, Recipe, RecipeError, builtin};
use quantizers::nearest::nearest;
use quantizers::sensitivity::Sensitivity;
use std::path::Path;
use std::sync::Arc;

/// Reads `-r RECIPE`: an existing file, else a built-in name.
pub(super) fn named(name: &str) -> Result<Recipe, Error> {
    let path = Path::new(name);
    if path.is_file() {
        let text = fs_err::read_to_string(path)
            .map_err(|error| Error::io(format!("cannot read recipe `{name}`"), error))?;
        return Recipe::parse(&text, Origin::File(path.to_owned()), path.parent())
            .map_err(|source| invalid(name, source));
    }
    if path.is_dir() {
        let message = format!("expected a recipe, found the folder `{name}`");
        let inside = path.join(RECIPE_FILE);
        let hint = if inside.is_file() {
            format!("name the file in it: `{}`", inside.display())
        } else {
            "name a TOML file, or a built-in recipe".to_owned()
        };
        return Err(Error::usage(message).with_hint(hint));
    }
    match builtin::find(name) {
        Some(builtin) => {
            let mut recipe = builtin.recipe().map_err(|source| invalid(name, source))?;
            // Folders are called after the name it was asked for by.
            name.clone_into(&mut recipe.name);
            Ok(recipe)
        }
        None => Err(Error::RecipeNotFound {
            name: name.to_owned(),
            nearest: nearest(name, builtin::names()),
        }),
    }
}

/// Whether anything is evaluated, and on what.
#[derive(Debug, Clone, Copy)]
pub(super) enum Evaluating<'a> {
    /// `--no-eval`.
    Nothing,
    /// The recipe's evaluations, or those of the flags.
    With(&'a EvaluationArgs),
}

impl<'a> From<&'a QuantizeArgs> for Evaluating<'a> {
    fn from(args: &'a QuantizeArgs) -> Self {
        if args.no_eval {
            Self::Nothing
        } else {
            Self::With(&args.evaluation)
        }
    }
}

/// What the command line says of a budget.
#[derive(Debug, Clone, Copy)]
pub(super) enum Budgeting<'a> {
    /// Its options are to be measured.
    Measured,
    /// It is as these flags say, where the recipe has one or they ask for one.
    With(&'a BudgetArgs),
}

/// The recipe of the command line.
pub(super) struct Resolved {
    /// With everything the flags change.
    pub(super) recipe: Recipe,
    /// Where it comes from, for messages.
    origin: String,
    /// Flags say what to calibrate on.
    calibrates: bool,
}

/// The recipe as the command line changes it.
pub(super) fn resolve(
    args: &RecipeArgs,
    budgeting: Budgeting<'_>,
    evaluating: Evaluating<'_>,
    demo: bool,
    model: &ModelFacts,
) -> Result<Resolved, Error> {
    let named_recipe = match &args.recipe {
        Some(name) => Some(named(name)?),
        // The model the program carries is there to show the main method.
        None if demo && args.method.is_none() => Some(named("squeeze-3-sparse")?),
        None => None,
    };
    let flags = match evaluating {
        Evaluating::With(flags) => Some(flags),
        Evaluating::Nothing => None,
    };
    let budget = match budgeting {
        Budgeting::With(flags) => Some(flags),
        Budgeting::Measured => None,
    };
    let evaluates = named_recipe
        .as_ref()
        .is_some_and(|recipe| !recipe.evaluations.is_empty());
    let sensitivity = budget.and_then(|flags| flags.sensitivity.as_deref());
    let overrides = Overrides {
        bits: args.bits,
        method: args.method.clone(),
        budget: budget.and_then(|flags| flags.budget),
        measured: budget.and_then(|flags| flags.measured.clone()),
        sensitivity: sensitivity.and_then(Sensitivity::find),
        measures: matches!(budgeting, Budgeting::Measured),
        calibration_data: args.calibration.clone(),
        samples: args.samples,
        sequence_length: args.sequence_length,
        seed: args.seed,
        keep_statistics: args.keep_statistics,
        format: args.format.clone(),
        no_evaluation: flags.is_none(),
        eval_data: flags
            .and_then(|flags| flags.eval_data.clone())
            // Text of its own comes with the demo model.
            .or_else(|| (demo && !evaluates).then(|| DEMO.to_owned())),
        gates: flags.map_or_else(Vec::new, |flags| flags.gate.clone()),
    };
    let origin = match (&args.recipe, &named_recipe, &args.method) {
        (Some(origin), _, _) => origin.clone(),
        (None, Some(recipe), _) => recipe.name.clone(),
        (None, None, Some(_)) => "command line".to_owned(),
        (None, None, None) => Recipe::default_for(model).to_owned(),
    };
    let recipe = Recipe::for_model(named_recipe, &overrides, model)
        .map_err(|source| invalid(&origin, source))?;
    let calibrates =
        args.calibration.is_some() || args.samples.is_some() || args.sequence_length.is_some();
    Ok(Resolved {
        recipe,
        origin,
        calibrates,
    })
}

impl Resolved {
    /// The model to plan on: `open`, or what a transform of the recipe makes of its whole checkpoint.
    pub(super) fn rewritten(&self, open: &Arc<OpenModel>) -> Result<Arc<OpenModel>, Error> {
        open.rewritten(&self.recipe, &self.origin)
    }

    /// The plan, by `scores` where layers are left to the budget.
    pub(super) fn plan(
        &self,
        model: &ModelFacts,
        threads: usize,
        scores: Option<&Scores>,
    ) -> Result<Plan, Error> {
        self.checked(model, |recipe| match scores {
            None => recipe.check(model, threads),
            Some(scores) => recipe.check_measured(model, threads, scores),
        })
    }

    /// The plan of measuring `kinds` of scores.
    pub(super) fn plan_measuring(
        &self,
        model: &ModelFacts,
        threads: usize,
        kinds: &[&'static Sensitivity],
    ) -> Result<Plan, Error> {
        self.checked(model, |recipe| recipe.plan_measuring(model, threads, kinds))
    }

    fn checked(
        &self,
        model: &ModelFacts,
        plan: impl FnOnce(&Recipe) -> Result<Plan, PlanError>,
    ) -> Result<Plan, Error> {
        match plan(&self.recipe) {
            Ok(mut plan) => {
                // Scores are measured on the data too.
                if self.calibrates && plan.calibration.is_none() && plan.budget.is_none() {
                    plan.notes.push(
                        "calibration flags change nothing: no method of the recipe needs data"
                            .to_owned(),
                    );
                }
                Ok(plan)
            }
            Err(PlanError::Recipe(source)) => Err(invalid(&self.origin, source)),
            Err(source) => Err(Error::Plan {
                recipe: self.origin.clone(),
                model: model.name.clone(),
                source,
            }),
        }
    }
}

fn invalid(origin: &str, source: RecipeError) -> Error {
    Error::Recipe {
        origin: origin.to_owned(),
        source,
    }
}
