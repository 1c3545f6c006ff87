//! Which modules engines must leave alone: they look quantized layers up by class.

use super::{StoredLayer, parts};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// The modules in `kept` that are, or may be, linear layers, by every name an engine could use.
pub(super) fn list(
    config: &Map<String, Value>,
    layers: &BTreeMap<String, StoredLayer>,
    kept: &BTreeSet<String>,
) -> BTreeSet<String> {
    let is_table = |name: &str| {
        let last = name.rsplit('.').next().unwrap_or(name);
        name.contains("embed") || ["wte", "wpe", "shared"].contains(&last)
    };
    let mut names: BTreeSet<String> = kept
        .iter()
        .filter(|name| !is_table(name))
        .cloned()
        .collect();
    // A tied head has no tensor of its own, but is a linear layer all the same.
    let architectures = config.get("architectures").and_then(Value::as_array);
    let has_head = |name: &Value| {
        let name = name.as_str().unwrap_or_default();
        let ends = ["ForCausalLM", "LMHeadModel", "ForConditionalGeneration"];
        ends.iter().any(|end| name.ends_with(end))
    };
    if architectures.is_some_and(|names| names.iter().any(has_head)) {
        names.insert("lm_head".to_owned());
    }
    // `bert.pooler.dense` is `pooler.dense` to those who load the model without its head.
    let model_type = config
        .get("model_type")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let inner = |name: &String| Some(name.strip_prefix(model_type)?.strip_prefix('.')?.to_owned());
    let inner: Vec<String> = names.iter().filter_map(inner).collect();
    names.extend(inner);
    names.retain(|name| !layers.contains_key(name));
    if parts::has_parts(config) {
        let in_class: Vec<String> = names
            .iter()
            .filter_map(|name| parts::name_in_class(name))
            .collect();
        names.extend(in_class);
        let class_names = layers.keys().filter_map(|name| parts::name_in_class(name));
        for name in class_names {
            names.remove(&name);
        }
        names.extend(parts::patterns(layers, kept));
    }
    names
}
