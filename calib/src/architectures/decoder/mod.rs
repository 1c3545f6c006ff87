//! Decoders: what config.json and a row of the table say becomes a graph.

mod columns;
mod expert_columns;
mod flavour;
mod shared;
mod rms_rows;
mod layer_norm_rows;
mod unrotated_rows;
mod expert_rows;
mod shape;
mod windows;
mod latent;
mod experts;
mod block;
mod place;
pub(super) mod rotation;

pub(super) use flavour::Flavour;
pub(super) use place::Place;

use super::{Abilities, Architecture, Config, InputKind, StageSpec, StagedModel, block_count};
use crate::{Model, ModelError, ModelOutput, WeightSource};
use flavour::Positions;
use quantizers::graph::{
    Activation, HeadNode, HeadTransform, LinearNode, Projection, TensorSpec, TokenInputNode,
};
use serde_json::Value;
use shape::Shape;
use std::sync::LazyLock;

/// The decoder table: one row for each `model_type`, which names what differs from the row it starts from.
pub(super) static FLAVOURS: LazyLock<Vec<Flavour>> = LazyLock::new(|| {
    let parts = [
        rms_rows::ROWS,
        layer_norm_rows::ROWS,
        unrotated_rows::ROWS,
        expert_rows::ROWS,
    ];
    parts.concat()
});

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
            outputs: &[ModelOutput::TokenLogits, ModelOutput::HiddenStates],
            takes: InputKind::Tokens,
            calibrates: true,
            integer_only: false,
            layer: format!(
                "{}{}.N.{}",
                self.names.prefix, self.names.blocks, self.names.output
            ),
        }
    }

    fn open(
        &self,
        config: &Value,
        weights: &dyn WeightSource,
    ) -> Result<Box<dyn Model>, ModelError> {
        let place = Place::alone(self, weights);
        let model = self.laid_out(Config::new(config), place, weights)?;
        Ok(Box::new(model))
    }
}

impl Flavour {
    /// The class of a model with or without a head, as `architectures` of config.json names it.
    pub(super) fn class(&self, has_head: bool) -> &'static str {
        let [with_head, base] = self.classes;
        if has_head { with_head } else { base }
    }

    /// The model whose tensors stand at `place`.
    ///
    /// # Errors
    /// A configuration this family cannot take.
    pub(super) fn laid_out(
        &self,
        config: Config<'_>,
        place: Place,
        weights: &dyn WeightSource,
    ) -> Result<StagedModel, ModelError> {
        let shape = Shape::read(self, config, place, weights)?;
        let mut stages: Vec<Box<dyn StageSpec>> = vec![Box::new(shape.input())];
        for index in 0..shape.blocks.len() {
            stages.push(Box::new(shape.block(index)?));
        }
        stages.push(Box::new(shape.last()));
        let output = match shape.head {
            Head::None => ModelOutput::HiddenStates,
            Head::Own | Head::Tied => ModelOutput::TokenLogits,
        };
        let model = StagedModel::new(self.model_type, output, stages);
        Ok(model.with_text(shape.vocabulary, shape.max_positions))
    }
}

/// Where logits come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Head {
    None,
    Own,
    Tied,
}

impl Head {
    fn of(
        flavour: &Flavour,
        config: &Config<'_>,
        place: &Place,
        weights: &dyn WeightSource,
    ) -> Result<Self, ModelError> {
        if config.class(&flavour.classes)? == Some(flavour.class(false)) {
            return Ok(Self::None);
        }
        // With both tables in the checkpoint the head is its own, as transformers decides it.
        let own = weights.contains(&format!("{}.weight", place.head));
        let tied = config.flag_or("tie_word_embeddings", flavour.tied)?;
        Ok(if tied && !own { Self::Tied } else { Self::Own })
    }
}

impl Shape<'_> {
    fn token_table(&self) -> TensorSpec {
        let name = self.named(self.flavour.names.tokens);
        TensorSpec::new(format!("{name}.weight"), [self.vocabulary, self.word_width])
    }

    fn input(&self) -> TokenInputNode {
        let names = &self.flavour.names;
        let mut input = TokenInputNode {
            scale: self.embedding_scale,
            ..TokenInputNode::new(self.token_table())
        };
        if let Positions::Table(first) = self.flavour.positions {
            let name = self.named(names.positions);
            let rows = self.max_positions + first;
            let table = TensorSpec::new(format!("{name}.weight"), [rows, self.width]);
            input.positions = Some(table);
            input.first_position = first;
        }
        if !names.embedding_norm.is_empty() {
            input.norm = Some(self.norm(self.named(names.embedding_norm)));
        }
        if let Some([into, _]) = self.word_layers() {
            input.word_projection = Some(into);
        }
        input
    }

    fn last(&self) -> HeadNode {
        let norm = self
            .has_last_norm
            .then(|| self.norm(self.named(self.flavour.names.last_norm)));
        let bias = self.head_bias;
        let name = self.place.head.as_str();
        let projection = match self.head {
            Head::None => None,
            Head::Own => {
                let layer = LinearNode::outside(name, self.vocabulary, self.word_width);
                Some(Projection::Layer(layer.with_bias(bias)))
            }
            Head::Tied => Some(Projection::Tied {
                table: self.token_table(),
                bias: bias.then(|| TensorSpec::new(format!("{name}.bias"), [self.vocabulary])),
                layer: name.to_owned(),
            }),
        };
        HeadNode {
            transform: self.word_layers().map(|[_, out]| HeadTransform {
                layer: out,
                activation: None::<Activation>,
                norm: None,
            }),
            scale: self.logit_scale,
            softcap: self.logit_cap,
            ..HeadNode::new(norm, projection)
        }
    }

    /// The layers between the width of token vectors and that of blocks, where they differ.
    fn word_layers(&self) -> Option<[LinearNode; 2]> {
        let (_, [into, out]) = self.flavour.word_width?;
        (self.word_width != self.width).then(|| {
            [
                LinearNode::outside(self.named(into), self.width, self.word_width),
                LinearNode::outside(self.named(out), self.word_width, self.width),
            ]
        })
    }
}
