//! Models inside models: the language model of one that also sees or hears.
//!
//! config.json of such a model describes its parts, and the part that is a language model names a decoder of the
//! table. Its tensors stand under a prefix, among those of the other parts:
//!
//! | files | tower | head |
//! |---|---|---|
//! | transformers from 4.52 on | `model.language_model.` | `lm_head` |
//! | before | `language_model.model.` | `language_model.lm_head` |
//! | Idefics, `SmolVLM` | `model.text_model.` | `lm_head` |
//! | Qwen2-VL, Qwen2.5-VL | `model.` | `lm_head` |
//! | Qwen2.5-Omni | `thinker.model.` | `thinker.lm_head` |
//!
//! The language model runs on text alone, with the head and the factors of its own class (the whole models of
//! transformers 5 leave out the factor that Cohere and Granite have on logits). No stage reads the other parts, so
//! they are copied.

mod outer;
mod text;
#[cfg(test)]
mod tests;

use super::decoder::{self, Flavour, Place};
use super::{Abilities, Architecture, Config, InputKind};
use crate::model::LargerModel;
use crate::{Model, ModelError, ModelOutput, WeightSource};
use outer::{OUTER, Outer};
use serde_json::{Map, Value};
use std::sync::LazyLock;
use text::Text;

/// Where the part that is a language model is described; the second by files with code of their own (`InternVL`).
const PARTS: [&str; 3] = ["text_config", "llm_config", "thinker_config.text_config"];

/// What stands in front of the names of a language model.
const PREFIXES: [&str; 7] = [
    "model.language_model.",
    "language_model.",
    "model.text_model.",
    "text_model.",
    "thinker.",
    "model.",
    "",
];

/// Ends of the names of classes that predict tokens or return hidden states. Others (classifiers, retrievers) end
/// in what is not known here.
const CLASSES: [&str; 3] = ["ForConditionalGeneration", "ForCausalLM", "Model"];

const TIED: &str = "tie_word_embeddings";

static MODEL_TYPES: LazyLock<Vec<&str>> =
    LazyLock::new(|| OUTER.iter().map(|outer| outer.model_type).collect());

/// All of them: what differs is in the tables.
pub(super) struct Composite;

/// The part of a configuration that describes a language model.
struct Part<'a> {
    outer: Option<&'static Outer>,
    text: Option<&'static Text>,
    flavour: &'static Flavour,
    key: &'static str,
    config: &'a Map<String, Value>,
}

impl<'a> Part<'a> {
    fn of(config: &'a Value) -> Option<Self> {
        let whole = Config::new(config);
        let model_type = config.get("model_type").and_then(Value::as_str)?;
        let outer = OUTER.iter().find(|outer| outer.model_type == model_type);
        let nested = PARTS.iter().find_map(|key| {
            let part = whole.get(key)?.as_object()?;
            Some((*key, part))
        });
        let (key, part) = match nested {
            Some(nested) => nested,
            None => (
                "",
                config
                    .as_object()
                    .filter(|_| outer.is_some_and(|outer| outer.flat))?,
            ),
        };
        let named = part.get("model_type").and_then(Value::as_str);
        let named = named.filter(|_| !key.is_empty());
        let kind = named.or(outer.map(|outer| outer.text))?;
        let text = Text::of(kind);
        let row = text.map_or(kind, |text| text.row);
        let mut rows = decoder::FLAVOURS.iter();
        Some(Self {
            outer,
            text,
            flavour: rows.find(|flavour| flavour.model_type == row)?,
            key,
            config: part,
        })
    }

    fn place(&self, weights: &dyn WeightSource) -> Option<Place> {
        Place::within(&PREFIXES, self.flavour, weights)
    }

    /// The configuration as the language model alone would have it, with or without a head.
    fn complete(&self, whole: &Value, has_head: bool) -> Value {
        let mut config = self.config.clone();
        if let Some(text) = self.text {
            text.fill_in(&mut config);
        }
        for key in ["rope_scaling", "rope_parameters"] {
            if let Some(Value::Object(rope)) = config.get_mut(key) {
                one_position(rope);
            }
        }
        if let Some(key) = self.outer.and_then(|outer| outer.of_images) {
            config.remove(key);
        }
        let class = self.flavour.class(has_head);
        config.insert("architectures".to_owned(), Value::from(vec![class]));
        // The whole decides in newer files and the part in older ones.
        let by_default = self.outer.is_some_and(|outer| outer.tied);
        let says = |config: Option<&Value>| config.and_then(Value::as_bool);
        let tied = says(whole.get(TIED)).unwrap_or(by_default)
            || says(self.config.get(TIED)).unwrap_or(self.flavour.tied);
        config.insert(TIED.to_owned(), Value::from(tied));
        Value::Object(config)
    }
}

/// Rotary parameters without what tells images apart: all positions of a text are the same.
fn one_position(rope: &mut Map<String, Value>) {
    rope.remove("mrope_section");
    rope.remove("mrope_interleaved");
    for key in ["type", "rope_type"] {
        if rope.get(key).is_some_and(|kind| kind == "mrope") {
            rope.insert(key.to_owned(), Value::from("default"));
        }
    }
}

/// Whether config.json says that the head is the token table, at the top or where it describes the language model.
pub fn says_tied(config: &Value) -> Option<bool> {
    let whole = Config::new(config);
    let parts = PARTS.iter().filter_map(|key| whole.get(key));
    let said = [config].into_iter().chain(parts);
    said.filter_map(|config| config.get(TIED)?.as_bool())
        .reduce(|tied, other| tied || other)
}

/// What names of the language model begin with, in a model of several parts of which nothing else is known; nothing
/// where config.json describes no such part, or no blocks stand under a name of their own.
pub(super) fn language_prefix(config: &Value, weights: &dyn WeightSource) -> Option<&'static str> {
    let whole = Config::new(config);
    PARTS.iter().find(|key| whole.get(key).is_some())?;
    let named = PREFIXES
        .into_iter()
        .filter(|prefix| !["model.", ""].contains(prefix));
    let stored = weights.names();
    let is_in_block = |name: &str| name.split('.').any(|part| part.parse::<usize>().is_ok());
    named.into_iter().find(|prefix| {
        let mut inside = stored.iter().filter(|name| name.starts_with(prefix));
        inside.any(|name| is_in_block(name))
    })
}

/// The decoder inside the model of `config`.
pub(super) fn flavour_of(config: &Value) -> Option<&'static Flavour> {
    Part::of(config).map(|part| part.flavour)
}

impl Architecture for Composite {
    fn name(&self) -> &'static str {
        "language-tower"
    }

    fn summary(&self) -> &'static str {
        "a decoder inside a model that also sees or hears: quantized and judged on text alone, the rest is copied"
    }

    fn model_types(&self) -> &[&'static str] {
        &MODEL_TYPES
    }

    /// Any model whose configuration describes a decoder of the table, and whose tensors show where that is.
    fn takes(&self, _model_type: &str, config: &Value, weights: &dyn WeightSource) -> bool {
        let classes = config.get("architectures").and_then(Value::as_array);
        let is_known = |class: &Value| {
            let class = class.as_str().unwrap_or_default();
            CLASSES.iter().any(|end| class.ends_with(end))
        };
        classes.is_none_or(|classes| classes.iter().all(is_known))
            && Part::of(config).is_some_and(|part| part.place(weights).is_some())
    }

    fn abilities(&self) -> Abilities {
        Abilities {
            outputs: &[ModelOutput::TokenLogits, ModelOutput::HiddenStates],
            takes: InputKind::Tokens,
            calibrates: true,
            integer_only: false,
            layer: "model.language_model.layers.N.self_attn.o_proj".to_owned(),
        }
    }

    fn open(
        &self,
        config: &Value,
        weights: &dyn WeightSource,
    ) -> Result<Box<dyn Model>, ModelError> {
        let whole = Config::new(config);
        let expected = "a part that describes a decoder, whose tensors stand under one prefix";
        let refused = || whole.error("text_config", expected, "another model");
        let part = Part::of(config).ok_or_else(refused)?;
        let place = part.place(weights).ok_or_else(refused)?;
        let has_head = weights.contains(&format!("{}.weight", place.head))
            || !whole.get("architectures").is_some_and(returns_states);
        let complete = part.complete(config, has_head);
        let within = LargerModel {
            model_type: whole.text_or("model_type", "")?.to_owned(),
            prefix: place.prefix.clone(),
        };
        let config = Config::under(part.key, &complete);
        let model = part.flavour.laid_out(config, place, weights)?;
        Ok(Box::new(model.within(within)))
    }
}

/// Whether `architectures` names a class without a head.
fn returns_states(classes: &Value) -> bool {
    let mut classes = classes.as_array().into_iter().flatten();
    classes.any(|class| class.as_str().is_some_and(|class| class.ends_with("Model")))
}
