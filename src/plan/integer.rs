//! Integer-only plans: every linear layer of an encoder, with weights an integer product can take.

use super::facts::patches;
use super::{ModelFacts, PlanError, PlannedLayer};
use crate::recipe::integer::{Activations, Nonlinear};
use crate::recipe::{Integer, Pattern, Recipe, RecipeError, Rule};
use calib::LayerSpec;
use quantizers::graph::Graph;
use quantizers::integer::compile::{Encoder, Input};
use quantizers::nonlinear::Nonlinearity;
use quantizers::statistics::{HESSIAN, INPUT_MEAN_SQUARE};
use quantizers::tensor::SchemeKind;
use quantizers::{Granularity, LayerPlan, Statistic};
use serde::{Deserialize, Serialize};
use std::fmt::Write;

/// How a model becomes an integer program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedInteger {
    /// Approximations of the nonlinear slots.
    pub nonlinear: Nonlinear,
    /// Quantization of what flows between operations.
    pub activations: Activations,
}

/// What weights of layers that no rule names are quantized with: the least that can go wrong.
const UNNAMED: &str =
    "bits = 8\nclip = \"input_mse\"\narithmetic = \"f32\"\nscale_type = \"f32\"\n";
/// Data the program makes by itself.
pub(crate) const SYNTHETIC: &str = "synthetic";
/// What is said where it calibrates.
const MADE_UP: &str =
    "calibrated on made-up data; ranges may be too narrow; name data with `--calib`";
/// The family of functions that no other replaces.
const ALONE: &str = "exact";
/// Statistics of weight quantizers that the integer road can give.
const OFFERED: [&Statistic; 2] = [&INPUT_MEAN_SQUARE, &HESSIAN];

impl PlannedInteger {
    pub(super) fn new(integer: &Integer) -> Self {
        Self {
            nonlinear: integer.nonlinear.clone(),
            activations: integer.activations,
        }
    }

    /// Lines of the plan's header.
    pub(super) fn lines(&self) -> String {
        let Activations {
            bits,
            observer,
            symmetric,
            equalize,
            bias_correction,
            attention_bits,
        } = self.activations;
        let mut text = String::new();
        for (function, families) in [
            ("gelu", &self.nonlinear.gelu),
            ("softmax", &self.nonlinear.softmax),
            ("layernorm", &self.nonlinear.layernorm),
        ] {
            let _ = writeln!(text, "{function:<12} {families}");
        }
        let sign = if symmetric { "symmetric" } else { "asymmetric" };
        let _ = write!(
            text,
            "activations  {bits} bits, {sign}, ranges by {}; attention weights {attention_bits} bits",
            observer.name()
        );
        for (done, name) in [
            (equalize, "equalized"),
            (bias_correction, "biases corrected"),
        ] {
            if done {
                let _ = write!(text, "; {name}");
            }
        }
        text.push('\n');
        text
    }
}

/// The encoder that a recipe wants as an integer program.
///
/// # Errors
/// A model that is none.
pub(super) fn encoder<'m>(
    integer: &Integer,
    model: &'m ModelFacts,
) -> Result<Encoder<'m>, PlanError> {
    Encoder::of(&model.graph).map_err(|source| PlanError::NoGraph {
        line: integer.line,
        source,
    })
}

/// What a reader of an integer-only plan must know besides its lines.
pub(super) fn notes(integer: &Integer, encoder: &Encoder<'_>, data: &str) -> Vec<String> {
    let mut notes = Vec::new();
    if data == SYNTHETIC {
        notes.push(MADE_UP.to_owned());
    }
    let mut activations: Vec<Nonlinearity> = Vec::new();
    for block in &encoder.blocks {
        let found = block.activation.nonlinearity;
        if found != Nonlinearity::Gelu && !activations.contains(&found) {
            activations.push(found);
        }
    }
    let gelu = &integer.nonlinear.gelu;
    if !gelu.names().iter().any(|family| family == ALONE) {
        notes.extend(activations.iter().map(|found| {
            let function = found.name();
            format!(
                "gelu by {gelu} is not used: the model activates with {function}, which `{ALONE}` alone replaces"
            )
        }));
    }
    notes
}

/// Every linear layer of the program, in execution order. The projection of patches is one, though
/// the checkpoint stores it as a convolution.
pub(super) fn layers(graph: &Graph, known: &[LayerSpec]) -> Vec<LayerSpec> {
    let mut layers: Vec<LayerSpec> = patches(graph).into_iter().collect();
    layers.extend(known.iter().cloned());
    layers
}

/// The rule for layers that none of the recipe names.
pub(super) fn unnamed() -> Result<Rule, RecipeError> {
    let pattern = Pattern::parse("*").map_err(|message| RecipeError::Pattern {
        line: 0,
        pattern: "*".to_owned(),
        message,
    })?;
    let parameters = UNNAMED.parse().map_err(|error: toml::de::Error| {
        let message = error.message().to_owned();
        RecipeError::Syntax { line: 0, message }
    })?;
    Ok(Rule {
        pattern,
        line: 0,
        method: Some("rtn".to_owned()),
        parameters,
        lines: Vec::new(),
        overridden: Vec::new(),
    })
}

/// Refuses rules that would keep `layer`, or quantize it in a way no integer product can take.
///
/// # Errors
/// The rule and what is wrong with it.
pub(super) fn check_rule(
    rule: &Rule,
    layer: &LayerSpec,
    planned: Option<&LayerPlan>,
) -> Result<(), PlanError> {
    let refuse = |key: &str, found: String| {
        Err(PlanError::IntegerLayer {
            line: rule.line_of(key),
            layer: layer.name.clone(),
            found,
        })
    };
    let Some(plan) = planned else {
        return refuse("method", "float weights".to_owned());
    };
    let scheme = &plan.scheme;
    if let Some(stat) = plan.needs.iter().find(|stat| !OFFERED.contains(&stat.0)) {
        let method = rule.method.as_deref().unwrap_or_default();
        let found = format!(
            "method `{method}`, which needs the statistic `{}`",
            stat.0.name
        );
        return refuse("method", found);
    }
    match scheme.kind {
        SchemeKind::Uniform => {}
        SchemeKind::Codebook => return refuse("method", "codes of a codebook".to_owned()),
        SchemeKind::Trellis { .. } => return refuse("method", "streams of a trellis".to_owned()),
    }
    if scheme.outliers {
        return refuse("outlier_fraction", "outliers".to_owned());
    }
    if scheme.inputs.is_some() {
        return refuse(
            "activation_bits",
            "a grid of its own for its inputs".to_owned(),
        );
    }
    if !scheme.symmetric {
        return refuse("symmetric", "zero points".to_owned());
    }
    if let Granularity::Group(size) = scheme.granularity {
        return refuse("group_size", format!("a scale per group of {size}"));
    }
    Ok(())
}

/// Predicted bytes of the integer tensors besides the weights of layers: embeddings as 8-bit codes,
/// biases, multipliers and shifts of linear layers, constants of normalisations.
pub(super) fn table_bytes(encoder: &Encoder<'_>) -> u64 {
    // Per output channel: a bias, a multiplier, a shift; twice for layers with two readers.
    const LINEAR: u64 = 4 + 4 + 1;
    // Per channel: factor, shift and offset.
    const NORM: u64 = 8 + 8 + 1;
    let width = encoder.width as u64;
    let embedding = match encoder.input {
        Input::Tokens { node, max_tokens } => {
            let rows = node.tokens.shape[0] + node.positions.as_ref().map_or(0, |_| max_tokens);
            // A code per value, a multiplier per row.
            rows as u64 * (width + 2) + 4 * width
        }
        Input::Patches(node) => 4 * (1 + node.patches()) as u64 * width,
    };
    let linears: u64 = encoder
        .linears()
        .map(|node| LINEAR * node.rows as u64)
        .sum();
    let norms = encoder.norms().count() as u64 * NORM * width;
    embedding + linears + norms
}

/// What an integer-only plan writes besides layers: the only format that can.
pub(super) fn check_format(recipe: &Recipe) -> Result<(), PlanError> {
    let asked = &recipe.output.format;
    let cannot =
        quantizers::formats::find(asked).is_some_and(|format| !format.holds_integer_programs());
    if cannot {
        return Err(PlanError::IntegerFormat {
            format: asked.clone(),
        });
    }
    Ok(())
}

/// What the rule at hand says in the plan for a layer that none names.
pub(super) fn because_unnamed(planned: &mut PlannedLayer) {
    "no rule names it: integer-only models quantize every layer, 8 bits unless named"
        .clone_into(&mut planned.because);
}

#[cfg(test)]
mod tests;
