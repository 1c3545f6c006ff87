//! What the command line changes in a recipe, and the recipe it makes where there is none.

use super::parse::sha256;
use super::{Calibration, Origin, Recipe, RecipeError, Rule};
use eval::gate::Gate;
use quantizers::METHODS;

/// Words of the command line that change a recipe.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// `--bits`: in every rule.
    pub bits: Option<u8>,
    /// `--method`: in every rule; parameters it does not know are dropped, visibly.
    pub method: Option<String>,
    /// `--calib`.
    pub calibration_data: Option<String>,
    /// `--samples`.
    pub samples: Option<usize>,
    /// `--sequence-length`.
    pub sequence_length: Option<usize>,
    /// `--seed`.
    pub seed: Option<u64>,
    /// `--keep-statistics`; a recipe that keeps them keeps them without it.
    pub keep_statistics: bool,
    /// `--format`.
    pub format: Option<String>,
    /// `--no-eval`: nothing is evaluated, and no gate checked.
    pub no_evaluation: bool,
    /// `--eval-data`, instead of the recipe's evaluations.
    pub eval_data: Option<String>,
    /// `--gate`, added to those of the recipe.
    pub gates: Vec<Gate>,
}

impl Recipe {
    /// A recipe of one rule for every linear layer inside blocks.
    ///
    /// # Errors
    /// An unknown method.
    pub fn of_method(method: &str, bits: u8) -> Result<Self, RecipeError> {
        let text = format!("[[layers]]\nmatch = \"*\"\nmethod = {method:?}\nbits = {bits}\n");
        let mut recipe = Self::parse(&text, Origin::CommandLine, None)?;
        recipe.name = format!("{method}-{bits}");
        for rule in &mut recipe.rules {
            rule.line = 0;
        }
        Ok(recipe)
    }

    /// The recipe as the command line changes it, for quantizing.
    ///
    /// # Errors
    /// A recipe that only evaluates, a method or format that does not exist, or a parameter that no longer suits its method.
    pub fn with(mut self, overrides: &Overrides) -> Result<Self, RecipeError> {
        // Integer-only models quantize every layer, rules or not.
        if self.rules.is_empty() && self.integer.is_none() {
            return Err(RecipeError::NoRules);
        }
        if let Some(method) = &overrides.method {
            for rule in self.rules.iter_mut().filter(|rule| rule.method.is_some()) {
                replace_method(rule, method);
            }
        }
        if let Some(bits) = overrides.bits {
            for rule in self.rules.iter_mut().filter(|rule| rule.method.is_some()) {
                rule.parameters
                    .insert("bits".to_owned(), toml::Value::Integer(bits.into()));
                rule.overridden.push(format!("bits = {bits} from --bits"));
                rule.lines.retain(|(key, _)| key != "bits");
                rule.lines.push(("bits".to_owned(), 0));
            }
        }
        if let Some(format) = &overrides.format {
            super::parse::check_format(format, 0)?;
            self.output.format.clone_from(format);
        }
        let Calibration {
            data,
            samples,
            sequence_length,
            keep_statistics,
            ..
        } = &mut self.calibration;
        *keep_statistics |= overrides.keep_statistics;
        if let Some(source) = &overrides.calibration_data {
            data.clone_from(source);
        }
        if let Some(count) = overrides.samples {
            *samples = count;
        }
        if let Some(length) = overrides.sequence_length {
            *sequence_length = Some(length);
        }
        if let Some(seed) = overrides.seed {
            self.seed = seed;
        }
        self.eval_data.clone_from(&overrides.eval_data);
        if overrides.no_evaluation {
            self.evaluate = false;
            self.gates.clear();
        }
        self.gates.extend(overrides.gates.iter().cloned());
        for rule in &self.rules {
            rule.quantizer()?;
        }
        Ok(self)
    }

    /// SHA-256 of a text, as [`Recipe::sha256`] holds it.
    pub fn hash(text: &str) -> String {
        sha256(text)
    }
}

/// Puts `method` into a rule and drops the parameters it does not have.
fn replace_method(rule: &mut Rule, method: &str) {
    if rule.method.as_deref() == Some(method) {
        return;
    }
    rule.method = Some(method.to_owned());
    rule.overridden
        .push(format!("method = `{method}` from --method"));
    let Some(known) = METHODS.iter().find(|known| known.name() == method) else {
        return;
    };
    let dropped: Vec<String> = rule
        .parameters
        .keys()
        .filter(|key| known.parameters().iter().all(|(name, _)| name != key))
        .cloned()
        .collect();
    for key in dropped {
        rule.parameters.remove(&key);
        rule.overridden
            .push(format!("`{key}` dropped, `{method}` has no such parameter"));
    }
}
