//! Names of modules in models inside models. transformers looks for the names that its own classes have, vLLM for
//! those of the file; where the two differ both are written.

use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// Keys of config.json that describe a part of a model.
const PARTS: [&str; 5] = [
    "text_config",
    "llm_config",
    "thinker_config",
    "vision_config",
    "audio_config",
];

/// What files of transformers before 4.52 call the language model, and what its classes call it since.
const RENAMED: [(&str, &str); 3] = [
    ("language_model.model.", "model.language_model."),
    ("language_model.lm_head", "lm_head"),
    // Qwen2-VL and Qwen2.5-VL.
    ("model.layers.", "model.language_model.layers."),
];

/// Whether config.json describes a model of several parts.
pub(super) fn has_parts(config: &Map<String, Value>) -> bool {
    PARTS
        .iter()
        .any(|key| config.get(*key).is_some_and(Value::is_object))
}

/// The name that the classes of transformers give to the module `name` of a language model in such a model, where it
/// is another one.
pub(super) fn name_in_class(name: &str) -> Option<String> {
    RENAMED.iter().find_map(|(file, class)| {
        let rest = name.strip_prefix(file)?;
        Some(format!("{class}{rest}"))
    })
}

/// A pattern for each part that has modules in `kept` and none in `layers`: it fits the names of files and of classes.
pub(super) fn patterns<T>(
    layers: &BTreeMap<String, T>,
    kept: &BTreeSet<String>,
) -> BTreeSet<String> {
    let parts = kept.iter().filter_map(|name| {
        let mut modules = name.split('.');
        let first = modules.find(|module| !["model", "thinker"].contains(module))?;
        modules.next().map(|_| first)
    });
    let is_other = |part: &&str| {
        let is_word = part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        is_word
            && !layers
                .keys()
                .any(|layer| layer.split('.').any(|module| module == *part))
    };
    parts
        .filter(is_other)
        .map(|part| format!(r"re:(.*\.)?{part}\..*"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_without_quantized_layers_are_left_as_a_whole() {
        let layers =
            BTreeMap::from([("language_model.model.layers.0.mlp.up_proj".to_owned(), 4_u8)]);
        let kept = [
            "language_model.lm_head",
            "language_model.model.layers.1.mlp.up_proj",
            "multi_modal_projector.linear_1",
            "vision_tower.vision_model.encoder.layers.0.mlp.fc1",
            "vision_tower.vision_model.encoder.layers.0.mlp.fc2",
        ];
        let kept = kept.map(str::to_owned).into();
        let expected = [
            r"re:(.*\.)?multi_modal_projector\..*",
            r"re:(.*\.)?vision_tower\..*",
        ];
        assert_eq!(patterns(&layers, &kept), expected.map(str::to_owned).into());
    }

    #[test]
    fn modules_of_the_language_model_have_the_names_of_its_class_too() {
        for (file, class) in [
            (
                "language_model.model.norm",
                Some("model.language_model.norm"),
            ),
            ("language_model.lm_head", Some("lm_head")),
            (
                "model.layers.0.mlp.up_proj",
                Some("model.language_model.layers.0.mlp.up_proj"),
            ),
            ("model.language_model.layers.0.mlp.up_proj", None),
        ] {
            assert_eq!(name_in_class(file).as_deref(), class);
        }
    }
}
