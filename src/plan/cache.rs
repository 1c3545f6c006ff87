//! How the cache of keys and values will be kept, decided from headers.

use super::cache_budget::{PlannedCacheBudget, choose};
use super::way::{blocks_of, of_blocks};
use super::{ModelFacts, PlanError};
use crate::recipe::{Recipe, WayRule};
use eval::attention::candidate::{BlockPlan, BlockShape, Candidate};
use eval::attention::size::CacheSize;
use quantizers::ParamError;
use quantizers::caches::{CACHES, CacheQuantizer};
use serde::{Deserialize, Serialize};

/// Most tokens a cache is fitted to, as published for calibrated ones: 16 sequences of 2048.
pub const FITTED_TOKENS: usize = 32_768;

/// The cache that holds what a budget came to.
const MIXED: &str = "mixed";

/// The cache of a [`Plan`](super::Plan).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedCache {
    /// Registry name.
    pub method: String,
    /// Its parameters.
    pub parameters: toml::Table,
    /// Blocks whose cache stays as it is.
    pub kept: Vec<usize>,
    /// Bits of one value of a key, averaged over blocks.
    pub key_bits: f64,
    /// Bits of one value of a value.
    pub value_bits: f64,
    /// Bytes of one more token over all blocks.
    pub bytes_per_token: f64,
    /// Values of the key and the value of one token in the block where they are most.
    pub values_per_token: usize,
    /// It is fitted to keys and values of calibration data.
    pub needs_samples: bool,
    /// It weighs their errors by gradients of the loss.
    #[serde(default)]
    pub needs_gradients: bool,
    /// How its choices were found, where a budget made them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<PlannedCacheBudget>,
}

impl PlannedCache {
    /// The configured method.
    ///
    /// # Errors
    /// Parameters it cannot take; never for a plan made by this version.
    pub fn configured(&self) -> Result<Box<dyn CacheQuantizer>, ParamError> {
        match CACHES.iter().find(|cache| cache.name() == self.method) {
            Some(cache) => cache.configure(&self.parameters),
            None => Err(ParamError::BadValue {
                method: "plan",
                key: "method".to_owned(),
                expected: "a cache of this version".to_owned(),
                found: format!("`{}`", self.method),
            }),
        }
    }
}

/// The cache `recipe` asks for, checked against every block of `model`.
pub(super) fn plan(
    recipe: &Recipe,
    model: &ModelFacts,
    notes: &mut Vec<String>,
) -> Result<Option<PlannedCache>, PlanError> {
    let Some(rule) = &recipe.cache else {
        return Ok(None);
    };
    let (chosen, budget) = match &rule.budget {
        Some(budget) => {
            let shapes = blocks_of(rule, recipe, model)?;
            let (parameters, found) = choose(rule, budget, &model.name, &shapes)?;
            (rule.chosen(MIXED, parameters), Some(found))
        }
        None => (rule.clone(), None),
    };
    let (shapes, plans) = of_blocks(&chosen, recipe, model, notes)?;
    Ok(Some(planned(&chosen, (&shapes, &plans), budget)))
}

fn planned(
    rule: &WayRule,
    (shapes, plans): (&[BlockShape], &[BlockPlan]),
    budget: Option<PlannedCacheBudget>,
) -> PlannedCache {
    let packed = plans.iter().filter_map(|plan| match plan {
        BlockPlan::Cache(plan) => Some(plan),
        BlockPlan::Kept | BlockPlan::Attention { .. } => None,
    });
    let needs_samples = packed.clone().any(|plan| plan.needs_samples);
    let needs_gradients = packed.clone().any(|plan| plan.wants_gradients);
    let values = shapes.iter().map(|shape| {
        let shape = &shape.cache;
        shape.kv_heads * (shape.key_dim + shape.value_dim)
    });
    let size = CacheSize::of(&Candidate::planned_caches(shapes, plans));
    PlannedCache {
        method: rule.method.clone(),
        parameters: rule.parameters.clone(),
        kept: rule.kept.clone(),
        key_bits: size.key_bits,
        value_bits: size.value_bits,
        bytes_per_token: size.bytes_per_token,
        values_per_token: values.max().unwrap_or(0),
        needs_samples,
        needs_gradients,
        budget,
    }
}
