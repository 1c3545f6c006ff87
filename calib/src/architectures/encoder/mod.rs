//! Text encoders: what config.json and a row of the table say becomes a graph.
//!
//! Every token is of type 0. A head is chosen by the class config.json names; a class that is not the family's
//! own, or none, is opened by the tensors that are there. Blocks that share weights are stages of their own:
//! the linear layers are those of the first stage that uses them, where they are calibrated and quantized, and the
//! later ones read what it left.

mod flavour;
mod rows;
mod shape;
mod block;
mod distance_settings;
mod distances;
mod heads;

pub(super) use flavour::Flavour;
pub(super) use rows::FLAVOURS;

use super::{Abilities, Architecture, Config, InputKind, StageSpec, StagedModel};
use crate::{Model, ModelError, ModelOutput, WeightSource};
use serde_json::Value;
use shape::Shape;

/// The family whose tables `weights` has under that family's own prefix, for files that do not say it; and
/// one of these names. Without the prefix, BERT is told by its two token types and its pooler.
pub(super) fn of_tensors(weights: &dyn WeightSource) -> Option<(&'static Flavour, String)> {
    let own = FLAVOURS.iter().find_map(|flavour| {
        let names = &flavour.names;
        let name = format!("{}{}.weight", names.prefix, names.tokens);
        weights.contains(&name).then_some((flavour, name))
    });
    own.or_else(|| {
        let bert = FLAVOURS.first()?;
        let name = format!("{}.weight", bert.names.types);
        let types = weights.shape(&name)?;
        let has_pooler = weights.contains("pooler.dense.weight");
        (types.first() == Some(&2) && has_pooler).then_some((bert, name))
    })
}

impl Architecture for Flavour {
    fn name(&self) -> &'static str {
        self.model_type
    }

    fn summary(&self) -> &'static str {
        self.summary
    }

    fn model_types(&self) -> &[&'static str] {
        std::slice::from_ref(&self.model_type)
    }

    fn abilities(&self) -> Abilities {
        Abilities {
            outputs: &[
                ModelOutput::MaskedTokenLogits,
                ModelOutput::TokenClassLogits,
                ModelOutput::ClassLogits,
                ModelOutput::HiddenStates,
            ],
            takes: InputKind::Tokens,
            calibrates: true,
            integer_only: self.integer_only,
            layer: {
                let names = &self.names;
                let block = if self.shared {
                    "N.albert_layers.N"
                } else {
                    "N"
                };
                format!("{}{}.{block}.{}", names.prefix, names.blocks, names.output)
            },
        }
    }

    fn open(
        &self,
        config: &Value,
        weights: &dyn WeightSource,
    ) -> Result<Box<dyn Model>, ModelError> {
        let config = Config::new(config);
        let shape = Shape::read(self, config, weights)?;
        let mut stages: Vec<Box<dyn StageSpec>> = vec![Box::new(shape.input()?)];
        for index in 0..shape.blocks.len() {
            stages.push(Box::new(shape.block(index)?));
        }
        let (output, head) = shape.head(weights)?;
        if let Some(head) = head {
            stages.push(Box::new(head));
        }
        let model = StagedModel::new(self.model_type, output, stages);
        Ok(Box::new(
            model.with_text(shape.vocabulary, shape.max_positions),
        ))
    }
}
