//! Vision models and the text towers that go with them: what config.json and a row of the table say
//! becomes a graph.

mod flavour;
mod rows;
mod tower;
mod last;
mod swin;
mod pair;

pub(super) use flavour::Flavour;
pub(super) use pair::PAIRS;
pub(super) use rows::FLAVOURS;
pub(super) use swin::Swin;

use super::{Abilities, Architecture, Config, InputKind, StagedModel};
use crate::{Model, ModelError, ModelOutput, WeightSource};
use flavour::Input;
use serde_json::Value;
use tower::Tower;

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
            outputs: match self.input {
                Input::Tokens => &[ModelOutput::HiddenStates],
                Input::Patches(_) => &[ModelOutput::ClassLogits, ModelOutput::HiddenStates],
            },
            takes: match self.input {
                Input::Tokens => InputKind::Tokens,
                Input::Patches(_) => InputKind::Images,
            },
            calibrates: true,
            integer_only: self.integer_only,
            layer: format!("{}{}.N.{}", self.prefix, self.blocks, self.block.output),
        }
    }

    fn open(
        &self,
        config: &Value,
        weights: &dyn WeightSource,
    ) -> Result<Box<dyn Model>, ModelError> {
        let config = Config::new(config);
        let ending = self.ending(&config, &config, weights)?;
        let tower = Tower::read(self, ending, config, config, weights)?;
        let mut stages = tower.body()?;
        stages.push(Box::new(tower.last()?));
        let model = StagedModel::new(self.model_type, ending.output(), stages);
        Ok(Box::new(match tower.text()? {
            Some((vocabulary, positions)) => model.with_text(vocabulary, positions),
            None => model,
        }))
    }
}
