//! A cache whose blocks choose within a budget: the figures of an earlier `quench cache`, and the choice.

use super::PlanError;
use super::way::refused;
use crate::recipe::{CacheBudget, WayRule};
use eval::attention::candidate::{BlockPlan, BlockShape, Way};
use eval::attention::settings::{candidate, parameters};
use quantizers::allocate::{AllocateError, Candidate as Choice, allocate};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Version of the figures that are read.
const SCHEMA: u32 = 1;
/// Tokens over which bits are counted: fractions of a bit are then whole enough.
const TOKENS: f64 = 1024.0;
/// Bits of a value that nothing is done to.
const PLAIN: f64 = 16.0;

/// What the budget of a cache came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedCacheBudget {
    /// Asked for, over keys and values of all blocks.
    pub bits_per_value: f64,
    /// What the choice takes.
    pub taken: f64,
    /// Where the errors were read from.
    pub measured: String,
    /// Sum over blocks of the squared relative error of what is attended to.
    pub score: f64,
    /// No choice within the budget has a lower sum.
    pub bound: f64,
    /// No other choice within the budget has a lower sum, up to rounding.
    pub is_optimal: bool,
    /// The blocks of each choice, as `quench cache` labels it.
    pub blocks: BTreeMap<String, Vec<usize>>,
}

impl PlannedCacheBudget {
    /// The choice in lines.
    pub fn lines(&self) -> Vec<String> {
        let proof = if self.is_optimal {
            "no other choice has less".to_owned()
        } else {
            format!("none has less than {:.4e}", self.bound)
        };
        let mut lines = vec![format!(
            "{:.3} of {:.3} bits a value, squared errors of {:.4e}: {proof}",
            self.taken, self.bits_per_value, self.score
        )];
        lines.extend(self.blocks.iter().map(|(label, blocks)| {
            let blocks: Vec<String> = blocks.iter().map(ToString::to_string).collect();
            format!("{label}: blocks {}", blocks.join(", "))
        }));
        lines
    }
}

/// As much of the file as is needed.
#[derive(Deserialize)]
struct Measured {
    schema: u32,
    model: String,
    methods: Vec<MeasuredMethod>,
}

#[derive(Deserialize)]
struct MeasuredMethod {
    label: String,
    blocks: Vec<MeasuredBlock>,
}

#[derive(Deserialize)]
struct MeasuredBlock {
    block: usize,
    output_error: f64,
}

/// A cache that was tried: its line, its recipe table with `method`, and for each block what it is planned to cost and
/// what it has been found to lose.
struct Tried {
    label: String,
    table: toml::Table,
    blocks: BTreeMap<usize, Choice>,
}

/// What `mixed` is to be told, and how that was found. `model` is the name of the model whose blocks are `shapes`.
pub(super) fn choose(
    rule: &WayRule,
    budget: &CacheBudget,
    model: &str,
    shapes: &[BlockShape],
) -> Result<(toml::Table, PlannedCacheBudget), PlanError> {
    let tried = read(budget, model, shapes)?;
    let values: f64 = shapes.iter().map(values_of).sum();
    // The first option of every block is to stay as it is.
    let groups: Vec<Vec<(Option<usize>, Choice)>> = shapes
        .iter()
        .map(|shape| {
            let block = shape.cache.layer;
            let plain = Choice {
                bits: bits(PLAIN * values_of(shape)),
                score: 0.0,
            };
            let open = tried
                .iter()
                .enumerate()
                .filter(|_| !rule.kept.contains(&block));
            let open = open.filter_map(|(at, tried)| Some((Some(at), *tried.blocks.get(&block)?)));
            std::iter::once((None, plain)).chain(open).collect()
        })
        .collect();
    let choices: Vec<Vec<Choice>> = groups
        .iter()
        .map(|group| group.iter().map(|(_, choice)| *choice).collect())
        .collect();
    let found = allocate(&choices, bits(budget.bits_per_value * values)).map_err(|error| {
        refused(
            rule,
            match error {
                AllocateError::Budget { least, .. } => format!(
                    "expected at least {:.3} bits a value, the smallest caches of `{}` together, found {}",
                    per_value(least, values),
                    budget.measured,
                    budget.bits_per_value
                ),
                other => other.to_string(),
            },
        )
    })?;
    let mut taken: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for ((shape, group), chosen) in shapes.iter().zip(&groups).zip(&found.chosen) {
        if let Some(at) = group[*chosen].0 {
            taken.entry(at).or_default().push(shape.cache.layer);
        }
    }
    let blocks = taken
        .iter()
        .map(|(at, blocks)| (tried[*at].label.clone(), blocks.clone()));
    let planned = PlannedCacheBudget {
        bits_per_value: budget.bits_per_value,
        taken: per_value(found.bits, values),
        measured: budget.measured.clone(),
        score: found.score,
        bound: found.bound,
        is_optimal: found.is_optimal,
        blocks: blocks.collect(),
    };
    let choices = taken.iter().map(|(at, blocks)| {
        let mut table = tried[*at].table.clone();
        let blocks = blocks.iter().filter_map(|block| i64::try_from(*block).ok());
        let blocks: Vec<toml::Value> = blocks.map(toml::Value::from).collect();
        table.insert("layers".to_owned(), blocks.into());
        toml::Value::Table(table)
    });
    let choices: Vec<toml::Value> = choices.collect();
    let mut parameters = toml::Table::new();
    parameters.insert("choices".to_owned(), choices.into());
    Ok((parameters, planned))
}

/// The caches of the file, with what they cost in each block.
fn read(budget: &CacheBudget, model: &str, shapes: &[BlockShape]) -> Result<Vec<Tried>, PlanError> {
    let misfit = |message: String| PlanError::Measured {
        file: budget.measured.clone(),
        message,
        hint: Some(format!(
            "`quench cache {model} --output DIR` writes one that fits"
        )),
    };
    let text = fs_err::read_to_string(&budget.measured)
        .map_err(|error| misfit(format!("expected the figures of `quench cache`: {error}")))?;
    let measured: Measured = serde_json::from_str(&text)
        .map_err(|error| misfit(format!("expected the figures of `quench cache`: {error}")))?;
    if measured.schema != SCHEMA {
        return Err(misfit(format!(
            "expected version {SCHEMA} of the figures, found {}",
            measured.schema
        )));
    }
    let mut all = Vec::new();
    for method in measured.methods {
        let candidate = candidate(&method.label, &[]);
        let candidate = candidate.map_err(|error| misfit(error.to_string()))?;
        if !matches!(candidate.way, Way::Cache(_)) {
            continue;
        }
        let far = method
            .blocks
            .iter()
            .find(|found| found.block >= shapes.len());
        if let Some(far) = far {
            return Err(misfit(format!(
                "expected blocks 0 to {} of `{model}`, found {} of `{}`",
                shapes.len().saturating_sub(1),
                far.block,
                measured.model
            )));
        }
        let plans = candidate.plans(shapes);
        let plans = plans.map_err(|error| misfit(error.with_causes()))?;
        let blocks = method.blocks.iter().filter_map(|found| {
            let BlockPlan::Cache(plan) = &plans[found.block] else {
                return None;
            };
            let shape = shapes[found.block].cache;
            let choice = Choice {
                bits: bits(8.0 * plan.bytes_per_token(shape)),
                score: found.output_error.powi(2),
            };
            Some((found.block, choice))
        });
        let (name, mut table) =
            parameters(&method.label).map_err(|error| misfit(error.to_string()))?;
        table.insert("method".to_owned(), name.into());
        all.push(Tried {
            blocks: blocks.collect(),
            table,
            label: method.label,
        });
    }
    if all.iter().all(|tried| tried.blocks.is_empty()) {
        return Err(misfit("expected at least one cache, found none".to_owned()));
    }
    Ok(all)
}

/// Values of the key and the value of one token.
fn values_of(shape: &BlockShape) -> f64 {
    let shape = &shape.cache;
    (shape.kv_heads * (shape.key_dim + shape.value_dim)) as f64
}

/// Bits of [`TOKENS`] tokens of `bits_per_token` each.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "positive and far below 2^53"
)]
fn bits(bits_per_token: f64) -> u64 {
    (bits_per_token * TOKENS).round() as u64
}

fn per_value(bits: u64, values: f64) -> f64 {
    bits as f64 / TOKENS / values
}
