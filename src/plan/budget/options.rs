//! What each open layer can become, and which layers take the same.

use crate::plan::{ModelFacts, PlannedLayer};
use crate::recipe::{Budget, Tie};
use std::collections::{BTreeMap, BTreeSet};

/// Every layer with every option: a planned layer for each, options of one layer one after the other.
#[derive(Debug, Clone, Default)]
pub(crate) struct Options {
    /// Those of the layers the budget decides, and of layers with a fixed rule whose size shows only when they are
    /// quantized.
    pub(in crate::plan) open: Vec<PlannedLayer>,
    /// Layers whose size is known.
    pub(in crate::plan) fixed: Vec<PlannedLayer>,
}

impl Options {
    /// Sorts `layers` into those of `open` names or with a sparse part, and the others.
    pub(in crate::plan) fn of(layers: Vec<PlannedLayer>, open: &BTreeSet<String>) -> Self {
        let is_open = |layer: &PlannedLayer| open.contains(&layer.name) || layer.plan.outliers > 0;
        let (open, fixed) = layers.into_iter().partition(is_open);
        Self { open, fixed }
    }

    /// The options of each open layer, in execution order.
    pub(in crate::plan) fn by_layer(&self) -> Vec<(&str, Vec<&PlannedLayer>)> {
        let mut layers: Vec<(&str, Vec<&PlannedLayer>)> = Vec::new();
        for option in &self.open {
            match layers.last_mut() {
                Some((name, options)) if *name == option.name => options.push(option),
                _ => layers.push((&option.name, vec![option])),
            }
        }
        layers
    }
}

/// The open layers, given with their options, in groups that take the same one: as positions. Only layers with the same
/// options are tied.
pub(in crate::plan) fn tie_groups(
    budget: &Budget,
    model: &ModelFacts,
    layers: &[(&str, Vec<&PlannedLayer>)],
) -> Vec<Vec<usize>> {
    let ties = model.graph.ties();
    let mut groups: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (at, (name, options)) in layers.iter().enumerate() {
        let tie = match &budget.tie {
            Tie::Nothing => None,
            Tie::Graph => ties
                .iter()
                .position(|tied| tied.contains(name))
                .map(|tie| tie.to_string()),
            Tie::Patterns(patterns) => {
                let pattern = patterns.iter().position(|one| one.matches(name, true));
                let stage = options.first().map_or(0, |option| option.stage);
                pattern.map(|pattern| format!("{stage} {pattern}"))
            }
        };
        let key = match tie {
            Some(tie) => {
                let kinds = options
                    .iter()
                    .map(|one| (&one.method, one.parameters.to_string()));
                format!("tie {tie} {:?}", kinds.collect::<Vec<_>>())
            }
            None => format!("layer {name}"),
        };
        groups.entry(key).or_default().push(at);
    }
    let mut groups: Vec<Vec<usize>> = groups.into_values().collect();
    groups.sort_unstable();
    groups
}
