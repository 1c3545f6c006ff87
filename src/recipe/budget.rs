//! `[budget]`: what the layers may take together, and the options that are chosen from.

use super::document::Section;
use super::rule::AUTO;
use super::{KEEP, Pattern, Recipe, RecipeError, Rule, resolve_data};
use quantizers::METHODS;
use quantizers::nearest::nearest;
use quantizers::sensitivity::{SENSITIVITIES, Sensitivity};
use serde::{Deserialize, Serialize};
use std::ops::RangeInclusive;
use std::path::Path;

/// Widths that rules with `bits = "auto"` choose from where nobody named any, as far as their method has them.
const WIDTHS: RangeInclusive<u8> = 2..=8;
/// What a width can be; methods have fewer.
const ANY_WIDTH: RangeInclusive<u8> = 1..=16;

/// `[budget]`.
#[derive(Debug, Clone)]
pub struct Budget {
    /// First line of the table; 0 for the command line.
    pub line: usize,
    /// Stored bits over weights; absent where the command line or nobody says it.
    pub bits_per_weight: Option<f64>,
    /// What is counted.
    pub scope: Scope,
    /// Widths to choose from; absent for all from 2 to 8 that the method has.
    pub choices: Option<Vec<u8>>,
    /// Which layers take the same option.
    pub tie: Tie,
    /// Which scores are added up.
    pub sensitivity: &'static Sensitivity,
    /// A file of scores that were measured before.
    pub measured: Option<String>,
    /// Further options.
    pub options: Vec<Rule>,
}

/// What a budget counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// All bits stored for the quantized linear layers, over their weights.
    #[default]
    Layers,
    /// All tensors of the result, with token table, head and normalisations, over all parameters.
    File,
}

impl Scope {
    /// What it counts, in words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Layers => "the quantized layers",
            Self::File => "the whole file",
        }
    }
}

/// Which layers take the same option.
#[derive(Debug, Clone, Default)]
pub enum Tie {
    /// Those of a block that read the same input: q, k and v; gate and up.
    #[default]
    Graph,
    /// Each its own.
    Nothing,
    /// Layers of a block whose names match the same pattern.
    Patterns(Vec<Pattern>),
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            line: 0,
            bits_per_weight: None,
            scope: Scope::default(),
            choices: None,
            tie: Tie::default(),
            sensitivity: &SENSITIVITIES[0],
            measured: None,
            options: Vec::new(),
        }
    }
}

impl Budget {
    /// Reads the table; `folder` is what paths are relative to.
    pub(super) fn read(mut section: Section, folder: Option<&Path>) -> Result<Self, RecipeError> {
        let line = section.line();
        let bits_per_weight = section.take(
            "bits_per_weight",
            "a number above 0 and at most 32",
            |value| {
                let number = value.as_float();
                let number = number.or_else(|| value.as_integer().map(|whole| whole as f64));
                number.filter(|&bits| is_budget(bits))
            },
        )?;
        let scope = section.take("scope", "`\"layers\"` or `\"file\"`", |value| {
            match value.as_str()? {
                "layers" => Some(Scope::Layers),
                "file" => Some(Scope::File),
                _ => None,
            }
        })?;
        let choices = section.take("choices", "an array of whole numbers from 1 to 16", widths)?;
        let tie = section.take(
            "tie",
            "`true`, `false` or an array of patterns such as `[\"*.{q,k,v}_proj\"]`",
            tie,
        )?;
        let sensitivity_line = section.line_of("sensitivity");
        let sensitivity = match section.take_string("sensitivity")? {
            Some(name) => find(&name, sensitivity_line)?,
            None => &SENSITIVITIES[0],
        };
        let measured = section.take_string("measured")?;
        let options = section.take_tables("option")?.into_iter();
        let options = options.map(option).collect::<Result<_, _>>()?;
        section.finish()?;
        Ok(Self {
            line,
            bits_per_weight,
            scope: scope.unwrap_or_default(),
            choices,
            tie: tie.unwrap_or_default(),
            sensitivity,
            measured: measured.map(|file| resolve_data(&file, folder)),
            options,
        })
    }
}

/// Whether a number can be bits per weight.
pub fn is_budget(bits: f64) -> bool {
    bits > 0.0 && bits <= 32.0
}

/// The kind of scores called `name`.
fn find(name: &str, line: usize) -> Result<&'static Sensitivity, RecipeError> {
    Sensitivity::find(name).ok_or_else(|| RecipeError::UnknownName {
        line,
        what: "sensitivity",
        name: name.to_owned(),
        nearest: nearest(name, SENSITIVITIES.iter().map(|known| known.name)),
    })
}

fn widths(value: &toml::Value) -> Option<Vec<u8>> {
    let widths = value.as_array()?.iter().map(|width| {
        let width = width.as_integer()?;
        let width = u8::try_from(width).ok()?;
        ANY_WIDTH.contains(&width).then_some(width)
    });
    let widths: Option<Vec<u8>> = widths.collect();
    widths.filter(|widths| !widths.is_empty())
}

fn tie(value: &toml::Value) -> Option<Tie> {
    match value {
        toml::Value::Boolean(true) => Some(Tie::Graph),
        toml::Value::Boolean(false) => Some(Tie::Nothing),
        toml::Value::Array(patterns) => {
            let patterns = patterns
                .iter()
                .map(|pattern| Pattern::parse(pattern.as_str()?).ok());
            Some(Tie::Patterns(patterns.collect::<Option<_>>()?))
        }
        _ => None,
    }
}

/// An option for every layer the budget decides, unless `match` names some of them.
fn option(section: Section) -> Result<Rule, RecipeError> {
    let option = Rule::read(section, Some("*"))?;
    if option.method.is_none() || option.leaves_method() {
        let found = option.method.as_deref().unwrap_or(KEEP);
        return Err(RecipeError::BadValue {
            line: option.line_of("method"),
            section: "`[[budget.option]]`".to_owned(),
            key: "method".to_owned(),
            expected: "the name of a method that quantizes".to_owned(),
            found: format!("`\"{found}\"`"),
        });
    }
    option.quantizer()?;
    Ok(option)
}

impl Recipe {
    /// Whether the budget decides anything.
    pub fn is_open(&self) -> bool {
        self.rules.iter().any(Rule::is_open)
    }

    /// What the layers of an open `rule` choose from: its widths, then the options of the budget.
    ///
    /// # Errors
    /// A width the method does not have, or nothing to choose from.
    pub fn options_of(&self, rule: &Rule) -> Result<Vec<Rule>, RecipeError> {
        let without = Budget::default();
        let budget = self.budget.as_ref().unwrap_or(&without);
        let mut options = Vec::new();
        if !rule.leaves_method() {
            let widths = budget.choices.clone();
            for width in widths.unwrap_or_else(|| WIDTHS.collect()) {
                let mut option = rule.clone();
                let width = toml::Value::Integer(width.into());
                option.parameters.insert("bits".to_owned(), width);
                match option.quantizer() {
                    Ok(_) => options.push(option),
                    // A width that the method does not have is none to choose, unless somebody asked for it.
                    Err(error) if budget.choices.is_some() || !is_of_bits(&error) => {
                        return Err(error);
                    }
                    Err(_) => {}
                }
            }
        }
        // A rule says of which layers it is; the pattern `*` of an option means all of those.
        options.extend(budget.options.iter().map(|option| Rule {
            line: rule.line,
            overridden: rule.overridden.clone(),
            ..option.clone()
        }));
        if options.is_empty() {
            return Err(RecipeError::NoOption {
                line: rule.line_of("method"),
            });
        }
        Ok(options)
    }

    /// Everything that the scores of its options depend on, as text: what says whether scores that were measured
    /// before are those of this recipe.
    pub(crate) fn options_text(&self) -> String {
        let mut recipe = self.clone();
        recipe.name = String::new();
        recipe.evaluations.clear();
        recipe.gates.clear();
        recipe.report = super::ReportOptions::default();
        recipe.calibration.keep_statistics = false;
        recipe.output.shard_bytes = 0;
        recipe.budget = recipe.budget.map(|budget| Budget {
            bits_per_weight: None,
            scope: Scope::default(),
            tie: Tie::default(),
            measured: None,
            ..budget
        });
        recipe.to_toml()
    }

    /// Leaves the width of every rule to the budget.
    ///
    /// # Errors
    /// A method without a width.
    pub(super) fn open(&mut self) -> Result<(), RecipeError> {
        for rule in &mut self.rules {
            let Some(name) = &rule.method else {
                continue;
            };
            let known = METHODS.iter().find(|method| method.name() == name);
            let has_bits = |keys: &[(&str, &str)]| keys.iter().any(|(key, _)| *key == "bits");
            if known.is_some_and(|method| !has_bits(method.parameters())) {
                return Err(RecipeError::NoWidth {
                    line: rule.line_of("method"),
                    method: name.clone(),
                });
            }
            rule.parameters.insert("bits".to_owned(), AUTO.into());
        }
        Ok(())
    }

    /// Checks the parameters of every rule and of every option it leaves open.
    ///
    /// # Errors
    /// The first that cannot be.
    pub(super) fn check_rules(&self) -> Result<(), RecipeError> {
        for rule in &self.rules {
            if rule.is_open() {
                self.options_of(rule)?;
            } else {
                rule.quantizer()?;
            }
        }
        Ok(())
    }
}

fn is_of_bits(error: &RecipeError) -> bool {
    matches!(error, RecipeError::Parameter { error, .. } if error.key() == "bits")
}

#[cfg(test)]
mod tests;
