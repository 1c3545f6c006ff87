//! The file of a space: a recipe, and what may be chosen in it.
//!
//! ```toml
//! name = "q4-decoders"
//! recipe = "q4"                     # changed by the choices; `-r` names another
//!
//! [[dimension]]
//! name = "samples"
//! key = "calibration.samples"       # a key of the recipe
//! values = [8, 32]
//!
//! [[dimension]]
//! name = "clip"
//! key = "rules.clip"                # the key `clip` of every rule that quantizes
//! values = ["none", "mse"]
//!
//! [[dimension]]
//! name = "kept"
//! [dimension.choices]               # names of choices, and what each changes
//! nothing = {}
//! first = { layers = [{ match = "*.layers.0.*", method = "keep" }] }  # rules before those of the recipe
//! ```

use crate::recipe::RecipeError;
use quantizers::search::Choices;
use serde::Deserialize;
use thiserror::Error;
use toml::{Table, Value};

/// A space that comes with the program.
#[derive(Debug, Clone, Copy)]
pub struct BuiltinSpace {
    /// Name on the command line.
    pub name: &'static str,
    /// Its text.
    pub text: &'static str,
}

/// Every built-in space: the first for decoders, the second for encoders.
pub static BUILTIN_SPACES: &[BuiltinSpace] = &[
    BuiltinSpace {
        name: "q4-decoders",
        text: include_str!("../../recipes/spaces/q4-decoders.toml"),
    },
    BuiltinSpace {
        name: "int8-encoders",
        text: include_str!("../../recipes/spaces/int8-encoders.toml"),
    },
];

/// Configurations of a space, at most.
const MOST: usize = 1 << 16;

/// A space that says something quench cannot do.
#[derive(Debug, Error)]
pub enum SpaceError {
    /// Not TOML, or not in this form.
    #[error("{0}")]
    Form(String),
    /// A dimension with nothing to choose from.
    #[error("dimension `{dimension}` has {found}, expected {expected}")]
    Dimension {
        /// Its name.
        dimension: String,
        /// What would do.
        expected: &'static str,
        /// What is there.
        found: String,
    },
    /// More configurations than are looked through before each measurement.
    #[error("the space has too many configurations, expected at most {MOST}")]
    TooLarge,
    /// A configuration that is no recipe.
    #[error("with {choices}")]
    Recipe {
        /// The configuration.
        choices: String,
        /// What is wrong with the recipe it makes.
        source: RecipeError,
    },
}

/// What may be chosen, one of each dimension.
#[derive(Debug, Clone)]
pub struct Space {
    /// Name in messages.
    pub name: String,
    /// The recipe that is changed, unless the command line names another.
    pub recipe: String,
    /// What is chosen among.
    pub dimensions: Vec<Dimension>,
    /// BLAKE3 of the dimensions, hexadecimal.
    pub hash: String,
}

/// One thing that is chosen.
#[derive(Debug, Clone, PartialEq)]
pub struct Dimension {
    /// What it is.
    pub name: String,
    /// Names of the choices, and what each changes.
    pub choices: Vec<(String, Table)>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    recipe: String,
    dimension: Vec<FileDimension>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileDimension {
    name: String,
    key: Option<String>,
    values: Option<Vec<Value>>,
    choices: Option<Table>,
}

impl Space {
    /// Reads the text of a space.
    ///
    /// # Errors
    /// Text in another form, a dimension with nothing to choose from.
    pub fn parse(text: &str) -> Result<Self, SpaceError> {
        let file: File = toml::from_str(text)
            .map_err(|error| SpaceError::Form(error.to_string().trim().to_owned()))?;
        let dimensions = file
            .dimension
            .into_iter()
            .map(Dimension::read)
            .collect::<Result<Vec<_>, _>>()?;
        let mut hash = blake3::Hasher::new();
        for dimension in &dimensions {
            hash.update(format!("{}\n", dimension.name).as_bytes());
            for (name, change) in &dimension.choices {
                hash.update(format!("{name} {change}\n").as_bytes());
            }
        }
        let space = Self {
            name: file.name,
            recipe: file.recipe,
            dimensions,
            hash: hash.finalize().to_hex().to_string(),
        };
        match space.choices().count() {
            Some(count) if count <= MOST => Ok(space),
            _ => Err(SpaceError::TooLarge),
        }
    }

    /// The sizes of the dimensions.
    pub fn choices(&self) -> Choices {
        let sizes = self.dimensions.iter();
        Choices::new(sizes.map(|dimension| dimension.choices.len()).collect())
    }

    /// Configuration `at` as names: of each dimension, and of what is chosen in it.
    pub fn named(&self, at: usize) -> Vec<(&str, &str)> {
        let chosen = self.choices().of(at);
        let dimensions = self.dimensions.iter().zip(chosen);
        dimensions
            .map(|(dimension, choice)| {
                (
                    dimension.name.as_str(),
                    dimension.choices[choice].0.as_str(),
                )
            })
            .collect()
    }

    /// [`Self::named`] in one line.
    pub fn line(&self, at: usize) -> String {
        let named = self.named(at).into_iter();
        let parts: Vec<String> = named
            .map(|(name, choice)| format!("{name} {choice}"))
            .collect();
        parts.join(", ")
    }

    /// `recipe`, the text of a whole recipe, with the choices of configuration `at`.
    ///
    /// # Errors
    /// Text that is no TOML, which the text of a recipe always is.
    pub fn recipe_at(&self, recipe: &str, at: usize) -> Result<String, SpaceError> {
        let mut table: Table = recipe
            .parse()
            .map_err(|error: toml::de::Error| SpaceError::Form(error.to_string()))?;
        for (dimension, choice) in self.dimensions.iter().zip(self.choices().of(at)) {
            change(&mut table, &dimension.choices[choice].1);
        }
        Ok(table.to_string())
    }
}

impl Dimension {
    fn read(file: FileDimension) -> Result<Self, SpaceError> {
        let choices: Vec<(String, Table)> = match (file.key, file.values, file.choices) {
            (Some(key), Some(values), None) => values
                .into_iter()
                .map(|value| (label(&value), nested(&key, value)))
                .collect(),
            (None, None, Some(choices)) => choices
                .into_iter()
                .map(|(name, change)| match change {
                    Value::Table(change) => Ok((name, change)),
                    other => Err(SpaceError::Dimension {
                        dimension: file.name.clone(),
                        expected: "a table for each choice",
                        found: format!("`{name} = {other}`"),
                    }),
                })
                .collect::<Result<_, _>>()?,
            _ => {
                return Err(SpaceError::Dimension {
                    dimension: file.name,
                    expected: "`key` and `values`, or `choices`",
                    found: "another set of keys".to_owned(),
                });
            }
        };
        if choices.is_empty() {
            return Err(SpaceError::Dimension {
                dimension: file.name,
                expected: "at least one",
                found: "no choice".to_owned(),
            });
        }
        Ok(Self {
            name: file.name,
            choices,
        })
    }
}

/// A value as people write it.
fn label(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

/// `value` in the tables that a dotted `key` names.
fn nested(key: &str, value: Value) -> Table {
    let (first, rest) = match key.split_once('.') {
        Some((first, rest)) => (first, Value::Table(nested(rest, value))),
        None => (key, value),
    };
    Table::from_iter([(first.to_owned(), rest)])
}

/// Changes `recipe` as `by` says: rules are put in front, `rules` goes into every rule that quantizes, other tables
/// are merged.
fn change(recipe: &mut Table, by: &Table) {
    for (key, value) in by {
        match (key.as_str(), value) {
            ("rules", Value::Table(parameters)) => {
                let rules = recipe.get_mut("layers").and_then(Value::as_array_mut);
                let rules = rules.into_iter().flatten().filter_map(Value::as_table_mut);
                for rule in rules {
                    if rule.get("method").and_then(Value::as_str) != Some("keep") {
                        rule.extend(parameters.clone());
                    }
                }
            }
            ("layers", Value::Array(first)) => {
                let rules = recipe
                    .entry("layers")
                    .or_insert_with(|| Value::Array(Vec::new()));
                if let Value::Array(rules) = rules {
                    rules.splice(0..0, first.iter().cloned());
                }
            }
            (_, Value::Table(inner)) => {
                let own = recipe
                    .entry(key.clone())
                    .or_insert_with(|| Value::Table(Table::new()));
                match own {
                    Value::Table(own) => change(own, inner),
                    other => *other = value.clone(),
                }
            }
            _ => {
                recipe.insert(key.clone(), value.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "
name = 'some'
recipe = 'w4'
[[dimension]]
name = 'samples'
key = 'calibration.samples'
values = [8, 32]
[[dimension]]
name = 'clip'
key = 'rules.clip'
values = ['none', 'mse']
[[dimension]]
name = 'kept'
[dimension.choices]
nothing = {}
first = { layers = [{ match = '*.0.*', method = 'keep' }], seed = 3 }
";
    const RECIPE: &str = "seed = 1\n[calibration]\ndata = 'x'\n[[layers]]\nmatch = 'a'\nmethod = 'keep'\n[[layers]]\nmatch = '*'\nmethod = 'rtn'\nclip = 'best'\n";

    #[test]
    fn choices_change_the_recipe_where_they_say() {
        let space = Space::parse(TEXT).unwrap();
        assert_eq!(space.choices().count(), Some(8));
        assert_eq!(space.line(0), "samples 8, clip none, kept nothing");
        assert_eq!(space.line(7), "samples 32, clip mse, kept first");
        let changed: Table = space.recipe_at(RECIPE, 7).unwrap().parse().unwrap();
        assert_eq!(changed["seed"].as_integer(), Some(3));
        assert_eq!(changed["calibration"]["samples"].as_integer(), Some(32));
        assert_eq!(changed["calibration"]["data"].as_str(), Some("x"));
        let rules = changed["layers"].as_array().unwrap();
        assert_eq!(rules.len(), 3);
        assert_eq!(rules[0]["match"].as_str(), Some("*.0.*"));
        assert!(rules[1].get("clip").is_none());
        assert_eq!(rules[2]["clip"].as_str(), Some("mse"));
        let same: Table = space.recipe_at(RECIPE, 0).unwrap().parse().unwrap();
        assert_eq!(same["layers"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn a_space_has_an_identity_and_its_mistakes_are_named() {
        let space = Space::parse(TEXT).unwrap();
        let renamed = Space::parse(&TEXT.replace("'some'", "'other'")).unwrap();
        assert_eq!(space.hash, renamed.hash);
        let other = Space::parse(&TEXT.replace("[8, 32]", "[8, 64]")).unwrap();
        assert_ne!(space.hash, other.hash);
        let failed = |text: &str| Space::parse(text).unwrap_err().to_string();
        assert_eq!(
            failed(&TEXT.replace("values = [8, 32]", "values = []")),
            "dimension `samples` has no choice, expected at least one"
        );
        assert_eq!(
            failed(&TEXT.replace("key = 'rules.clip'\n", "")),
            "dimension `clip` has another set of keys, expected `key` and `values`, or `choices`"
        );
        assert!(failed(&TEXT.replace("recipe =", "recepi =")).contains("recepi"));
    }

    #[test]
    fn spaces_of_the_program_are_spaces() {
        for builtin in BUILTIN_SPACES {
            let space = Space::parse(builtin.text).unwrap();
            assert_eq!(space.name, builtin.name);
            assert_eq!(space.choices().count(), Some(96), "{}", builtin.name);
        }
    }
}
