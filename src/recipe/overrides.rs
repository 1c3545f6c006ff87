//! What the command line changes in a recipe, and the recipe it makes where there is none.

use super::parse::sha256;
use super::{Origin, Recipe, RecipeError, Rule};
use eval::gate::Gate;
use quantizers::METHODS;
use quantizers::sensitivity::Sensitivity;

/// Words of the command line that change a recipe.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// `--bits`: in every rule.
    pub bits: Option<u8>,
    /// `--method`: in every rule; parameters it does not know are dropped, visibly.
    pub method: Option<String>,
    /// `--budget`: bits per weight; a recipe that leaves no rule open leaves the width of all of them open.
    pub budget: Option<f64>,
    /// `--measured`: a file of scores.
    pub measured: Option<String>,
    /// `--sensitivity`: which scores the budget adds up.
    pub sensitivity: Option<&'static Sensitivity>,
    /// The options of the budget are measured, however many bits it will have.
    pub measures: bool,
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
        let mut changes = Vec::new();
        if let Some(method) = &overrides.method {
            let rules = self.rules.iter_mut().filter(|rule| rule.method.is_some());
            let mut changed = false;
            for rule in rules {
                changed |= rule.method.as_ref() != Some(method);
                replace_method(rule, method);
            }
            changes.extend(changed.then(|| method.clone()));
        }
        if let Some(bits) = overrides.bits {
            if self.rules.iter().any(Rule::leaves_method) {
                return Err(RecipeError::BadValue {
                    line: 0,
                    section: "a recipe with `method = \"auto\"`".to_owned(),
                    key: "bits".to_owned(),
                    expected: "`--budget`".to_owned(),
                    found: format!("`--bits {bits}`"),
                });
            }
            let rules = self.rules.iter_mut().filter(|rule| rule.method.is_some());
            let mut changed = false;
            for rule in rules {
                changed |= replace_bits(rule, bits);
            }
            changes.extend(changed.then(|| format!("bits{bits}")));
        }
        changes.extend(self.budget_with(overrides)?);
        if let Some(format) = &overrides.format {
            super::parse::check_format(format, 0)?;
            let changed = replace(&mut self.output.format, format.clone());
            changes.extend(changed.then(|| format.clone()));
        }
        let calibration = &mut self.calibration;
        calibration.keep_statistics |= overrides.keep_statistics;
        if let Some(source) = &overrides.calibration_data {
            let changed = replace(&mut calibration.data, source.clone());
            changes.extend(changed.then(|| format!("calib-{}", short(source))));
        }
        if let Some(count) = overrides.samples {
            let changed = replace(&mut calibration.samples, count);
            changes.extend(changed.then(|| format!("samples{count}")));
        }
        if let Some(length) = overrides.sequence_length {
            let changed = replace(&mut calibration.sequence_length, Some(length));
            changes.extend(changed.then(|| format!("length{length}")));
        }
        if let Some(seed) = overrides.seed {
            let changed = replace(&mut self.seed, seed);
            changes.extend(changed.then(|| format!("seed{seed}")));
        }
        // What does something else has another name: two of them must not meet in one folder.
        for change in changes {
            self.name = format!("{}-{change}", self.name);
        }
        self.eval_data.clone_from(&overrides.eval_data);
        if overrides.no_evaluation {
            self.evaluate = false;
            self.gates.clear();
        }
        self.gates.extend(overrides.gates.iter().cloned());
        self.check_rules()?;
        Ok(self.hashed())
    }

    /// Puts what the command line says of the budget in its place; the change in the recipe's name.
    fn budget_with(&mut self, overrides: &Overrides) -> Result<Option<String>, RecipeError> {
        let mut change = None;
        let is_wanted = overrides.budget.is_some() || overrides.measures;
        if is_wanted && !self.is_open() {
            self.open()?;
            if let Some(bits) = overrides.budget {
                for rule in self.rules.iter_mut().filter(|rule| rule.method.is_some()) {
                    rule.overridden
                        .push(format!("bits left to --budget {bits}"));
                }
            }
        }
        if is_wanted || self.budget.is_some() {
            let budget = self.budget.get_or_insert_default();
            if let Some(bits) = overrides.budget {
                let changed = replace(&mut budget.bits_per_weight, Some(bits));
                change = changed.then(|| format!("budget{bits}"));
            }
            if let Some(file) = &overrides.measured {
                budget.measured = Some(file.clone());
            }
            if let Some(sensitivity) = overrides.sensitivity {
                budget.sensitivity = sensitivity;
            }
        }
        let open = self.rules.iter().find(|rule| rule.is_open());
        match (&self.budget, open) {
            (None, Some(rule)) => Err(RecipeError::NoBudget { line: rule.line }),
            // What was said of a budget is about nothing.
            (None, None) if overrides.measured.is_some() || overrides.sensitivity.is_some() => {
                Err(RecipeError::NothingOpen { line: 0 })
            }
            (Some(budget), None) => Err(RecipeError::NothingOpen { line: budget.line }),
            (Some(budget), Some(_)) if budget.bits_per_weight.is_none() && !overrides.measures => {
                Err(RecipeError::MissingKey {
                    line: budget.line,
                    section: "`[budget]`".to_owned(),
                    key: "bits_per_weight",
                })
            }
            _ => Ok(change),
        }
    }

    /// SHA-256 of a text, as [`Recipe::sha256`] holds it.
    pub fn hash(text: &str) -> String {
        sha256(text)
    }
}

/// Puts `new` in the place of `old`; whether that is a change.
fn replace<T: PartialEq>(old: &mut T, new: T) -> bool {
    let changed = *old != new;
    *old = new;
    changed
}

/// Puts the width into a rule; whether that is a change.
fn replace_bits(rule: &mut Rule, bits: u8) -> bool {
    let wanted = toml::Value::Integer(bits.into());
    let before = rule.parameters.insert("bits".to_owned(), wanted.clone());
    rule.overridden.push(format!("bits = {bits} from --bits"));
    rule.lines.retain(|(key, _)| key != "bits");
    rule.lines.push(("bits".to_owned(), 0));
    before.as_ref() != Some(&wanted)
}

/// The name of a file without ending, as part of a folder's name.
fn short(data: &str) -> String {
    const LONGEST: usize = 24;
    let path = data.split('#').next().unwrap_or_default();
    let name = path.rsplit(['/', '\\', ':']).next().unwrap_or_default();
    let stem = name.split('.').find(|part| !part.is_empty());
    stem.unwrap_or("data")
        .chars()
        .map(|c| {
            if c.is_alphanumeric() || c == '_' {
                c
            } else {
                '-'
            }
        })
        .take(LONGEST)
        .collect()
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
