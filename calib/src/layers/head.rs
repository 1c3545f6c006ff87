//! Last stages: final normalisation, pooling and the projection to logits.

use super::linear::Linear;
use super::norm::Norm;
use super::weight::Weight;
use super::{Loader, fused};
use crate::architectures::StageSpec;
use crate::{Hidden, Memory, NoTap, Stage, StageError, Tap};
use quantizers::graph::{HeadNode, Positions, Projection, StageNode};

impl StageSpec for HeadNode {
    fn node(&self) -> StageNode {
        StageNode::Head(self.clone())
    }

    fn build(&self, loader: &Loader<'_>) -> Result<Box<dyn Stage>, StageError> {
        let (norm, pooler) = (self.norm.as_ref(), self.pooler.as_ref());
        Ok(Box::new(Head {
            positions: self.positions,
            norm: norm.map(|norm| Norm::load(norm, loader)).transpose()?,
            pooler: pooler
                .map(|pooler| Linear::load(pooler, loader))
                .transpose()?,
            projection: match &self.projection {
                Some(Projection::Layer(layer)) => {
                    Some(LoadedProjection::Layer(Linear::load(layer, loader)?))
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

    fn next(&self, hidden: Hidden, _memory: &mut Memory) -> Result<Hidden, StageError> {
        // Each position on its own: the past changes nothing.
        self.forward(hidden, &mut NoTap)
    }
}
