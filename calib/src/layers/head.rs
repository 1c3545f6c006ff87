//! Last stages: final normalisation, pooling and the projection to logits.

use super::linear::Linear;
use super::norm::Norm;
use super::weight::Weight;
use super::{Inventory, LinearSpec, Loader, NormSpec, TensorSpec, fused};
use crate::architectures::StageSpec;
use crate::encoder_graph::{Inexpressible, Sketch};
use crate::{Hidden, KeyValueCache, NoTap, Stage, StageError, Tap};
use quantizers::integer::compile::graph;

/// Which positions reach the head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Positions {
    /// All of them, each on its own: the head works on any part of a sequence.
    All,
    /// Only the first (class token).
    First,
}

/// The last linear map.
#[derive(Debug, Clone, PartialEq)]
pub enum Projection {
    /// A layer of its own.
    Layer(LinearSpec),
    /// The token table `[vocabulary, width]` once more.
    Tied(TensorSpec),
}

/// What a head reads. Steps that are absent are skipped.
#[derive(Debug, Clone, PartialEq)]
pub struct HeadSpec {
    /// Which positions it sees.
    pub positions: Positions,
    /// Final normalisation.
    pub norm: Option<NormSpec>,
    /// A linear layer followed by tanh.
    pub pooler: Option<LinearSpec>,
    /// To logits.
    pub projection: Option<Projection>,
}

impl StageSpec for HeadSpec {
    fn name(&self) -> String {
        "head".to_owned()
    }

    fn list(&self, inventory: &mut Inventory) {
        if let Some(norm) = &self.norm {
            norm.list(inventory);
        }
        if let Some(pooler) = &self.pooler {
            pooler.list(inventory);
        }
        match &self.projection {
            Some(Projection::Layer(layer)) => layer.list(inventory),
            Some(Projection::Tied(table)) => inventory.tensor(table.clone()),
            None => {}
        }
    }

    fn describe(&self, sketch: &mut Sketch) -> Result<(), Inexpressible> {
        let node = |layer: &Option<LinearSpec>| layer.as_ref().map(LinearSpec::node).transpose();
        sketch.head = graph::Head {
            first_only: self.positions == Positions::First,
            norm: self.norm.as_ref().map(NormSpec::node),
            pooler: node(&self.pooler)?,
            classifier: match &self.projection {
                Some(Projection::Layer(layer)) => Some(layer.node()?),
                Some(Projection::Tied(_)) => {
                    return Err(Inexpressible("predicts tokens with the token table"));
                }
                None => None,
            },
        };
        Ok(())
    }

    fn build(&self, loader: &Loader<'_>) -> Result<Box<dyn Stage>, StageError> {
        Ok(Box::new(Head {
            positions: self.positions,
            norm: self
                .norm
                .as_ref()
                .map(|norm| norm.load(loader))
                .transpose()?,
            pooler: self
                .pooler
                .as_ref()
                .map(|pooler| pooler.load(loader))
                .transpose()?,
            projection: match &self.projection {
                Some(Projection::Layer(layer)) => {
                    Some(LoadedProjection::Layer(layer.load(loader)?))
                }
                Some(Projection::Tied(table)) => {
                    Some(LoadedProjection::Tied(Weight::load(loader, table, false)?))
                }
                None => None,
            },
        }))
    }
}

#[expect(clippy::large_enum_variant, reason = "one per model")]
enum LoadedProjection {
    Layer(Linear),
    Tied(Weight),
}

struct Head {
    positions: Positions,
    norm: Option<Norm>,
    pooler: Option<Linear>,
    projection: Option<LoadedProjection>,
}

impl Stage for Head {
    fn forward(&self, hidden: Hidden, tap: &mut dyn Tap) -> Result<Hidden, StageError> {
        let mut x = hidden.into_states(|| "head".to_owned())?;
        if self.positions == Positions::First {
            x = x.narrow(1, 0, 1);
        }
        if let Some(norm) = &self.norm {
            x = norm.seen(x, tap);
        }
        if let Some(pooler) = &self.pooler {
            pooler.observe(&x, tap);
            x = pooler.forward(x, tap).tanh();
        }
        match &self.projection {
            Some(LoadedProjection::Layer(layer)) => {
                layer.observe(&x, tap);
                x = layer.forward(x, tap);
            }
            Some(LoadedProjection::Tied(table)) => {
                x = fused::linear(x, table, None);
            }
            None => {}
        }
        Ok(Hidden::States(x))
    }

    fn next(&self, hidden: Hidden, _cache: &mut KeyValueCache) -> Result<Hidden, StageError> {
        // Each position on its own: the past changes nothing.
        self.forward(hidden, &mut NoTap)
    }
}
