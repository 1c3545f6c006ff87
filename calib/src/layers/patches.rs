//! First stage of vision models: pixels to hidden states.

use super::Loader;
use super::norm::Norm;
use crate::architectures::StageSpec;
use crate::{Hidden, SourceError, Stage, StageError, Tap};
use burn::tensor::{Tensor, TensorData, module};
use quantizers::graph::{NormNode, PatchInputNode, StageNode, TensorSpec};

impl StageSpec for PatchInputNode {
    fn node(&self) -> StageNode {
        StageNode::Patches(self.clone())
    }

    fn build(&self, loader: &Loader<'_>) -> Result<Box<dyn Stage>, StageError> {
        let projection = loader.read::<4>(&self.projection)?;
        let [width, channels, patch, _] = projection.dims();
        let layer = self.layer();
        let norm = |node: &Option<NormNode>| {
            let node = node.as_ref();
            node.map(|node| Norm::load(node, loader)).transpose()
        };
        let optional = |spec: &Option<TensorSpec>| {
            let spec = spec.as_ref();
            spec.map(|spec| rows(spec, width, loader)).transpose()
        };
        let bias = self.bias.as_ref();
        Ok(Box::new(PatchEmbedding {
            projection: projection.reshape([width, channels * patch * patch]),
            bias: bias.map(|bias| loader.read(bias)).transpose()?,
            patch_norm: norm(&self.patch_norm)?,
            tokens: self
                .tokens
                .iter()
                .map(|token| rows(token, width, loader))
                .collect::<Result<_, _>>()?,
            positions: optional(&self.positions)?,
            registers: optional(&self.registers)?,
            norm: norm(&self.norm)?,
            image: self.image,
            patch,
            points: [layer.input_point.clone(), layer.output_point()],
        }))
    }
}

/// A tensor of vectors as `[1, rows, width]`, however many dimensions it is stored with.
fn rows(spec: &TensorSpec, width: usize, loader: &Loader<'_>) -> Result<Tensor<3>, SourceError> {
    loader.with_values(spec, |values| {
        let shape = [1, values.len() / width, width];
        Tensor::from_data(TensorData::new(values.to_vec(), shape), loader.device())
    })
}

struct PatchEmbedding {
    /// `[width, channels · patch · patch]`: a convolution whose stride is its size is one matmul.
    projection: Tensor<2>,
    bias: Option<Tensor<1>>,
    patch_norm: Option<Norm>,
    tokens: Vec<Tensor<3>>,
    positions: Option<Tensor<3>>,
    registers: Option<Tensor<3>>,
    norm: Option<Norm>,
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
        let mut x = module::linear(patches, weight, self.bias.clone());
        tap.observe(&self.points[1], &x);
        if let Some(norm) = &self.patch_norm {
            x = norm.seen(x, tap);
        }
        let width = x.dims()[2];
        let everywhere = |token: &Tensor<3>| {
            let rows = token.dims()[1];
            token.clone().expand([batch, rows, width])
        };
        if !self.tokens.is_empty() {
            let mut parts: Vec<Tensor<3>> = self.tokens.iter().map(everywhere).collect();
            parts.push(x);
            x = Tensor::cat(parts, 1);
        }
        if let Some(positions) = &self.positions {
            x = x + positions.clone();
        }
        if let Some(registers) = &self.registers {
            let leading = self.tokens.len();
            let patches = x.dims()[1] - leading;
            let parts = vec![
                x.clone().narrow(1, 0, leading),
                everywhere(registers),
                x.narrow(1, leading, patches),
            ];
            x = Tensor::cat(parts, 1);
        }
        if let Some(norm) = &self.norm {
            x = norm.seen(x, tap);
        }
        Ok(Hidden::States(x))
    }
}
