//! A recipe as a file would hold it, after everything the command line changed: what an artifact keeps and what
//! is hashed.

use super::integer::{Activations, Families, Nonlinear, default_families};
use super::parse::sha256;
use super::{Budget, KEEP, Recipe, Rule, Scope, Tie};
use calib::data::DataSpec;
use calib::running::expert_calibration::{ExpertCalibration, ExpertTokens};
use calib::sampling::{Selection, Template, TextMode};
use eval::gate::Gate;
use quantizers::nonlinear::Nonlinearity;
use std::fmt::Write as _;
use std::path::Path;
use toml::{Table, Value};

/// Name of the file in an artifact.
pub const RECIPE_FILE: &str = "recipe.toml";

impl Recipe {
    /// The whole recipe as TOML. Reading it gives the same recipe again, from any folder: paths are absolute.
    /// Gates with a bound on the unusual side, which only the command line can name, are comments.
    pub fn to_toml(&self) -> String {
        let mut root = Table::new();
        root.insert("name".to_owned(), self.name.clone().into());
        root.insert("seed".to_owned(), whole(self.seed));
        root.insert("calibration".to_owned(), self.calibration_table().into());
        let mut tables = |key: &str, tables: Vec<Table>| {
            if !tables.is_empty() {
                let tables = tables.into_iter().map(Value::Table).collect();
                root.insert(key.to_owned(), Value::Array(tables));
            }
        };
        tables("transform", self.transform_tables());
        tables("layers", self.rules.iter().map(rule_table).collect());
        tables("evaluate", self.evaluate_tables());
        for way in self.cache.iter().chain(&self.attention) {
            root.insert(way.kind.name().to_owned(), way_table(way).into());
        }
        if let Some(budget) = &self.budget {
            root.insert("budget".to_owned(), budget_table(budget).into());
        }
        if let Some(integer) = &self.integer {
            root.insert("nonlinear".to_owned(), nonlinear(&integer.nonlinear).into());
            let activations = activations(&integer.activations);
            root.insert("activations".to_owned(), activations.into());
        }
        let mut output = Table::new();
        output.insert("format".to_owned(), self.output.format.clone().into());
        let bytes = self.output.shard_bytes.to_string();
        output.insert("shard_size".to_owned(), bytes.into());
        root.insert("output".to_owned(), output.into());
        if let Some(measured) = self.report.output_sqnr {
            let mut report = Table::new();
            report.insert("output_sqnr".to_owned(), measured.into());
            root.insert("report".to_owned(), report.into());
        }
        let (gates, others): (Vec<&Gate>, Vec<&Gate>) = self
            .gates
            .iter()
            .partition(|gate| Gate::new(gate.figure(), gate.bound()).as_ref() == Ok(*gate));
        if !gates.is_empty() {
            let gates = gates
                .iter()
                .map(|gate| (gate.figure().to_owned(), gate.bound().into()));
            root.insert("gate".to_owned(), Value::Table(gates.collect()));
        }
        let mut text = root.to_string();
        // A bound on the unusual side has no place in `[gate]`.
        for gate in others {
            let _ = writeln!(text, "# --gate \"{gate}\"");
        }
        text
    }

    /// The same recipe with the hash of [`Self::to_toml`].
    #[must_use]
    pub(crate) fn hashed(mut self) -> Self {
        self.sha256 = sha256(&self.to_toml());
        self
    }

    fn calibration_table(&self) -> Table {
        let calibration = &self.calibration;
        let mut table = Table::new();
        let mut put = |key: &str, value: Value| table.insert(key.to_owned(), value);
        put("data", absolute(&calibration.data).into());
        put("samples", whole(calibration.samples as u64));
        if let Some(length) = calibration.sequence_length {
            put("sequence_length", whole(length as u64));
        }
        let selection = match calibration.selection {
            Selection::First => "first",
            Selection::Random => "random",
        };
        put("selection", selection.into());
        let template = match calibration.template {
            Template::Chat => "chat",
            Template::None => "none",
        };
        put("template", template.into());
        match &calibration.mode {
            TextMode::Documents { separator } => {
                put("mode", "documents".into());
                put("separator", separator.clone().into());
            }
            TextMode::Windows { stride } => {
                put("mode", "windows".into());
                if let Some(stride) = stride {
                    put("stride", whole(*stride as u64));
                }
            }
        }
        put("keep_statistics", calibration.keep_statistics.into());
        put("experts", experts_table(calibration.experts).into());
        table
    }

    fn transform_tables(&self) -> Vec<Table> {
        let with_method = |transform: &super::TransformRule| {
            let mut table = Table::new();
            table.insert("method".to_owned(), transform.method.clone().into());
            table.extend(transform.parameters.clone());
            table
        };
        self.transforms.iter().map(with_method).collect()
    }

    fn evaluate_tables(&self) -> Vec<Table> {
        let of_task = |evaluation: &super::Evaluation| {
            let spec = &evaluation.spec;
            let mut table = Table::new();
            table.insert("task".to_owned(), spec.task.clone().into());
            table.insert("data".to_owned(), absolute(&spec.data).into());
            if let Some(limit) = spec.limit {
                table.insert("limit".to_owned(), whole(limit as u64));
            }
            table.extend(spec.parameters.clone());
            table
        };
        self.evaluations.iter().map(of_task).collect()
    }
}

fn way_table(way: &super::WayRule) -> Table {
    let mut table = Table::new();
    table.insert("method".to_owned(), way.method.clone().into());
    if !way.kept.is_empty() {
        let kept = way.kept.iter().map(|block| whole(*block as u64));
        table.insert("skip_layers".to_owned(), Value::Array(kept.collect()));
    }
    if let Some(budget) = &way.budget {
        table.insert("bits_per_value".to_owned(), budget.bits_per_value.into());
        table.insert("measured".to_owned(), absolute(&budget.measured).into());
    }
    table.extend(way.parameters.clone());
    table
}

fn rule_table(rule: &Rule) -> Table {
    let mut table = Table::new();
    table.insert("match".to_owned(), rule.pattern.text().into());
    let method = rule.method.as_deref().unwrap_or(KEEP);
    table.insert("method".to_owned(), method.into());
    table.extend(rule.parameters.clone());
    table
}

fn budget_table(budget: &Budget) -> Table {
    let mut table = Table::new();
    let mut put = |key: &str, value: Value| table.insert(key.to_owned(), value);
    if let Some(bits) = budget.bits_per_weight {
        put("bits_per_weight", bits.into());
    }
    let scope = match budget.scope {
        Scope::Layers => "layers",
        Scope::File => "file",
    };
    put("scope", scope.into());
    if let Some(choices) = &budget.choices {
        let choices = choices.iter().map(|&width| Value::from(i64::from(width)));
        put("choices", Value::Array(choices.collect()));
    }
    let tie = match &budget.tie {
        Tie::Graph => true.into(),
        Tie::Nothing => false.into(),
        Tie::Patterns(patterns) => {
            let patterns = patterns.iter().map(|pattern| Value::from(pattern.text()));
            Value::Array(patterns.collect())
        }
    };
    put("tie", tie);
    put("sensitivity", budget.sensitivity.name.into());
    if let Some(file) = &budget.measured {
        put("measured", absolute(file).into());
    }
    if !budget.options.is_empty() {
        let options = budget
            .options
            .iter()
            .map(|option| rule_table(option).into());
        put("option", Value::Array(options.collect()));
    }
    table
}

fn experts_table(experts: ExpertCalibration) -> Table {
    let mut table = Table::new();
    table.insert("min_tokens".to_owned(), whole(experts.min_tokens as u64));
    let too_few = match experts.tokens {
        ExpertTokens::Routed => Some("data-free"),
        ExpertTokens::AllWhereFew => Some("all-tokens"),
        ExpertTokens::All => None,
    };
    table.insert("memory".to_owned(), experts.memory_bytes.to_string().into());
    match too_few {
        Some(tokens) => table.insert("too_few".to_owned(), tokens.into()),
        None => table.insert("calibrate_all_experts".to_owned(), true.into()),
    };
    table
}

fn nonlinear(wanted: &Nonlinear) -> Table {
    let slots = [
        (Nonlinearity::Gelu, &wanted.gelu),
        (Nonlinearity::Softmax, &wanted.softmax),
        (Nonlinearity::LayerNorm, &wanted.layernorm),
    ];
    slots
        .into_iter()
        .map(|(function, families)| {
            let value = match families {
                Families::Named(family) => family.clone().into(),
                Families::Auto(all) if *all == default_families(function) => "auto".into(),
                Families::Auto(some) => Value::from(some.clone()),
            };
            (function.name().to_owned(), value)
        })
        .collect()
}

fn activations(wanted: &Activations) -> Table {
    let pairs: [(&str, Value); 6] = [
        ("bits", wanted.bits.into()),
        ("observer", wanted.observer.name().into()),
        ("symmetric", wanted.symmetric.into()),
        ("equalize", wanted.equalize.into()),
        ("bias_correction", wanted.bias_correction.into()),
        ("attention_bits", wanted.attention_bits.into()),
    ];
    pairs
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
}

/// TOML numbers are signed; a count beyond that is none a recipe could have named.
fn whole(count: u64) -> Value {
    Value::Integer(i64::try_from(count).unwrap_or(i64::MAX))
}

/// A data string whose path does not depend on the working directory.
fn absolute(text: &str) -> String {
    let is_path = matches!(
        DataSpec::parse(text, Path::new("")),
        Ok(DataSpec::Path { .. })
    );
    match std::path::absolute(text) {
        Ok(path) if is_path => path.to_string_lossy().into_owned(),
        _ => text.to_owned(),
    }
}
