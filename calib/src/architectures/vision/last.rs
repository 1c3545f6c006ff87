//! The last stage of a tower.

use super::super::{Config, divided};
use super::flavour::{After, At, Ending, Flavour, Last};
use super::tower::Tower;
use crate::{ModelError, ModelOutput, WeightSource};
use quantizers::graph::{
    FeedForwardNode, HeadNode, LinearNode, Pooling, PoolingNode, Positions, Projection, TensorSpec,
};

impl Last {
    /// A module that must be in the checkpoint, and whether the prefix comes before it.
    fn module(self) -> Option<(&'static str, bool)> {
        match self {
            Self::Nothing => None,
            Self::Classifier(name) | Self::Projection(name, _) => Some((name, false)),
            Self::Classifiers(names) => names.first().map(|name| (*name, false)),
            Self::Head(name, _) => Some((name, true)),
        }
    }
}

impl Ending {
    fn applies(&self, config: &Config<'_>) -> Result<bool, ModelError> {
        self.only_if.map_or(Ok(true), |(key, default, value)| {
            Ok(config.flag_or(key, default)? == value)
        })
    }

    /// What comes out.
    pub(super) fn output(&self) -> ModelOutput {
        match self.last {
            Last::Classifier(_) | Last::Classifiers(_) => ModelOutput::ClassLogits,
            Last::Nothing | Last::Projection(..) | Last::Head(..) => ModelOutput::HiddenStates,
        }
    }
}

impl Flavour {
    /// How the model that `outside` describes ends, by its class, else by the layers it has.
    pub(super) fn ending(
        &self,
        config: &Config<'_>,
        outside: &Config<'_>,
        weights: &dyn WeightSource,
    ) -> Result<&Ending, ModelError> {
        let known: Vec<&'static str> = self.endings.iter().map(|ending| ending.class).collect();
        let class = outside.class(&known)?;
        let there = |ending: &Ending| match ending.last.module() {
            None => true,
            Some((name, prefixed)) => {
                let name = format!("{name}.weight");
                let with = format!("{}{name}", self.prefix);
                weights.contains(&name) || prefixed && weights.contains(&with)
            }
        };
        for ending in self.endings {
            let wanted = match class {
                Some(class) => ending.class == class,
                None => there(ending),
            };
            if wanted && ending.applies(config)? {
                return Ok(ending);
            }
        }
        Err(outside.error("architectures", &known.join(", "), "none of them"))
    }
}

impl Flavour {
    /// How a model of `class` ends.
    pub(super) fn ending_of(
        &self,
        class: &str,
        config: &Config<'_>,
    ) -> Result<&Ending, ModelError> {
        for ending in self.endings {
            if ending.class == class && ending.applies(config)? {
                return Ok(ending);
            }
        }
        Err(config.error("architectures", class, "none of it"))
    }
}

impl Tower<'_> {
    /// The last stage.
    pub(super) fn last(&self) -> Result<HeadNode, ModelError> {
        let ending = self.ending;
        let patches = self.leading;
        let norm = (!ending.norm.is_empty()).then(|| self.norm(self.named(ending.norm)));
        let pooling = match ending.after {
            After::Nothing => None,
            After::MeanOfPatches => Some(Pooling::MeanFrom(patches)),
            After::FirstAndMeanOfPatches => Some(Pooling::FirstAndMeanFrom(patches)),
            After::Probe(name) => Some(Pooling::Attention(Box::new(self.probe(name)?))),
        };
        let width = match ending.after {
            After::FirstAndMeanOfPatches => 2 * self.width,
            _ => self.width,
        };
        let classifier = |name: &str| -> Result<LinearNode, ModelError> {
            let classes = self.outside.classes()?;
            Ok(LinearNode::outside(name, classes, width).with_bias(true))
        };
        let projection = match ending.last {
            Last::Nothing => None,
            Last::Classifier(name) => Some(Projection::Layer(classifier(name)?)),
            Last::Classifiers(names) => {
                let layers = names.iter().map(|name| classifier(name));
                Some(Projection::Averaged(layers.collect::<Result<_, _>>()?))
            }
            Last::Projection(name, key) => {
                let rows = self.outside.count_or(key, 512)?;
                Some(Projection::Layer(LinearNode::outside(name, rows, width)))
            }
            Last::Head(name, key) => {
                let rows = self.config.count_or(key, width)?;
                let layer = LinearNode::outside(self.named(name), rows, width);
                Some(Projection::Layer(layer.with_bias(true)))
            }
        };
        Ok(HeadNode {
            positions: match ending.at {
                At::All => Positions::All,
                At::First => Positions::First,
                At::Last => Positions::Last,
                At::MeanOfPatches => Positions::MeanFrom(patches),
            },
            pooling,
            ..HeadNode::new(norm, projection)
        })
    }

    fn probe(&self, name: &str) -> Result<PoolingNode, ModelError> {
        let width = self.width;
        let name = |part: &str| self.named(&format!("{name}.{part}"));
        divided(
            &self.config,
            "num_attention_heads",
            self.heads,
            width,
            "hidden_size",
        )?;
        let linear =
            |part: &str, rows, cols| LinearNode::outside(name(part), rows, cols).with_bias(true);
        Ok(PoolingNode {
            probe: TensorSpec::new(name("probe"), [1, 1, width]),
            projections: TensorSpec::new(name("attention.in_proj_weight"), [3 * width, width]),
            projection_bias: TensorSpec::new(name("attention.in_proj_bias"), [3 * width]),
            output: linear("attention.out_proj", width, width),
            heads: self.heads,
            norm: self.norm(name("layernorm")),
            mlp: FeedForwardNode::plain(
                linear("mlp.fc1", self.inner, width),
                linear("mlp.fc2", width, self.inner),
                self.activation,
            ),
        })
    }
}
