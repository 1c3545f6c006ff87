//! One rule for each layer: the first that matches, with its fallbacks.

use super::{KeptLayer, ModelFacts, PlanError, PlannedLayer, size};
use crate::recipe::{Fallback, Recipe, Rule, names};
use calib::LayerSpec;
use quantizers::{QuantizeError, Scheme, Stat};
use std::collections::BTreeSet;

/// The decisions about all layers of a model.
#[derive(Debug, Default)]
pub(super) struct Choice {
    pub(super) layers: Vec<PlannedLayer>,
    pub(super) kept: Vec<KeptLayer>,
    pub(super) needs: BTreeSet<Stat>,
    pub(super) notes: Vec<String>,
}

/// Applies the rules of `recipe` to every linear layer.
pub(super) fn choose(recipe: &Recipe, model: &ModelFacts) -> Result<Choice, PlanError> {
    check_patterns(recipe, model)?;
    let mut choice = Choice::default();
    for layer in &model.layers {
        let shape = [layer.rows, layer.cols];
        let keep = |because: String| KeptLayer { name: layer.name.clone(), shape, because };
        match rule_for(&recipe.rules, layer) {
            None => choice.kept.push(keep(
                if layer.in_block { "no rule matches" } else { "outside the blocks, not named" }
                    .to_owned(),
            )),
            Some(rule) if rule.method.is_none() => {
                choice.kept.push(keep(format!("rule at line {} keeps it", rule.line)));
            }
            Some(rule) => {
                let planned = plan_layer(rule, layer, model, &mut choice)?;
                choice.layers.push(planned);
            }
        }
    }
    if choice.layers.is_empty() {
        return Err(PlanError::NothingToQuantize);
    }
    let changes: BTreeSet<&String> =
        recipe.rules.iter().flat_map(|rule| &rule.overridden).collect();
    choice.notes.extend(changes.into_iter().filter(|text| text.contains("dropped")).cloned());
    Ok(choice)
}

fn rule_for<'r>(rules: &'r [Rule], layer: &LayerSpec) -> Option<&'r Rule> {
    rules.iter().find(|rule| rule.pattern.matches(&layer.name, layer.in_block))
}

/// Every pattern must decide at least one layer.
fn check_patterns(recipe: &Recipe, model: &ModelFacts) -> Result<(), PlanError> {
    for (index, rule) in recipe.rules.iter().enumerate() {
        let matched: Vec<&LayerSpec> = model
            .layers
            .iter()
            .filter(|layer| rule.pattern.matches(&layer.name, layer.in_block))
            .collect();
        let earlier = &recipe.rules[..index];
        let decides = matched.iter().any(|layer| rule_for(earlier, layer).is_none());
        if decides {
            continue;
        }
        let shadowed_by =
            matched.first().and_then(|layer| rule_for(earlier, layer)).map(|rule| rule.line);
        let known = model.layers.iter().map(|layer| layer.name.as_str());
        return Err(PlanError::NoMatch {
            line: rule.line_of("match"),
            pattern: rule.pattern.text().to_owned(),
            nearest: nearest_layers(rule.pattern.text(), known),
            shadowed_by,
        });
    }
    Ok(())
}

/// Layer names most like the literal part of a pattern: by whole name, then by last segments.
fn nearest_layers<'a>(pattern: &str, known: impl Iterator<Item = &'a str>) -> Vec<String> {
    let literal = pattern.trim_start_matches("re:").replace(['*', '^', '$', '\\'], "");
    let literal = literal.trim_matches('.');
    let segments = literal.split('.').count();
    let tail = |name: &'a str| {
        let start = name.rmatch_indices('.').nth(segments - 1).map_or(0, |(at, _)| at + 1);
        &name[start..]
    };
    let names: Vec<&str> = known.collect();
    let mut tails: Vec<&str> = Vec::new();
    for name in &names {
        if !tails.contains(&tail(name)) {
            tails.push(tail(name));
        }
    }
    let best = names::nearest_several(literal, tails, 2);
    let mut nearest: Vec<String> = Vec::new();
    for ending in best {
        nearest.extend(names.iter().find(|name| tail(name) == ending).map(|name| (*name).to_owned()));
    }
    nearest
}

fn plan_layer(
    rule: &Rule,
    layer: &LayerSpec,
    model: &ModelFacts,
    choice: &mut Choice,
) -> Result<PlannedLayer, PlanError> {
    let (parameters, mut scheme, fell_back) = fit(rule, layer)?;
    scheme.transposed = layer.transposed;
    if let Some(quantizer) = rule.quantizer_with(&parameters)? {
        choice.needs.extend(quantizer.needs().iter().copied());
    }
    let mut because = format!("rule `{}` (line {})", rule.pattern.text(), rule.line);
    if rule.line == 0 {
        because = "command line".to_owned();
    }
    for change in &rule.overridden {
        because = format!("{because}; {change}");
    }
    if let Some(fell_back) = fell_back {
        because = format!("{because}; {fell_back}");
        choice.notes.push(format!("`{}`: {fell_back}", layer.name));
    }
    let bits = size::layer_bits(&scheme, &parameters, layer.rows, layer.cols);
    let weights = layer.rows as f64 * layer.cols as f64;
    Ok(PlannedLayer {
        name: layer.name.clone(),
        shape: [layer.rows, layer.cols],
        stage: layer.stage,
        method: rule.method.clone().unwrap_or_default(),
        parameters,
        scheme,
        bits_per_weight: bits as f64 / weights,
        original_bytes: model.layer_bytes.get(&layer.name).copied().unwrap_or(0),
        bytes: bits.div_ceil(8),
        because,
    })
}

/// The parameters that suit the layer: the rule's, else the first fallback that does.
fn fit(
    rule: &Rule,
    layer: &LayerSpec,
) -> Result<(toml::Table, Scheme, Option<String>), PlanError> {
    let refused = match try_scheme(rule, &rule.parameters, layer)? {
        Ok(scheme) => return Ok((rule.parameters.clone(), scheme, None)),
        Err(refused) => refused,
    };
    if let QuantizeError::GroupSize { group_size, cols } = refused {
        for fallback in &rule.group_fallback {
            let mut parameters = rule.parameters.clone();
            let instead = match fallback {
                Fallback::Group(size) => {
                    let size = i64::try_from(*size).unwrap_or(i64::MAX);
                    parameters.insert("group_size".to_owned(), toml::Value::Integer(size));
                    format!("group_size {size}")
                }
                Fallback::Channel => {
                    parameters.remove("group_size");
                    "one scale per channel".to_owned()
                }
            };
            if let Ok(scheme) = try_scheme(rule, &parameters, layer)? {
                let why = format!("{instead}, as {group_size} does not divide {cols} inputs");
                return Ok((parameters, scheme, Some(why)));
            }
        }
    }
    Err(PlanError::Layer {
        layer: layer.name.clone(),
        rows: layer.rows,
        cols: layer.cols,
        method: rule.method.clone().unwrap_or_default(),
        line: rule.line,
        source: refused,
    })
}

fn try_scheme(
    rule: &Rule,
    parameters: &toml::Table,
    layer: &LayerSpec,
) -> Result<Result<Scheme, QuantizeError>, PlanError> {
    match rule.quantizer_with(parameters)? {
        Some(quantizer) => Ok(quantizer.scheme(layer.rows, layer.cols)),
        None => Err(PlanError::NothingToQuantize),
    }
}
