//! Scores of options: found in a file, or measured and left in the cache folder for the next budget.

use super::recipes::Resolved;
use super::{command_line, resources};
use crate::machine::Machine;
use crate::model::OpenModel;
use crate::plan::{Measured, ModelFacts, PlannedLayer, QuantizeRequest, Scores, render_all};
use crate::progress::Progress;
use crate::recipe::Recipe;
use crate::{Error, cache, road};
use calib::hub::FetchOptions;
use quantizers::sensitivity::{Score, Sensitivity};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// The scores of the file that `recipe` names, else those that an earlier run left; nothing where the recipe leaves
/// nothing open or there are none.
///
/// # Errors
/// A named file that cannot be read.
pub(super) fn find(
    recipe: &Recipe,
    open: &OpenModel,
    progress: &Progress,
) -> Result<Option<Scores>, Error> {
    if !recipe.is_open() {
        return Ok(None);
    }
    let fingerprint = open.fingerprint();
    let named = recipe
        .budget
        .as_ref()
        .and_then(|budget| budget.measured.as_deref());
    if let Some(file) = named {
        let text = fs_err::read_to_string(file)
            .map_err(|error| Error::io(format!("cannot read scores from `{file}`"), error))?;
        let measured = Measured::parse(&text).map_err(|reason| Error::Mismatch {
            message: format!("`{file}` holds no scores: {reason}"),
            source: None,
            hint: Some("`quench measure MODEL -r RECIPE -o FILE` makes such a file".to_owned()),
        })?;
        return Ok(Some(Scores {
            measured,
            file: file.to_owned(),
            fingerprint,
        }));
    }
    let path = cached(recipe, &fingerprint, progress);
    // A file in the cache that cannot be read is as good as none.
    let text = fs_err::read_to_string(&path).ok();
    let measured = text.and_then(|text| Measured::parse(&text).ok());
    Ok(measured.map(|measured| Scores {
        measured,
        file: path.display().to_string(),
        fingerprint,
    }))
}

/// Where scores of this recipe and model are left.
fn cached(recipe: &Recipe, fingerprint: &str, progress: &Progress) -> PathBuf {
    let mut hasher = blake3::Hasher::new_derive_key("quench scores version 2");
    let data = recipe
        .calibration
        .data
        .split('#')
        .next()
        .unwrap_or_default();
    let stamp = fs_err::metadata(data).ok().map(|found| {
        let changed = found.modified().ok();
        let changed = changed.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        (found.len(), changed)
    });
    let parts = [
        env!("CARGO_PKG_VERSION"),
        fingerprint,
        &recipe.options_text(),
        &format!("{stamp:?}"),
    ];
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    let name = format!("{}.json", &hasher.finalize().to_hex()[..32]);
    cache::folder(progress).join("measured").join(name)
}

/// Writes scores as a file that appears whole.
///
/// # Errors
/// A file that cannot be written.
pub(super) fn write(measured: &Measured, path: &Path) -> Result<(), Error> {
    let failed = |error: crate::errors::Cause| {
        Error::io(
            format!("cannot write scores to `{}`", path.display()),
            error,
        )
    };
    let text = serde_json::to_string_pretty(measured).map_err(|error| failed(error.into()))?;
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let written = match path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
    {
        Some(folder) => fs_err::create_dir_all(folder),
        None => Ok(()),
    };
    written
        .and_then(|()| fs_err::write(&partial, text + "\n"))
        .and_then(|()| fs_err::rename(&partial, path))
        .map_err(|error| failed(error.into()))
}

/// What measuring takes.
pub(super) struct Measuring<'a> {
    pub(super) open: &'a OpenModel,
    pub(super) facts: &'a ModelFacts,
    pub(super) machine: Machine,
    pub(super) fetch: &'a FetchOptions,
}

impl Measuring<'_> {
    /// Measures `kinds` of scores of what `resolved` leaves to its budget; `output` is where they will be written.
    ///
    /// # Errors
    /// A recipe that does not fit the model, not enough memory or disk, a model that cannot be run.
    pub(super) fn run(
        &self,
        resolved: &Resolved,
        kinds: &[&'static Sensitivity],
        output: &Path,
        progress: &Progress,
    ) -> Result<Measured, Error> {
        let plan = resolved.plan_measuring(self.facts, self.machine.threads, kinds)?;
        let end_to_end = kinds
            .iter()
            .any(|kind| matches!(kind.score, Score::EndToEnd));
        let weights: u64 = plan.layers.iter().map(PlannedLayer::weights).sum();
        let decoded = if end_to_end { 4 * weights } else { 0 };
        resources::check_measuring(&plan, decoded, output, progress)?;
        for note in &plan.notes {
            progress.say(note);
        }
        progress.detail(&render_all(&plan));
        let request = QuantizeRequest {
            plan,
            recipe: resolved.recipe.to_toml(),
            output: output.to_owned(),
            replace: false,
            evaluate: false,
            gates: Vec::new(),
            fetch: self.fetch.clone(),
            machine: self.machine.clone(),
            command: command_line(),
        };
        road::measure::run(self.open, &request, kinds, progress)
    }

    /// Measures what the budget of `resolved` adds up, and leaves it in the cache folder.
    ///
    /// # Errors
    /// As [`Self::run`]; a cache folder that cannot be written.
    pub(super) fn measure_once(
        &self,
        resolved: &Resolved,
        progress: &Progress,
    ) -> Result<Scores, Error> {
        let fingerprint = self.open.fingerprint();
        let path = cached(&resolved.recipe, &fingerprint, progress);
        let budget = resolved.recipe.budget.clone().unwrap_or_default();
        progress.say(&format!(
            "scores of `{}` are measured first; they stay for other budgets",
            budget.sensitivity.name
        ));
        let measured = self.run(resolved, &[budget.sensitivity], &path, progress)?;
        write(&measured, &path)?;
        Ok(Scores {
            measured,
            file: path.display().to_string(),
            fingerprint,
        })
    }
}
