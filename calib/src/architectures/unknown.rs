//! Models of no known family: their matrices can be quantized, and nothing can be run.

use super::StageSpec;
use super::composite::language_prefix;
use super::staged::StagedModel;
use crate::layers::Loader;
use crate::{Model, ModelOutput, Stage, StageError, WeightSource};
use quantizers::graph::{Inventory, LinearNode, StageNode, TensorSpec};
use std::collections::BTreeMap;

/// Words in the name of a module that is no linear layer between blocks: tables, heads, norms, and what
/// chooses experts. A recipe can still name it.
const KEPT: &[&str] = &[
    "embed",
    "wte",
    "wpe",
    "head",
    "embed_out",
    "output_projection",
    "norm",
    "ln_",
    "layernorm",
    "router",
    "gate.weight",
    "classifier",
    "score",
    "pooler",
    "position",
    "relative_attention_bias",
    "codebook",
];

/// Smallest side of a matrix that is quantized unless a recipe names it.
const NARROWEST: usize = 16;

/// The tensors of a checkpoint whose architecture nobody knows, as stages that can be read and not run: one
/// for each block, by the first number in the names, and one for the rest. Where `config` describes a language
/// model among other parts, the layers of those are quantized only where a recipe names them.
pub fn unknown_model(config: &serde_json::Value, weights: &dyn WeightSource) -> Box<dyn Model> {
    let prefix = language_prefix(config, weights).unwrap_or_default();
    let mut stages: BTreeMap<Option<usize>, Inventory> = BTreeMap::new();
    for name in weights.names() {
        let Some(shape) = weights.shape(&name) else {
            continue;
        };
        let inventory = stages.entry(block_of(&name)).or_default();
        match (name.strip_suffix(".weight"), shape.as_slice()) {
            (Some(module), &[rows, cols]) => {
                let mut layer = LinearNode::outside(module, rows, cols);
                layer.in_block = name.starts_with(prefix) && is_linear(&name, rows, cols);
                inventory.tensor(layer.weight());
                inventory.linears.push(layer);
            }
            _ => inventory.tensor(TensorSpec::new(name, shape)),
        }
    }
    let stages = stages.into_iter().map(|(block, inventory)| {
        let name = match block {
            Some(block) => format!("block {block}"),
            None => "other tensors".to_owned(),
        };
        Box::new(Unknown { name, inventory }) as Box<dyn StageSpec>
    });
    let model = StagedModel::new("unknown", ModelOutput::HiddenStates, stages.collect());
    Box::new(model.without_a_forward_pass())
}

/// The first part of a name that is a number.
fn block_of(name: &str) -> Option<usize> {
    name.split('.').find_map(|part| part.parse().ok())
}

fn is_linear(name: &str, rows: usize, cols: usize) -> bool {
    let lower = name.to_lowercase();
    rows.min(cols) >= NARROWEST && !KEPT.iter().any(|word| lower.contains(word))
}

struct Unknown {
    name: String,
    inventory: Inventory,
}

impl StageSpec for Unknown {
    fn node(&self) -> StageNode {
        StageNode::Opaque {
            name: self.name.clone(),
            inventory: self.inventory.clone(),
        }
    }

    fn build(&self, _loader: &Loader<'_>) -> Result<Box<dyn Stage>, StageError> {
        Err(StageError::Unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_shapes_tell_linear_layers_from_the_rest() {
        assert!(is_linear("model.layers.3.mlp.gate_proj.weight", 64, 32));
        assert!(is_linear("h.0.attn.c_attn.weight", 96, 32));
        for name in [
            "model.embed_tokens.weight",
            "lm_head.weight",
            "model.layers.0.mlp.gate.weight",
            "transformer.wte.weight",
            "model.layers.0.input_layernorm.weight",
        ] {
            assert!(!is_linear(name, 64, 32), "{name}");
        }
        // A convolution over four steps is no matrix worth rounding.
        assert!(!is_linear("model.layers.0.conv.weight", 64, 4));
        assert_eq!(
            block_of("model.layers.12.mlp.experts.3.w1.weight"),
            Some(12)
        );
        assert_eq!(block_of("lm_head.weight"), None);
    }
}
