//! First stages: tokens or pixels to hidden states.

use super::Loader;
use super::linear::Linear;
use super::norm::Norm;
use crate::architectures::StageSpec;
use crate::{Hidden, NoTap, Stage, StageError, Tap};
use burn::tensor::{Int, Tensor, module};
use quantizers::graph::{LinearNode, PatchInputNode, StageNode, TensorSpec, TokenInputNode};

impl StageSpec for TokenInputNode {
    fn node(&self) -> StageNode {
        StageNode::Tokens(self.clone())
    }

    fn build(&self, loader: &Loader<'_>) -> Result<Box<dyn Stage>, StageError> {
        let table = |spec: &Option<TensorSpec>| -> Result<Option<Tensor<2>>, StageError> {
            Ok(spec.as_ref().map(|spec| loader.read(spec)).transpose()?)
        };
        let layer = |node: &Option<LinearNode>| {
            let node = node.as_ref();
            node.map(|node| Linear::load(node, loader)).transpose()
        };
        let norm = self.norm.as_ref();
        let positions = table(&self.positions)?;
        Ok(Box::new(TextEmbedding {
            tokens: loader.read(&self.tokens)?,
            scale: self.scale,
            positions: positions.map(|all| {
                let rows = all.dims()[0].saturating_sub(self.first_position);
                all.narrow(0, self.first_position, rows)
            }),
            token_type: table(&self.token_types)?.map(|types| types.narrow(0, 0, 1)),
            norm: norm.map(|norm| Norm::load(norm, loader)).transpose()?,
            projection: layer(&self.projection)?,
            word_projection: layer(&self.word_projection)?,
        }))
    }
}

struct TextEmbedding {
    tokens: Tensor<2>,
    scale: f64,
    /// From the first position on.
    positions: Option<Tensor<2>>,
    /// `[1, width]`.
    token_type: Option<Tensor<2>>,
    norm: Option<Norm>,
    projection: Option<Linear>,
    word_projection: Option<Linear>,
}

impl Stage for TextEmbedding {
    fn forward(&self, hidden: Hidden, tap: &mut dyn Tap) -> Result<Hidden, StageError> {
        let ids = hidden.into_tokens(|| "embedding".to_owned())?;
        check_ids(&ids, self.tokens.dims()[0])?;
        let tokens = ids.dims()[1];
        let mut x = module::embedding(self.tokens.clone(), ids);
        if self.scale.to_bits() != 1.0_f64.to_bits() {
            x = x * self.scale;
        }
        if let Some(layer) = &self.word_projection {
            x = layer.forward(x, &mut NoTap);
        }
        // The order of the sums is transformers': word + type, then position.
        if let Some(row) = &self.token_type {
            x = x + row.clone().unsqueeze::<3>();
        }
        if let Some(positions) = &self.positions {
            let limit = positions.dims()[0];
            if tokens > limit {
                return Err(StageError::TooLong {
                    found: tokens,
                    limit,
                });
            }
            x = x + positions.clone().narrow(0, 0, tokens).unsqueeze::<3>();
        }
        if let Some(norm) = &self.norm {
            x = norm.seen(x, tap);
        }
        if let Some(layer) = &self.projection {
            x = layer.forward(x, &mut NoTap);
        }
        Ok(Hidden::States(x))
    }
}

fn check_ids(ids: &Tensor<2, Int>, vocabulary: usize) -> Result<(), StageError> {
    let outside = |id: &i64| usize::try_from(*id).map_or(true, |id| id >= vocabulary);
    match ids.clone().into_data().iter::<i64>().find(outside) {
        Some(found) => Err(StageError::Token { found, vocabulary }),
        None => Ok(()),
    }
}

impl StageSpec for PatchInputNode {
    fn node(&self) -> StageNode {
        StageNode::Patches(self.clone())
    }

    fn build(&self, loader: &Loader<'_>) -> Result<Box<dyn Stage>, StageError> {
        let projection = loader.read::<4>(&self.projection)?;
        let [width, channels, patch, _] = projection.dims();
        let layer = self.layer();
        Ok(Box::new(PatchEmbedding {
            projection: projection.reshape([width, channels * patch * patch]),
            bias: loader.read(&self.bias)?,
            class_token: loader.read(&self.class_token)?,
            positions: loader.read(&self.positions)?,
            image: self.image,
            patch,
            points: [layer.input_point.clone(), layer.output_point()],
        }))
    }
}

struct PatchEmbedding {
    /// `[width, channels · patch · patch]`: a convolution whose stride is its size is one matmul.
    projection: Tensor<2>,
    bias: Tensor<1>,
    class_token: Tensor<3>,
    positions: Tensor<3>,
    image: [usize; 3],
    patch: usize,
    /// Of the patches, of their projection.
    points: [String; 2],
}

impl Stage for PatchEmbedding {
    fn forward(&self, hidden: Hidden, tap: &mut dyn Tap) -> Result<Hidden, StageError> {
        let pixels = hidden.into_pixels(|| "embedding".to_owned())?;
        let [batch, channels, height, width] = pixels.dims();
        if [channels, height, width] != self.image {
            return Err(StageError::ImageShape {
                expected: self.image,
                found: [channels, height, width],
            });
        }
        let patch = self.patch;
        let (rows, columns) = (height / patch, width / patch);
        let patches = pixels
            .reshape([batch, channels, rows, patch, columns, patch])
            .permute([0, 2, 4, 1, 3, 5])
            .reshape([batch, rows * columns, channels * patch * patch]);
        tap.observe(&self.points[0], &patches);
        let weight = self.projection.clone().transpose();
        let x = module::linear(patches, weight, Some(self.bias.clone()));
        tap.observe(&self.points[1], &x);
        let class = self.class_token.clone().expand([batch, 1, x.dims()[2]]);
        Ok(Hidden::States(
            Tensor::cat(vec![class, x], 1) + self.positions.clone(),
        ))
    }
}
