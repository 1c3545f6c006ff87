//! Last stages: final normalisation, pooling and the projection to logits.

use super::attention_pooling::AttentionPooling;
use super::kernels::activation as kernel;
use super::kernels::rows::scale_rows;
use super::linear::Linear;
use super::norm::Norm;
use super::weight::Weight;
use super::{Constant, Loader, fused};
use crate::architectures::StageSpec;
use crate::{Hidden, KeyValueCache, NextTokens, NoTap, Stage, StageError, Tap};
use burn::tensor::{Device, Tensor};
use quantizers::graph::{
    Activation, HeadNode, NormNode, Pooling, Positions, Projection, StageNode,
};
use quantizers::scratch::Scratch;

impl StageSpec for HeadNode {
    fn node(&self) -> StageNode {
        StageNode::Head(self.clone())
    }

    fn build(&self, loader: &Loader<'_>) -> Result<Box<dyn Stage>, StageError> {
        let norm = |node: &Option<NormNode>| {
            let node = node.as_ref();
            node.map(|node| Norm::load(node, loader)).transpose()
        };
        Ok(Box::new(Head {
            positions: self.positions,
            norm: norm(&self.norm)?,
            pooling: match &self.pooling {
                Some(Pooling::MeanFrom(first)) => Some(LoadedPooling::MeanFrom(*first)),
                Some(Pooling::FirstAndMeanFrom(first)) => {
                    Some(LoadedPooling::FirstAndMeanFrom(*first))
                }
                Some(Pooling::Attention(node)) => Some(LoadedPooling::Attention(Box::new(
                    AttentionPooling::load(node, loader)?,
                ))),
                None => None,
            },
            transform: match &self.transform {
                Some(node) => Some(Transform {
                    layer: Linear::load(&node.layer, loader)?,
                    activation: node.activation,
                    norm: norm(&node.norm)?,
                }),
                None => None,
            },
            projection: match &self.projection {
                Some(Projection::Layer(layer)) => {
                    Some(LoadedProjection::Layer(Linear::load(layer, loader)?))
                }
                Some(Projection::Tied { table, bias, .. }) => Some(LoadedProjection::Tied(
                    Weight::load(loader, table, false)?,
                    bias.as_ref()
                        .map(|bias| loader.read(bias))
                        .transpose()?
                        .map(|bias: Tensor<1>| bias.into()),
                )),
                Some(Projection::Averaged(layers)) => {
                    let layers = layers.iter().map(|layer| Linear::load(layer, loader));
                    Some(LoadedProjection::Averaged(
                        layers.collect::<Result<_, _>>()?,
                    ))
                }
                None => None,
            },
            scale: self.scale,
            softcap: self.softcap,
        }))
    }
}

enum LoadedProjection {
    Layer(Linear),
    Tied(Weight, Option<Constant<1>>),
    Averaged(Vec<Linear>),
}

enum LoadedPooling {
    MeanFrom(usize),
    FirstAndMeanFrom(usize),
    Attention(Box<AttentionPooling>),
}

struct Transform {
    layer: Linear,
    activation: Option<Activation>,
    norm: Option<Norm>,
}

struct Head {
    positions: Positions,
    norm: Option<Norm>,
    pooling: Option<LoadedPooling>,
    transform: Option<Transform>,
    projection: Option<LoadedProjection>,
    scale: f64,
    softcap: Option<f64>,
}

impl Stage for Head {
    fn forward(&self, hidden: Hidden, tap: &mut dyn Tap) -> Result<Hidden, StageError> {
        let mut x = hidden.into_states(name)?;
        x = match self.positions {
            Positions::All => x,
            Positions::First => x.narrow(1, 0, 1),
            Positions::Last => {
                let last = x.dims()[1] - 1;
                x.narrow(1, last, 1)
            }
            Positions::MeanFrom(first) => mean_from(first, x),
        };
        if let Some(norm) = &self.norm {
            x = norm.seen(x, tap);
        }
        x = match &self.pooling {
            Some(LoadedPooling::MeanFrom(first)) => mean_from(*first, x),
            Some(LoadedPooling::FirstAndMeanFrom(first)) => {
                let mean = mean_from(*first, x.clone());
                Tensor::cat(vec![x.narrow(1, 0, 1), mean], 2)
            }
            Some(LoadedPooling::Attention(pooling)) => pooling.forward(x, tap),
            None => x,
        };
        if let Some(transform) = &self.transform {
            transform.layer.observe(&x, tap);
            x = transform.layer.forward(x, tap);
            if let Some(activation) = transform.activation {
                x = fused::activate(activation, x);
            }
            if let Some(norm) = &transform.norm {
                x = norm.seen(x, tap);
            }
        }
        match &self.projection {
            Some(LoadedProjection::Layer(layer)) => {
                layer.observe(&x, tap);
                x = layer.forward(x, tap);
            }
            Some(LoadedProjection::Tied(table, bias)) => {
                x = fused::linear(x, table, bias.as_ref());
            }
            Some(LoadedProjection::Averaged(layers)) => x = averaged(layers, &x, tap),
            None => {}
        }
        if self.scale.to_bits() != 1.0_f64.to_bits() {
            x = x * self.scale;
        }
        if let Some(cap) = self.softcap {
            x = (x / cap).tanh() * cap;
        }
        Ok(Hidden::States(x))
    }

    fn next_of_each(
        &self,
        next: NextTokens,
        caches: &mut [&mut KeyValueCache],
        device: &Device,
    ) -> Result<NextTokens, StageError> {
        // Each position on its own: the past changes nothing.
        let texts = caches.len();
        if !self.has_rows() {
            let mut all = Scratch::default();
            for at in 0..texts {
                let found = self.forward(next.hidden(at, texts, device), &mut NoTap)?;
                let last = NextTokens::last_of(found.into_states(name)?);
                all.extend_from_slice(&last.into_rows(name)?);
            }
            return Ok(NextTokens::Rows(all));
        }
        let mut x = next.into_rows(name)?;
        if let Some(norm) = &self.norm {
            x = norm.rows(&x);
        }
        if let Some(transform) = &self.transform {
            x = transform.layer.rows(&x);
            if let Some(activation) = transform.activation {
                let mut out = Scratch::unwritten(x.len());
                kernel::activate(activation, &x, &mut out);
                x = out;
            }
            if let Some(norm) = &transform.norm {
                x = norm.rows(&x);
            }
        }
        match &self.projection {
            Some(LoadedProjection::Layer(layer)) => x = layer.rows(&x),
            Some(LoadedProjection::Tied(table, bias)) => {
                x = fused::linear_of_rows(&x, table, bias.as_ref());
            }
            Some(LoadedProjection::Averaged(_)) | None => {}
        }
        if self.scale.to_bits() != 1.0_f64.to_bits() {
            scale_rows(self.scale, &mut x);
        }
        if let Some(cap) = self.softcap {
            #[expect(clippy::cast_possible_truncation, reason = "logits are f32")]
            let cap = cap as f32;
            for x in x.iter_mut() {
                *x = (*x / cap).tanh() * cap;
            }
        }
        Ok(NextTokens::Rows(x))
    }
}

fn name() -> String {
    "head".to_owned()
}

impl Head {
    /// Whether what it returns of a position depends on that one only, and is computed in rows.
    fn has_rows(&self) -> bool {
        let averages = matches!(self.projection, Some(LoadedProjection::Averaged(_)));
        let looks_around =
            matches!(self.positions, Positions::MeanFrom(_)) || self.pooling.is_some();
        !averages && !looks_around
    }
}

/// The mean of the positions from `first` on.
fn mean_from(first: usize, x: Tensor<3>) -> Tensor<3> {
    let rows = x.dims()[1] - first;
    x.narrow(1, first, rows).mean_dim(1)
}

/// The mean of what each layer makes of its position.
fn averaged(layers: &[Linear], x: &Tensor<3>, tap: &mut dyn Tap) -> Tensor<3> {
    let results = layers.iter().enumerate().map(|(position, layer)| {
        let row = x.clone().narrow(1, position, 1);
        layer.observe(&row, tap);
        layer.forward(row, tap)
    });
    Tensor::cat(results.collect(), 1).mean_dim(1)
}
