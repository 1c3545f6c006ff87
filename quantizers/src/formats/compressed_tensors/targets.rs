//! Which config group a module belongs to.

use super::arguments::Arguments;
use super::presets;
use crate::formats::FormatError;
use fancy_regex::Regex;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

#[derive(Deserialize)]
struct GroupJson {
    targets: Vec<String>,
    weights: Option<Arguments>,
    input_activations: Option<Arguments>,
}

/// What a group's targets are stored as.
pub(in crate::formats) struct Group {
    pub(in crate::formats) name: String,
    pub(in crate::formats) weights: Arguments,
    pub(in crate::formats) inputs: Option<Arguments>,
}

/// The targets of all groups.
pub(in crate::formats) struct Targets {
    pub(super) file: PathBuf,
    groups: Vec<Group>,
    exact: BTreeMap<String, usize>,
    /// Tried in the order of the pattern text, as the library does.
    patterns: BTreeMap<String, (Regex, usize)>,
}

impl Targets {
    /// Reads `config`, which is the `quantization_config` in `file`.
    pub(in crate::formats) fn parse(file: &Path, config: &Value) -> Result<Self, FormatError> {
        let mut targets = Self {
            file: file.to_path_buf(),
            groups: Vec::new(),
            exact: BTreeMap::new(),
            patterns: BTreeMap::new(),
        };
        let groups = config.get("config_groups").and_then(Value::as_object);
        let groups = groups.ok_or_else(|| {
            let found = config.get("config_groups").unwrap_or(&Value::Null);
            targets.refuse("config_groups", "a table of groups", found)
        })?;
        for (name, group) in groups {
            targets.add(name, group)?;
        }
        Ok(targets)
    }

    fn add(&mut self, name: &str, group: &Value) -> Result<(), FormatError> {
        let place = || format!("config_groups.{name}");
        let json = |source| FormatError::Json {
            file: self.file.clone(),
            source,
        };
        let (names, weights, inputs) = if group.is_array() {
            if name.eq_ignore_ascii_case("UNQUANTIZED") {
                return Ok(());
            }
            let names = Vec::<String>::deserialize(group).map_err(json)?;
            let (weights, inputs) = presets::weights(name)
                .ok_or_else(|| self.refuse(&place(), "a preset of weights", group))?;
            (names, Some(weights), inputs)
        } else {
            let group = GroupJson::deserialize(group).map_err(json)?;
            (group.targets, group.weights, group.input_activations)
        };
        // A group without weights quantizes activations only.
        let Some(weights) = weights else {
            return Ok(());
        };
        let index = self.groups.len();
        for target in names {
            if let Some(pattern) = target.strip_prefix("re:") {
                let regex = Regex::new(&format!("^(?:{pattern})")).map_err(|error| {
                    let found = Value::from(format!("{target} ({error})"));
                    self.refuse(
                        &format!("{}.targets", place()),
                        "a regular expression",
                        &found,
                    )
                })?;
                self.patterns.entry(target).or_insert((regex, index));
            } else {
                self.exact.entry(target).or_insert(index);
            }
        }
        self.groups.push(Group {
            name: name.to_owned(),
            weights,
            inputs,
        });
        Ok(())
    }

    /// The group of a module: by exact name, else by the first pattern, else by class.
    pub(in crate::formats) fn group_of(&self, layer: &str) -> Result<&Group, FormatError> {
        let mut found = self.exact.get(layer).copied();
        for (target, (pattern, group)) in &self.patterns {
            if found.is_some() {
                break;
            }
            let matches = pattern.is_match(layer).map_err(|error| {
                let text = Value::from(format!("{target} ({error})"));
                self.refuse(
                    "targets",
                    "a regular expression that ends on module names",
                    &text,
                )
            })?;
            found = matches.then_some(*group);
        }
        // The files do not say which class a module is of; quantized ones are linear layers unless
        // the only class named is another one.
        let class = || {
            let is_class = |target: &&String| target.starts_with(char::is_uppercase);
            let mut classes = self.exact.keys().filter(is_class);
            let first = classes.next()?;
            self.exact
                .get("Linear")
                .or_else(|| self.exact.get(first))
                .copied()
        };
        let one_sided = || FormatError::OneSided {
            layer: layer.to_owned(),
            present: "the weight files",
            absent: "the targets of `quantization_config`",
        };
        found
            .or_else(class)
            .map(|group| &self.groups[group])
            .ok_or_else(one_sided)
    }

    fn refuse(&self, place: &str, expected: &str, found: &Value) -> FormatError {
        FormatError::Config {
            file: self.file.clone(),
            place: place.to_owned(),
            expected: expected.to_owned(),
            found: format!("`{found}`"),
        }
    }
}
