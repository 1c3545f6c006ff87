//! From scores to a choice: which option each open layer gets within the budget.

use super::measured::{OptionScore, Scores};
use super::options::{Options, tie_groups};
use super::{MeasuredCalibration, PlannedBudget, options_label};
use crate::plan::{ModelFacts, PlanError, PlannedLayer, size};
use crate::recipe::{Recipe, Scope};
use quantizers::allocate::{self, AllocateError, Allocation, Candidate};
use std::collections::BTreeMap;

/// Points of the curve that a plan keeps.
const CURVE_POINTS: usize = 96;

/// The option of every open layer.
#[derive(Debug, Clone)]
pub(in crate::plan) struct Chosen {
    /// Format that sizes were found for.
    pub(in crate::plan) format: String,
    /// By layer name.
    pub(in crate::plan) layers: BTreeMap<String, PlannedLayer>,
    /// The certificate.
    pub(in crate::plan) budget: PlannedBudget,
    /// What a reader of the plan should know of the scores.
    pub(in crate::plan) notes: Vec<String>,
}

/// An option of a layer and its scores.
type Scored<'a> = (&'a PlannedLayer, &'a OptionScore);

/// Chooses within the budget of `recipe`. `calibration` is what the options would be calibrated on now.
pub(in crate::plan) fn allocate(
    recipe: &Recipe,
    model: &ModelFacts,
    options: &Options,
    scores: &Scores,
    calibration: Option<&MeasuredCalibration>,
) -> Result<Chosen, PlanError> {
    let budget = recipe.budget.as_ref().ok_or(PlanError::NotMeasured)?;
    let bits_per_weight = budget.bits_per_weight.ok_or(PlanError::NotMeasured)?;
    let kind = budget.sensitivity.name;
    let layers = options.by_layer();
    let scored = scored(&layers, scores, kind)?;
    let note = calibration_note(&scored, scores, calibration)?;
    let groups = tie_groups(budget, model, &layers);
    let candidates = candidates(&groups, &scored, kind);
    let counted = Counted::of(budget.scope, model, options, &layers);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a number of bits, rounded down"
    )]
    let budget_bits = (bits_per_weight * counted.weights as f64) as u64;
    let failed = |error: AllocateError| match error {
        AllocateError::Budget { least, .. } => PlanError::BudgetTooSmall {
            budget: bits_per_weight,
            least: counted.per_weight(least),
        },
        error => misfit(scores, error.to_string(), None),
    };
    let left = budget_bits.checked_sub(counted.fixed_bits);
    let left = left.ok_or_else(|| PlanError::BudgetTooSmall {
        budget: bits_per_weight,
        least: counted.per_weight(least(&candidates)),
    })?;
    let found = allocate::allocate(&candidates, left).map_err(failed)?;
    let curve = allocate::curve(&candidates).map_err(failed)?;
    let mut chosen = BTreeMap::new();
    for (of_layer, option) in scored.iter().zip(positions(&groups, &scored, &found)) {
        let (planned, score) = of_layer[option];
        let siblings: Vec<&PlannedLayer> = of_layer.iter().map(|(other, _)| *other).collect();
        let share = match score.scores.get(kind) {
            Some(of_layer) if found.score > 0.0 => {
                let share = 100.0 * of_layer / found.score;
                format!(", {share:.2} % of the predicted loss")
            }
            _ => String::new(),
        };
        let label = options_label(planned, &siblings);
        let mut planned = planned.clone();
        planned.because = format!(
            "{}; budget {bits_per_weight}: {label}{share}",
            planned.because
        );
        planned.plan.outliers = score.outliers;
        planned.outlier_factor = score.outlier_factor;
        chosen.insert(planned.name.clone(), planned);
    }
    Ok(Chosen {
        format: scores.measured.format.clone(),
        layers: chosen,
        budget: PlannedBudget {
            bits_per_weight,
            scope: budget.scope,
            weights: counted.weights,
            budget_bits,
            bits: found.bits + counted.fixed_bits,
            sensitivity: kind.to_owned(),
            measured: scores.file.clone(),
            score: found.score,
            bound: found.bound,
            gap: found.gap(),
            is_optimal: found.is_optimal,
            curve: thinned(&curve, &counted),
        },
        notes: note.into_iter().collect(),
    })
}

fn misfit(scores: &Scores, message: String, hint: Option<String>) -> PlanError {
    PlanError::Measured {
        file: scores.file.clone(),
        message,
        hint,
    }
}

/// The scores of every option of every layer.
fn scored<'a>(
    layers: &[(&str, Vec<&'a PlannedLayer>)],
    scores: &'a Scores,
    kind: &str,
) -> Result<Vec<Vec<Scored<'a>>>, PlanError> {
    let measured = &scores.measured;
    if !measured.sensitivities.iter().any(|name| name == kind) {
        let message = format!(
            "expected scores of `{kind}`, found {}",
            measured.sensitivities.join(", ")
        );
        let hint = format!("`quench measure --sensitivity {kind}` finds them");
        return Err(misfit(scores, message, Some(hint)));
    }
    let again = Some(MEASURE_AGAIN.to_owned());
    let of_option = |option: &'a PlannedLayer| {
        let (name, label) = (&option.name, options_label(option, &[]));
        let found = measured.find(name, &option.method, &option.parameters);
        let found = found.ok_or_else(|| {
            let message = format!("it has no scores of `{name}` with {label}");
            misfit(scores, message, again.clone())
        })?;
        let planned = 8 * option.bytes;
        if option.plan.outliers == 0 && found.outliers == 0 && found.bits != planned {
            let message = format!(
                "`{name}` takes {planned} bits with {label}, and {} there",
                found.bits
            );
            return Err(misfit(scores, message, again.clone()));
        }
        Ok((option, found))
    };
    layers
        .iter()
        .map(|(_, options)| options.iter().copied().map(of_option).collect())
        .collect()
}

/// What to say of scores that were measured on other data than this run's.
fn calibration_note(
    scored: &[Vec<Scored<'_>>],
    scores: &Scores,
    calibration: Option<&MeasuredCalibration>,
) -> Result<Option<String>, PlanError> {
    let same = match (&scores.measured.calibration, calibration) {
        (Some(then), Some(now)) => then.is_as(now),
        (None, None) => true,
        _ => false,
    };
    if same {
        return Ok(None);
    }
    let mut sparse = scored
        .iter()
        .flatten()
        .filter(|(_, score)| score.outliers > 0);
    match sparse.next() {
        None => Ok(Some(
            "the scores were measured on other calibration data than this run's".to_owned(),
        )),
        Some((layer, _)) => {
            let message = format!(
                "it was measured on other calibration data, and the size of the sparse part of `{}` depends on them",
                layer.name
            );
            Err(misfit(scores, message, Some(MEASURE_AGAIN.to_owned())))
        }
    }
}

/// Bits of the smallest candidates.
fn least(candidates: &[Vec<Candidate>]) -> u64 {
    let groups = candidates.iter();
    groups
        .filter_map(|group| group.iter().map(|one| one.bits).min())
        .sum()
}

const MEASURE_AGAIN: &str = "`quench measure` with this recipe makes a file that fits";

/// The candidates of each group: its options in their order, those of tied layers together.
fn candidates(
    groups: &[Vec<usize>],
    scored: &[Vec<Scored<'_>>],
    kind: &str,
) -> Vec<Vec<Candidate>> {
    let of_layer = |layer: &usize| -> Vec<Candidate> {
        let options = scored[*layer].iter();
        let candidate = |(_, score): &Scored<'_>| Candidate {
            bits: score.bits,
            score: score.scores.get(kind).copied().unwrap_or(f64::NAN),
        };
        options.map(candidate).collect()
    };
    groups
        .iter()
        .map(|group| {
            let members: Vec<Vec<Candidate>> = group.iter().map(of_layer).collect();
            let members: Vec<&[Candidate]> = members.iter().map(Vec::as_slice).collect();
            allocate::tied(&members)
        })
        .collect()
}

/// The chosen option of every layer.
fn positions(groups: &[Vec<usize>], scored: &[Vec<Scored<'_>>], found: &Allocation) -> Vec<usize> {
    let mut chosen = vec![0; scored.len()];
    for (group, &option) in groups.iter().zip(&found.chosen) {
        for &layer in group {
            chosen[layer] = option;
        }
    }
    chosen
}

/// What a budget counts besides the open layers.
struct Counted {
    /// Weights or parameters of everything.
    weights: u64,
    /// Bits of everything but the open layers.
    fixed_bits: u64,
}

impl Counted {
    fn of(
        scope: Scope,
        model: &ModelFacts,
        options: &Options,
        layers: &[(&str, Vec<&PlannedLayer>)],
    ) -> Self {
        let fixed: u64 = options.fixed.iter().map(|layer| 8 * layer.bytes).sum();
        let open = layers
            .iter()
            .filter_map(|(_, options)| options.first().copied());
        match scope {
            Scope::Layers => Self {
                weights: open.chain(&options.fixed).map(PlannedLayer::weights).sum(),
                fixed_bits: fixed,
            },
            Scope::File => Self {
                weights: model.parameters,
                fixed_bits: fixed + 8 * size::kept_bytes(model, open.chain(&options.fixed)),
            },
        }
    }
}

impl Counted {
    /// Bits per weight of everything with `open` bits of the open layers.
    fn per_weight(&self, open: u64) -> f64 {
        (open + self.fixed_bits) as f64 / self.weights.max(1) as f64
    }
}

/// Some points of the curve in bits per weight, the ends among them.
fn thinned(curve: &[Candidate], counted: &Counted) -> Vec<[f64; 2]> {
    let last = curve.len().saturating_sub(1);
    let step = last.div_ceil(CURVE_POINTS).max(1);
    let kept = curve.iter().enumerate();
    kept.filter(|(at, _)| at % step == 0 || *at == last)
        .map(|(_, point)| [counted.per_weight(point.bits), point.score])
        .collect()
}
