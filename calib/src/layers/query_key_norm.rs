//! Normalisation of queries and keys.

use super::kernels::rows::{add_to_rows, multiply_rows};
use super::norm::Norm;
use super::{Constant, Loader};
use crate::SourceError;
use burn::tensor::Tensor;
use quantizers::graph::QueryKeyNorm as Node;
use quantizers::scratch::Scratch;

/// A normalisation of queries or keys with its weights.
#[expect(clippy::large_enum_variant, reason = "two per block")]
#[derive(Debug, Clone)]
pub enum QueryKeyNorm {
    /// Each head by one norm.
    Head(Norm),
    /// All heads together.
    Joint(Norm),
    /// Each head on its own, then factors `[1, heads, 1, head_dim]` and offsets of the same shape.
    EachHead {
        /// Without parameters.
        norm: Norm,
        /// Of all heads.
        weight: Constant<4>,
        /// Of all heads, where there are any.
        bias: Option<Constant<4>>,
    },
}

impl QueryKeyNorm {
    /// Reads the parameters of `node`.
    ///
    /// # Errors
    /// A missing tensor or one of another shape.
    pub fn load(node: &Node, loader: &Loader<'_>) -> Result<Self, SourceError> {
        Ok(match node {
            Node::Head(norm) => Self::Head(Norm::load(norm, loader)?),
            Node::Joint(norm) => Self::Joint(Norm::load(norm, loader)?),
            Node::Stacked { norm, weight } => {
                let weight: Tensor<2> = loader.read(weight)?;
                let [heads, width] = weight.dims();
                Self::EachHead {
                    norm: Norm::load(norm, loader)?,
                    weight: weight.reshape([1, heads, 1, width]).into(),
                    bias: None,
                }
            }
            Node::EachHead(norms) => {
                let (mut weights, mut biases) = (Vec::new(), Vec::new());
                for norm in norms {
                    weights.extend(norm.weight().map(|w| loader.read::<1>(&w)).transpose()?);
                    biases.extend(norm.bias().map(|b| loader.read::<1>(&b)).transpose()?);
                }
                let all = |parts: Vec<Tensor<1>>| -> Constant<4> {
                    let heads = parts.len();
                    let joined = Tensor::cat(parts, 0);
                    let width = joined.dims()[0] / heads.max(1);
                    joined.reshape([1, heads, 1, width]).into()
                };
                let plain = norms.first().map(|norm| norm.clone().without_parameters());
                match plain {
                    Some(plain) if !weights.is_empty() => Self::EachHead {
                        norm: Norm::load(&plain, loader)?,
                        weight: all(weights),
                        bias: (!biases.is_empty()).then(|| all(biases)),
                    },
                    Some(plain) => Self::Head(Norm::load(&plain, loader)?),
                    None => {
                        return Err(SourceError::Shape {
                            name: "norms of heads".to_owned(),
                            expected: vec![1],
                            found: vec![0],
                        });
                    }
                }
            }
        })
    }

    /// Normalises `[batch, heads, tokens, head_dim]`.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Head(norm) => norm.forward(x),
            Self::Joint(norm) => {
                let [batch, heads, tokens, width] = x.dims();
                let joined = x.swap_dims(1, 2).reshape([batch, tokens, heads * width]);
                let normed = norm.forward(joined);
                normed
                    .reshape([batch, tokens, heads, width])
                    .swap_dims(1, 2)
            }
            Self::EachHead { norm, weight, bias } => {
                let scaled = norm.forward(x) * weight.tensor().clone();
                match bias {
                    Some(bias) => scaled + bias.tensor().clone(),
                    None => scaled,
                }
            }
        }
    }

    /// The same of rows that hold all heads, one after the other in host memory.
    pub fn rows(&self, x: &[f32]) -> Scratch<f32> {
        match self {
            // As wide as a head, or as all of them.
            Self::Head(norm) | Self::Joint(norm) => norm.rows(x),
            Self::EachHead { norm, weight, bias } => {
                let mut x = norm.rows(x);
                multiply_rows(weight.values(), &mut x);
                if let Some(bias) = bias {
                    add_to_rows(bias.values(), &mut x);
                }
                x
            }
        }
    }
}
