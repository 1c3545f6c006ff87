//! What the JSON files beside a vocabulary say of its tokenizer: special tokens, added tokens, flags.
//!
//! The rules are those of transformers' `from_pretrained`: `tokenizer_config.json` alone where it has an
//! `added_tokens_decoder`; else `special_tokens_map.json` on top of it, and `added_tokens.json`.

use super::TokenizerError;
use super::json_files::JsonFiles;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use tokenizers::AddedToken;

/// Names of special tokens every tokenizer may have, in the order they are added.
const STANDARD: [&str; 7] = [
    "bos_token",
    "eos_token",
    "unk_token",
    "sep_token",
    "pad_token",
    "cls_token",
    "mask_token",
];

/// A special token as it was written: its text alone, or with how it is matched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Special {
    /// Its text.
    Text(String),
    /// With how it is matched.
    Token(AddedToken),
}

/// A special token of a class, where no file names another.
#[derive(Debug, Clone, Copy)]
pub(super) struct Default {
    /// `bos_token` and so on.
    pub(super) key: &'static str,
    /// Its text.
    pub(super) text: &'static str,
    /// Given as text alone, it takes the white space before it.
    pub(super) left: bool,
}

/// What the JSON files say.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    keys: Map<String, Value>,
    /// Keys of special tokens that only this model has, with their texts.
    specific: Vec<(String, Special)>,
    /// Added tokens by the id they had when they were saved.
    pub(super) added: BTreeMap<u32, AddedToken>,
}

impl Special {
    /// The text.
    pub(super) fn text(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Token(token) => &token.content,
        }
    }

    /// Reads a string or an object with `content`; nothing for anything else.
    fn read(value: &Value) -> Option<Self> {
        if let Some(text) = value.as_str() {
            return Some(Self::Text(text.to_owned()));
        }
        added_token(value).map(Self::Token)
    }

    fn taking_left(self) -> Self {
        match self {
            Self::Text(text) => Self::Token(AddedToken::from(text, true).lstrip(true)),
            token @ Self::Token(_) => token,
        }
    }
}

impl Settings {
    /// Reads the settings of a folder.
    ///
    /// # Errors
    /// A token that is none.
    pub(super) fn read(files: &JsonFiles) -> Result<Self, TokenizerError> {
        let mut keys = files.settings.as_object().cloned().unwrap_or_default();
        let renamed = keys.get("extra_special_tokens").is_none_or(is_empty);
        if renamed && let Some(tokens) = keys.remove("additional_special_tokens") {
            keys.insert("extra_special_tokens".to_owned(), tokens);
        }
        let mut specific = Vec::new();
        keys.retain(|key, value| {
            let own = is_specific(key) && value.is_string();
            if own {
                specific.extend(Special::read(value).map(|token| (key.clone(), token)));
            }
            !own
        });
        let mut settings = Self {
            keys,
            specific,
            added: BTreeMap::new(),
        };
        settings.take_dictionary();
        if settings.keys.contains_key("added_tokens_decoder") {
            settings.read_decoder(&files.path("tokenizer_config.json"))?;
        } else {
            settings.read_map(&files.map);
            settings.read_added(&files.added, &files.path("added_tokens.json"))?;
        }
        Ok(settings)
    }

    /// An `extra_special_tokens` that is an object names tokens of this model only.
    fn take_dictionary(&mut self) {
        if let Some(Value::Object(named)) = self.keys.get("extra_special_tokens").cloned() {
            self.keys.remove("extra_special_tokens");
            let read = |(key, value): (String, Value)| Some((key, Special::read(&value)?));
            self.specific.extend(named.into_iter().filter_map(read));
        }
    }

    fn read_decoder(&mut self, path: &Path) -> Result<(), TokenizerError> {
        let error = |expected: &'static str, found: String| TokenizerError::Content {
            path: path.to_owned(),
            key: "added_tokens_decoder".to_owned(),
            expected: expected.to_owned(),
            found,
        };
        let decoder = self.keys["added_tokens_decoder"].as_object();
        let decoder =
            decoder.ok_or_else(|| error("tokens by their ids", "no object".to_owned()))?;
        for (id, value) in decoder {
            let number = id.parse();
            let number = number.map_err(|_| error("ids as keys", format!("`{id}`")))?;
            let token = added_token(value);
            let token = token.ok_or_else(|| error("tokens with `content`", value.to_string()))?;
            self.added.insert(number, token);
        }
        Ok(())
    }

    fn read_map(&mut self, map: &Value) {
        for (key, value) in map.as_object().into_iter().flatten() {
            let value = match (key.as_str(), value) {
                ("extra_special_tokens", Value::Array(more)) => {
                    let mut tokens = self.keys.get(key).and_then(Value::as_array).cloned();
                    let known = tokens.get_or_insert_default();
                    for token in more {
                        if !known.contains(token) {
                            known.push(as_special(token));
                        }
                    }
                    Value::Array(std::mem::take(known))
                }
                ("extra_special_tokens", value) => value.clone(),
                (_, value) => as_special(value),
            };
            self.keys.insert(key.clone(), value);
        }
        self.take_dictionary();
    }

    fn read_added(&mut self, added: &Value, path: &Path) -> Result<(), TokenizerError> {
        let named = STANDARD.iter().filter_map(|key| self.keys.get(*key));
        let extra = self
            .keys
            .get("extra_special_tokens")
            .and_then(Value::as_array);
        // A token that `tokenizer_config.json` writes as an object is not looked at.
        let mapped = |value: &&Value| value.is_string() || !value["special"].is_null();
        let special: Vec<String> = (named.filter(mapped).chain(extra.into_iter().flatten()))
            .filter_map(|value| Some(Special::read(value)?.text().to_owned()))
            .collect();
        for (text, id) in added.as_object().into_iter().flatten() {
            let number = id.as_u64().and_then(|id| u32::try_from(id).ok());
            let number = number.ok_or_else(|| TokenizerError::Content {
                path: path.to_owned(),
                key: text.clone(),
                expected: "an id".to_owned(),
                found: id.to_string(),
            })?;
            let token = AddedToken::from(text.clone(), special.contains(text));
            self.added.insert(number, token);
        }
        Ok(())
    }

    /// A flag; `absent` where no file has the key, or has it as null.
    pub(super) fn flag(&self, key: &str, absent: bool) -> bool {
        self.keys
            .get(key)
            .and_then(Value::as_bool)
            .unwrap_or(absent)
    }

    /// A flag that null turns off; `absent` where no file has the key.
    pub(super) fn flag_unless_null(&self, key: &str, absent: bool) -> bool {
        let value = self.keys.get(key);
        value.map_or(absent, |value| value.as_bool().unwrap_or(false))
    }

    /// A flag that may be left open, as JSON.
    pub(super) fn flag_or_open(&self, key: &str) -> Option<bool> {
        self.keys.get(key).and_then(Value::as_bool)
    }

    /// A whole number; `absent` where there is none.
    pub(super) fn number(&self, key: &str, absent: usize) -> usize {
        let value = self.keys.get(key).and_then(Value::as_u64);
        value.map_or(absent, |value| usize::try_from(value).unwrap_or(absent))
    }

    /// The text of a special token, or `absent`.
    pub(super) fn text(&self, key: &str, absent: &str) -> String {
        let value = self.keys.get(key).and_then(Special::read);
        value.map_or_else(|| absent.to_owned(), |token| token.text().to_owned())
    }

    /// Names a token where no file does.
    pub(super) fn set_default(&mut self, key: &str, text: &str) {
        let value = self.keys.entry(key.to_owned());
        value.or_insert_with(|| Value::from(text));
    }

    /// Sets a flag where no file does.
    pub(super) fn set_default_flag(&mut self, key: &str, flag: bool) {
        let value = self.keys.entry(key.to_owned());
        value.or_insert_with(|| Value::from(flag));
    }

    /// The special tokens with their keys: those of every tokenizer, then those of this model only.
    pub(super) fn named(&self, defaults: &[Default]) -> Vec<(String, Special)> {
        let default = |key: &str| defaults.iter().find(|default| default.key == key);
        let value = |key: &str| {
            let default = default(key);
            let token = match self.keys.get(key) {
                Some(value) => Special::read(value)?,
                None => Special::Text(default?.text.to_owned()),
            };
            let token = self.as_added(token);
            let left = default.is_some_and(|default| default.left);
            let token = if left { token.taking_left() } else { token };
            Some((key.to_owned(), token))
        };
        let mut named: Vec<_> = STANDARD.iter().filter_map(|key| value(key)).collect();
        let own = |key: &&str| is_specific(key);
        let of_class = defaults.iter().map(|default| default.key).filter(own);
        let of_files = self.keys.keys().map(String::as_str).filter(own);
        let mut keys: Vec<&str> = of_class.chain(of_files).collect();
        keys.dedup();
        let mut specific: Vec<_> = keys.into_iter().filter_map(value).collect();
        for (key, token) in &self.specific {
            match specific.iter_mut().find(|(known, _)| known == key) {
                Some((_, known)) => *known = token.clone(),
                None => specific.push((key.clone(), token.clone())),
            }
        }
        named.append(&mut specific);
        named
    }

    /// A named token that is among the added tokens is matched as that one is.
    fn as_added(&self, token: Special) -> Special {
        let mut same = self.added.values().rev();
        let found = same.find(|added| added.content == token.text());
        found.map_or(token, |added| Special::Token(added.clone()))
    }

    /// Special tokens without a key; `own` are those the vocabulary or the class brings, for files that say nothing.
    pub(super) fn extra(&self, own: Option<Vec<Special>>) -> Vec<Special> {
        let read = |key: &str| {
            let list = self.keys.get(key)?.as_array()?.iter();
            Some(list.filter_map(Special::read).collect::<Vec<_>>())
        };
        if self.keys.contains_key("extra_special_tokens") {
            return read("extra_special_tokens").unwrap_or_default();
        }
        own.or_else(|| read("additional_special_tokens"))
            .unwrap_or_default()
    }
}

/// Whether `key` names a special token that not every tokenizer has.
fn is_specific(key: &str) -> bool {
    key.ends_with("_token") && !STANDARD.contains(&key)
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        value => value.is_null(),
    }
}

/// A token written as an object, marked as special; anything else as it is.
fn as_special(value: &Value) -> Value {
    let mut value = value.clone();
    if let Some(object) = value.as_object_mut() {
        object.insert("special".to_owned(), json!(true));
    }
    value
}

/// A token written as an object.
fn added_token(value: &Value) -> Option<AddedToken> {
    let flag = |key: &str| value[key].as_bool();
    let special = flag("special").unwrap_or(false);
    let token = AddedToken::from(value["content"].as_str()?, special)
        .single_word(flag("single_word").unwrap_or(false))
        .lstrip(flag("lstrip").unwrap_or(false))
        .rstrip(flag("rstrip").unwrap_or(false))
        .normalized(flag("normalized").unwrap_or(!special));
    Some(token)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn settings(settings: Value, map: Value, added: Value) -> Settings {
        let files = JsonFiles {
            folder: PathBuf::new(),
            settings,
            map,
            added,
            config: Value::Null,
            generation: Value::Null,
            made: BTreeMap::new(),
        };
        Settings::read(&files).unwrap()
    }

    #[test]
    fn a_decoder_of_added_tokens_leaves_the_older_files_unread() {
        let decoder = json!({ "7": { "content": "<s>", "special": true, "lstrip": true } });
        let config = json!({ "added_tokens_decoder": decoder, "bos_token": "<s>" });
        let found = settings(config, json!({ "eos_token": "x" }), json!({ "y": 9 }));
        let named = found.named(&[]);
        let token = AddedToken::from("<s>", true).lstrip(true);
        assert_eq!(named, [("bos_token".to_owned(), Special::Token(token))]);
        assert_eq!(found.added.keys().copied().collect::<Vec<_>>(), [7]);
    }

    #[test]
    fn the_map_goes_over_the_settings_and_null_over_the_class() {
        let config = json!({ "bos_token": "a", "pad_token": null });
        let map = json!({ "bos_token": "b", "image_token": { "content": "i" } });
        let found = settings(config, map, json!({ "b": 3, "c": 4 }));
        let default = |key, text| Default {
            key,
            text,
            left: false,
        };
        let named = found.named(&[default("pad_token", "p"), default("unk_token", "u")]);
        let keys: Vec<&str> = named.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(keys, ["bos_token", "unk_token", "image_token"]);
        assert!(found.added[&3].special && !found.added[&4].special);
        assert!(!found.added[&3].normalized && found.added[&4].normalized);
    }
}
