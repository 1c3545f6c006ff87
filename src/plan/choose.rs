//! One rule for each layer: the first that matches, with its fallbacks.

use super::{KeptLayer, ModelFacts, PlanError, PlannedLayer, integer};
use crate::recipe::{Recipe, Rule};
use calib::LayerSpec;
use quantizers::nearest::nearest_several;
use quantizers::statistics::Pass;
use quantizers::{FloatType, Stat};
use std::collections::{BTreeMap, BTreeSet};

/// The decisions about all layers of a model; sizes follow once the format is chosen.
#[derive(Debug, Default)]
pub(super) struct Choice {
    pub(super) layers: Vec<PlannedLayer>,
    pub(super) kept: Vec<KeptLayer>,
    pub(super) needs: BTreeSet<Stat>,
    pub(super) notes: Vec<String>,
    /// Names of layers that the budget decides.
    pub(super) open: BTreeSet<String>,
    /// Names of layers that see only the tokens a router sends them.
    routed: BTreeSet<String>,
    /// What quantizers say of their layers, and the layers they say it of.
    layer_notes: BTreeMap<String, Vec<String>>,
}

/// What becomes of layers whose rules leave them to the budget.
pub(super) enum Filling<'a> {
    /// It has not been decided.
    Nothing,
    /// All their options, one after the other.
    Options,
    /// One of them.
    Chosen(&'a BTreeMap<String, PlannedLayer>),
}

/// Applies the rules of `recipe` to every linear layer.
pub(super) fn choose(
    recipe: &Recipe,
    model: &ModelFacts,
    filling: &Filling<'_>,
) -> Result<Choice, PlanError> {
    let layers = match &recipe.integer {
        Some(wanted) => {
            integer::encoder(wanted, model)?;
            integer::layers(&model.graph, &model.layers)
        }
        None => model.layers.clone(),
    };
    check_patterns(recipe, &layers)?;
    let named = |names: BTreeSet<&str>| names.into_iter().map(str::to_owned).collect();
    let routers: BTreeSet<String> = named(model.graph.routers());
    let mut choice = Choice {
        routed: named(model.graph.routed_layers()),
        ..Choice::default()
    };
    for layer in &layers {
        let shape = [layer.rows, layer.cols];
        let keep = |because: String| KeptLayer {
            name: layer.name.clone(),
            shape,
            bytes: model.kept_layer_bytes(layer),
            because,
        };
        match rule_for(&recipe.rules, layer) {
            None if recipe.integer.is_some() => {
                let rule = integer::unnamed()?;
                let mut planned = plan_layer(&rule, layer, model, &mut choice)?;
                integer::because_unnamed(&mut planned);
                choice.layers.push(planned);
            }
            None => choice.kept.push(keep(
                if layer.in_block {
                    "no rule matches"
                } else if routers.contains(&layer.name) {
                    "decides for experts, not named"
                } else {
                    "outside the blocks, not named"
                }
                .to_owned(),
            )),
            Some(rule) if rule.method.is_none() => {
                if recipe.integer.is_some() {
                    integer::check_rule(rule, layer, None)?;
                }
                choice
                    .kept
                    .push(keep(format!("rule at line {} keeps it", rule.line)));
            }
            Some(rule) if recipe.integer.is_some() && rule.is_open() => {
                return Err(PlanError::IntegerBudget { line: rule.line });
            }
            Some(rule) => {
                if let Filling::Chosen(chosen) = filling
                    && let Some(planned) = chosen.get(&layer.name)
                {
                    choice.add(planned.clone());
                    continue;
                }
                if rule.is_open() {
                    if !matches!(filling, Filling::Options) {
                        return Err(PlanError::NotMeasured);
                    }
                    options(recipe, rule, layer, model, &mut choice)?;
                    continue;
                }
                let planned = plan_layer(rule, layer, model, &mut choice)?;
                if recipe.integer.is_some() {
                    integer::check_rule(rule, layer, Some(&planned.plan))?;
                }
                choice.layers.push(planned);
            }
        }
    }
    if choice.layers.is_empty() {
        return Err(PlanError::NothingToQuantize);
    }
    for (note, layers) in &choice.layer_notes {
        choice.notes.push(match layers.as_slice() {
            [only] => format!("{note}: `{only}`"),
            [first, others @ ..] => {
                format!("{note}: `{first}` and {} more layers", others.len())
            }
            [] => note.clone(),
        });
    }
    let changes: BTreeSet<&String> = recipe
        .rules
        .iter()
        .flat_map(|rule| &rule.overridden)
        .collect();
    choice.notes.extend(
        changes
            .into_iter()
            .filter(|text| text.contains("dropped"))
            .cloned(),
    );
    Ok(choice)
}

impl Choice {
    /// Of layers that were planned before.
    pub(super) fn of(layers: Vec<PlannedLayer>) -> Self {
        let mut choice = Self::default();
        for layer in layers {
            choice.add(layer);
        }
        choice
    }

    /// Takes a layer that was planned before.
    fn add(&mut self, planned: PlannedLayer) {
        self.needs.extend(planned.plan.needs.iter().copied());
        for note in &planned.plan.notes {
            let layers = self.layer_notes.entry(note.clone()).or_default();
            layers.push(planned.name.clone());
        }
        self.layers.push(planned);
    }
}

/// Plans `layer` with every option of `rule` that suits its shape.
fn options(
    recipe: &Recipe,
    rule: &Rule,
    layer: &LayerSpec,
    model: &ModelFacts,
    choice: &mut Choice,
) -> Result<(), PlanError> {
    let mut refused = None;
    let before = choice.layers.len();
    let options = recipe.options_of(rule)?;
    for option in options {
        if !option.pattern.matches(&layer.name, true) {
            continue;
        }
        // The rule that left the layer open is why it has options.
        let option = Rule {
            pattern: rule.pattern.clone(),
            ..option
        };
        match plan_layer(&option, layer, model, choice) {
            Ok(planned) => choice.layers.push(planned),
            Err(error @ PlanError::Layer { .. }) => refused = Some(error),
            Err(error) => return Err(error),
        }
    }
    choice.open.insert(layer.name.clone());
    match refused {
        Some(error) if choice.layers.len() == before => Err(error),
        None if choice.layers.len() == before => Err(PlanError::NoOption {
            layer: layer.name.clone(),
            line: rule.line,
        }),
        Some(error) => {
            let reason = match &error {
                PlanError::Layer { method, source, .. } => format!("{method}: {source}"),
                error => error.to_string(),
            };
            let note = format!("an option does not suit it ({reason})");
            let layers = choice.layer_notes.entry(note).or_default();
            layers.push(layer.name.clone());
            Ok(())
        }
        None => Ok(()),
    }
}

fn rule_for<'r>(rules: &'r [Rule], layer: &LayerSpec) -> Option<&'r Rule> {
    rules
        .iter()
        .find(|rule| rule.pattern.matches(&layer.name, layer.in_block))
}

/// Every pattern must decide at least one layer.
fn check_patterns(recipe: &Recipe, layers: &[LayerSpec]) -> Result<(), PlanError> {
    for (index, rule) in recipe.rules.iter().enumerate() {
        let matched: Vec<&LayerSpec> = layers
            .iter()
            .filter(|layer| rule.pattern.matches(&layer.name, layer.in_block))
            .collect();
        let earlier = &recipe.rules[..index];
        let decides = matched
            .iter()
            .any(|layer| rule_for(earlier, layer).is_none());
        if decides {
            continue;
        }
        let shadowed_by = matched
            .first()
            .and_then(|layer| rule_for(earlier, layer))
            .map(|rule| rule.line);
        let known = layers.iter().map(|layer| layer.name.as_str());
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
    let literal = pattern
        .trim_start_matches("re:")
        .replace(['*', '^', '$', '\\'], "");
    let literal = literal.trim_matches('.');
    let segments = literal.split('.').count();
    let tail = |name: &'a str| {
        let start = name
            .rmatch_indices('.')
            .nth(segments - 1)
            .map_or(0, |(at, _)| at + 1);
        &name[start..]
    };
    let names: Vec<&str> = known.collect();
    let mut tails: Vec<&str> = Vec::new();
    for name in &names {
        if !tails.contains(&tail(name)) {
            tails.push(tail(name));
        }
    }
    let best = nearest_several(literal, tails, 2);
    let mut nearest: Vec<String> = Vec::new();
    for ending in best {
        nearest.extend(
            names
                .iter()
                .find(|name| tail(name) == ending)
                .map(|name| (*name).to_owned()),
        );
    }
    nearest
}

fn plan_layer(
    rule: &Rule,
    layer: &LayerSpec,
    model: &ModelFacts,
    choice: &mut Choice,
) -> Result<PlannedLayer, PlanError> {
    let Some(quantizer) = rule.quantizer()? else {
        return Err(PlanError::NothingToQuantize);
    };
    let method = rule.method.clone().unwrap_or_default();
    let stored = model
        .float_types
        .get(&layer.name)
        .copied()
        .unwrap_or(FloatType::F32);
    let planned = quantizer.plan(layer.rows, layer.cols, stored);
    let mut plan = planned.map_err(|source| PlanError::Layer {
        layer: layer.name.clone(),
        rows: layer.rows,
        cols: layer.cols,
        method: method.clone(),
        line: rule.line,
        source,
    })?;
    plan.scheme.transposed = layer.transposed;
    let mut needs = plan.needs.iter();
    let gradients = plan.tuning.is_some() || needs.any(|stat| stat.0.pass == Pass::Backward);
    if gradients && !layer.in_block {
        return Err(PlanError::NoGradients {
            layer: layer.name.clone(),
            method,
            line: rule.line,
        });
    }
    choice.needs.extend(plan.needs.iter().copied());
    let mut because = match rule.line {
        0 => "command line".to_owned(),
        line => format!("rule `{}` (line {line})", rule.pattern.text()),
    };
    for change in &rule.overridden {
        because = format!("{because}; {change}");
    }
    for note in &plan.notes {
        because = format!("{because}; {note}");
        choice
            .layer_notes
            .entry(note.clone())
            .or_default()
            .push(layer.name.clone());
    }
    Ok(PlannedLayer {
        name: layer.name.clone(),
        shape: [layer.rows, layer.cols],
        stage: layer.stage,
        routed: choice.routed.contains(&layer.name),
        method,
        parameters: rule.parameters.clone(),
        plan,
        outlier_factor: None,
        bits_per_weight: 0.0,
        original_bytes: model.layer_bytes.get(&layer.name).copied().unwrap_or(0),
        bytes: 0,
        because,
    })
}
