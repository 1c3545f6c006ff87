//! `[nonlinear]` and `[activations]`: a recipe with either of them makes integer-only programs.

use super::RecipeError;
use super::document::Section;
use quantizers::integer::compile::{Choice, Options, RangeRule};
use quantizers::nearest::nearest;
use quantizers::nonlinear::{APPROXIMATIONS, Nonlinearity, find};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The word that lets every slot choose.
const AUTO: &str = "auto";
/// The family taken where a recipe names none.
const DEFAULT: &str = "exact";

/// What makes a recipe integer-only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Integer {
    /// First line of the table that comes first.
    pub line: usize,
    /// `[nonlinear]`.
    pub nonlinear: Nonlinear,
    /// `[activations]`.
    pub activations: Activations,
}

/// `[nonlinear]`: what replaces each kind of nonlinear function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nonlinear {
    /// GELU slots.
    pub gelu: Families,
    /// Softmax slots.
    pub softmax: Families,
    /// `LayerNorm` slots.
    pub layernorm: Families,
}

/// Families of approximations a kind of slot may take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Families {
    /// This one everywhere.
    Named(String),
    /// Each slot the one of these that loses least on calibration data.
    Auto(Vec<String>),
}

/// `[activations]`: how values between the operations are quantized.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Activations {
    /// Width of the inputs of linear layers, 4 to 8.
    pub bits: u32,
    /// What chooses their ranges.
    pub observer: RangeObserver,
    /// Zero points fixed at 0.
    pub symmetric: bool,
    /// Factors per channel are moved from normalisations into the layers after them.
    pub equalize: bool,
    /// Biases take up the mean rounding error of the weights.
    pub bias_correction: bool,
    /// Width of attention weights, 8 or 15.
    pub attention_bits: u32,
}

/// How a range is chosen from what calibration saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RangeObserver {
    /// Smallest to largest value.
    MinMax,
    /// Moving average of the extremes of batches.
    MovingAverage,
    /// All but the outermost values.
    Percentile,
    /// Least squared error of rounding and clipping.
    Mse,
}

/// Names in recipes.
const OBSERVERS: [(&str, RangeObserver); 4] = [
    ("min_max", RangeObserver::MinMax),
    ("moving_average", RangeObserver::MovingAverage),
    ("percentile", RangeObserver::Percentile),
    ("mse", RangeObserver::Mse),
];

impl RangeObserver {
    /// Name in recipes.
    pub fn name(self) -> &'static str {
        OBSERVERS
            .iter()
            .find(|(_, observer)| *observer == self)
            .map_or("", |(name, _)| name)
    }

    fn rule(self) -> RangeRule {
        match self {
            Self::MinMax => RangeRule::MinMax,
            Self::MovingAverage => RangeRule::MovingAverage,
            Self::Percentile => RangeRule::Percentile,
            Self::Mse => RangeRule::Mse,
        }
    }
}

impl Default for Activations {
    fn default() -> Self {
        Self {
            bits: 8,
            observer: RangeObserver::Mse,
            symmetric: false,
            equalize: true,
            bias_correction: true,
            attention_bits: Options::default().attention_bits,
        }
    }
}

impl fmt::Display for Families {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(family) => f.write_str(family),
            Self::Auto(families) => write!(f, "{AUTO} ({})", families.join(", ")),
        }
    }
}

impl Families {
    /// Names of those allowed.
    pub(crate) fn names(&self) -> &[String] {
        match self {
            Self::Named(family) => std::slice::from_ref(family),
            Self::Auto(families) => families,
        }
    }

    fn choice(&self) -> Choice {
        match self {
            Self::Named(family) => Choice::Named(family.clone()),
            Self::Auto(families) => Choice::Auto(families.clone()),
        }
    }
}

/// The options of the compile step; pooling is set by the model.
pub fn options(nonlinear: &Nonlinear, activations: &Activations) -> Options {
    Options {
        gelu: nonlinear.gelu.choice(),
        softmax: nonlinear.softmax.choice(),
        layernorm: nonlinear.layernorm.choice(),
        activation_bits: activations.bits,
        range: activations.observer.rule(),
        asymmetric: !activations.symmetric,
        equalize: activations.equalize,
        bias_correction: activations.bias_correction,
        attention_bits: activations.attention_bits,
        pooling: None,
    }
}

impl Integer {
    /// Reads both tables; `None` if the recipe has neither.
    pub(super) fn read(
        nonlinear: Option<Section>,
        activations: Option<Section>,
    ) -> Result<Option<Self>, RecipeError> {
        let lines = [&nonlinear, &activations].map(|table| table.as_ref().map(Section::line));
        let Some(line) = lines.into_iter().flatten().min() else {
            return Ok(None);
        };
        Ok(Some(Self {
            line,
            nonlinear: read_nonlinear(nonlinear)?,
            activations: read_activations(activations)?,
        }))
    }
}

fn read_nonlinear(section: Option<Section>) -> Result<Nonlinear, RecipeError> {
    let default = || Families::Named(DEFAULT.to_owned());
    let Some(mut section) = section else {
        return Ok(Nonlinear {
            gelu: default(),
            softmax: default(),
            layernorm: default(),
        });
    };
    let gelu = families(&mut section, Nonlinearity::Gelu)?;
    let softmax = families(&mut section, Nonlinearity::Softmax)?;
    let layernorm = families(&mut section, Nonlinearity::LayerNorm)?;
    section.finish()?;
    Ok(Nonlinear {
        gelu: gelu.unwrap_or_else(default),
        softmax: softmax.unwrap_or_else(default),
        layernorm: layernorm.unwrap_or_else(default),
    })
}

/// The value of one key: a family, `auto`, or the families `auto` may choose from.
fn families(
    section: &mut Section,
    function: Nonlinearity,
) -> Result<Option<Families>, RecipeError> {
    let key = function.name();
    let line = section.line_of(key);
    let expected = "the name of an approximation, `\"auto\"`, or an array of different names";
    let typed = section.take(key, expected, |value| match value {
        toml::Value::String(name) => Some((vec![name.clone()], false)),
        toml::Value::Array(items) => {
            let names: Vec<String> = items
                .iter()
                .map(|item| item.as_str().map(str::to_owned))
                .collect::<Option<_>>()?;
            let once = names
                .iter()
                .enumerate()
                .all(|(at, name)| !names[..at].contains(name));
            (once && !names.is_empty()).then_some((names, true))
        }
        _ => None,
    })?;
    let Some((typed, listed)) = typed else {
        return Ok(None);
    };
    if !listed && typed[0] == AUTO {
        return Ok(Some(Families::Auto(default_families(function))));
    }
    for name in &typed {
        check(name, function, line)?;
    }
    Ok(Some(match <[String; 1]>::try_from(typed) {
        Ok([name]) => Families::Named(name),
        Err(several) => Families::Auto(several),
    }))
}

/// Families with an approximation of `function`, in the order of the registry.
pub(super) fn default_families(function: Nonlinearity) -> Vec<String> {
    APPROXIMATIONS
        .iter()
        .filter(|entry| entry.replaces() == function)
        .map(|entry| entry.name().to_owned())
        .collect()
}

fn check(name: &str, function: Nonlinearity, line: usize) -> Result<(), RecipeError> {
    if find(function, name).is_some() {
        return Ok(());
    }
    let known = default_families(function);
    if APPROXIMATIONS.iter().any(|entry| entry.name() == name) {
        return Err(RecipeError::NoApproximation {
            line,
            family: name.to_owned(),
            function: function.name(),
            known,
        });
    }
    let names = known.iter().map(String::as_str).chain([AUTO]);
    Err(RecipeError::UnknownName {
        line,
        what: "approximation",
        name: name.to_owned(),
        nearest: nearest(name, names),
    })
}

fn read_activations(section: Option<Section>) -> Result<Activations, RecipeError> {
    let mut read = Activations::default();
    let Some(mut section) = section else {
        return Ok(read);
    };
    let whole = |value: &toml::Value| value.as_integer().and_then(|n| u32::try_from(n).ok());
    let bits = section.take("bits", "a whole number from 4 to 8", |value| {
        whole(value).filter(|bits| (4..=8).contains(bits))
    })?;
    let observer = section.take("observer", &observers(), |value| {
        let name = value.as_str()?;
        let known = OBSERVERS.iter().find(|(known, _)| *known == name);
        known.map(|(_, observer)| *observer)
    })?;
    let attention_bits = section.take("attention_bits", "`8` or `15`", |value| {
        whole(value).filter(|bits| [8, 15].contains(bits))
    })?;
    let (symmetric, equalize) = (
        section.take_flag("symmetric")?,
        section.take_flag("equalize")?,
    );
    read.symmetric = symmetric.unwrap_or(read.symmetric);
    read.equalize = equalize.unwrap_or(read.equalize);
    let correction = section.take_flag("bias_correction")?;
    read.bias_correction = correction.unwrap_or(read.bias_correction);
    read.bits = bits.unwrap_or(read.bits);
    read.observer = observer.unwrap_or(read.observer);
    read.attention_bits = attention_bits.unwrap_or(read.attention_bits);
    section.finish()?;
    Ok(read)
}

/// The observers for messages.
fn observers() -> String {
    let quoted = OBSERVERS.map(|(name, _)| format!("`\"{name}\"`"));
    format!("one of {}", quoted.join(", "))
}

#[cfg(test)]
mod tests;
