//! `quantization_config` as the library writes it.

use super::{Storage, StoredLayer};
use crate::tensor::{Granularity, InputGrid, Scheme};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Version of the library whose layout is written.
const VERSION: &str = "0.20.0";

/// What two layers have to agree on to be in one group.
#[derive(Clone, Copy, PartialEq)]
struct Group {
    storage: Storage,
    bits: u8,
    granularity: Granularity,
    symmetric: bool,
    column_groups: bool,
    inputs: Option<InputGrid>,
}

/// The configuration for `layers`; modules in `ignore` are left alone.
///
/// One group targets the class `Linear`, so that it also fits a model with another prefix; several
/// groups target modules by exact name, which no pattern order can confuse, and by `class_name` where
/// transformers calls them otherwise.
pub(super) fn write(
    layers: &BTreeMap<String, StoredLayer>,
    ignore: &BTreeSet<String>,
    class_name: impl Fn(&str) -> Option<String>,
    storage: impl Fn(&Scheme) -> Storage,
) -> Value {
    let mut groups: Vec<(Group, Vec<&str>)> = Vec::new();
    for (name, StoredLayer { scheme, .. }) in layers {
        let group = Group {
            storage: storage(scheme),
            bits: scheme.bits,
            granularity: scheme.granularity,
            symmetric: scheme.symmetric,
            column_groups: scheme.column_groups,
            inputs: scheme.inputs,
        };
        match groups.iter_mut().find(|(known, _)| *known == group) {
            Some((_, names)) => names.push(name),
            None => groups.push((group, vec![name])),
        }
    }
    let format = match &groups[..] {
        [] => "dense",
        [(first, _), rest @ ..] if rest.iter().all(|(group, _)| group.storage == first.storage) => {
            first.storage.name()
        }
        _ => "mixed-precision",
    };
    let single = groups.len() == 1;
    let config_groups = groups.iter().enumerate().map(|(index, (group, names))| {
        let targets = if single {
            vec!["Linear".to_owned()]
        } else {
            let others = names.iter().filter_map(|name| class_name(name));
            let names = names.iter().map(|name| (*name).to_owned());
            names.chain(others).collect()
        };
        (format!("group_{index}"), group.to_json(&targets))
    });
    let config_groups: serde_json::Map<String, Value> = config_groups.collect();
    json!({
        "config_groups": config_groups,
        "format": format,
        "global_compression_ratio": null,
        "ignore": ignore,
        "kv_cache_scheme": null,
        "moe_sparsity_config": null,
        "quant_method": "compressed-tensors",
        "quantization_status": "compressed",
        "sparsity_config": {},
        "transform_config": {},
        "version": VERSION,
    })
}

impl Group {
    fn to_json(self, targets: &[String]) -> Value {
        let (strategy, group_size) = match self.granularity {
            Granularity::Tensor => ("tensor", None),
            Granularity::Channel => ("channel", None),
            Granularity::Group(size) => ("group", Some(size)),
        };
        let inputs = self.inputs.map(|inputs| {
            let strategy = if inputs.dynamic { "token" } else { "tensor" };
            json!({
                "dynamic": inputs.dynamic,
                "group_size": null,
                "num_bits": inputs.bits,
                "strategy": strategy,
                "symmetric": inputs.symmetric,
                "type": "int",
            })
        });
        let mut weights = json!({
            "dynamic": false,
            "group_size": group_size,
            "num_bits": self.bits,
            "strategy": strategy,
            "symmetric": self.symmetric,
            "type": "int",
        });
        if self.column_groups {
            weights["actorder"] = Value::from("group");
        }
        json!({
            "format": self.storage.name(),
            "input_activations": inputs,
            "output_activations": null,
            "targets": targets,
            "weights": weights,
        })
    }
}
