//! First stages: tokens or pixels to hidden states.

use super::norm::Norm;
use super::{Inventory, Loader, NormSpec, TensorSpec};
use crate::architectures::StageSpec;
use crate::encoder_graph::{Inexpressible, Sketch};
use crate::{Hidden, Stage, StageError, Tap};
use burn::tensor::{Int, Tensor, module};
use quantizers::integer::compile::Input;

/// A table of token vectors, plus whatever a family adds to them.
#[derive(Debug, Clone, PartialEq)]
pub struct TextEmbeddingSpec {
    /// `[vocabulary, width]`.
    pub tokens: TensorSpec,
    /// `[positions, width]`, one row per position (families without rotation).
    pub positions: Option<TensorSpec>,
    /// `[types, width]`, of which every token gets row 0.
    pub token_types: Option<TensorSpec>,
    /// Normalisation of the sum.
    pub norm: Option<NormSpec>,
}

impl StageSpec for TextEmbeddingSpec {
    fn name(&self) -> String {
        "embedding".to_owned()
    }

    fn list(&self, inventory: &mut Inventory) {
        inventory.tensor(self.tokens.clone());
        for table in [&self.positions, &self.token_types].into_iter().flatten() {
            inventory.tensor(table.clone());
        }
        if let Some(norm) = &self.norm {
            norm.list(inventory);
        }
    }

    fn describe(&self, sketch: &mut Sketch) -> Result<(), Inexpressible> {
        let name = |table: &Option<TensorSpec>| table.as_ref().map(|table| table.name.clone());
        let rows = self.positions.as_ref().map(|table| table.shape[0]);
        sketch.width = self.tokens.shape[1];
        sketch.input = Some(Input::Text {
            tokens: self.tokens.name.clone(),
            vocabulary: self.tokens.shape[0],
            positions: name(&self.positions),
            token_types: name(&self.token_types),
            max_tokens: rows
                .or(sketch.max_tokens)
                .ok_or(Inexpressible("takes sequences of any length"))?,
            norm: self.norm.as_ref().map(NormSpec::node),
        });
        Ok(())
    }

    fn build(&self, loader: &Loader<'_>) -> Result<Box<dyn Stage>, StageError> {
        let table = |spec: &Option<TensorSpec>| -> Result<Option<Tensor<2>>, StageError> {
            Ok(spec.as_ref().map(|spec| loader.read(spec)).transpose()?)
        };
        Ok(Box::new(TextEmbedding {
            tokens: loader.read(&self.tokens)?,
            positions: table(&self.positions)?,
            token_type: table(&self.token_types)?.map(|types| types.narrow(0, 0, 1)),
            norm: self
                .norm
                .as_ref()
                .map(|norm| norm.load(loader))
                .transpose()?,
        }))
    }
}

struct TextEmbedding {
    tokens: Tensor<2>,
    positions: Option<Tensor<2>>,
    /// `[1, width]`.
    token_type: Option<Tensor<2>>,
    norm: Option<Norm>,
}

impl Stage for TextEmbedding {
    fn forward(&self, hidden: Hidden, tap: &mut dyn Tap) -> Result<Hidden, StageError> {
        let ids = hidden.into_tokens(|| "embedding".to_owned())?;
        check_ids(&ids, self.tokens.dims()[0])?;
        let tokens = ids.dims()[1];
        let mut x = module::embedding(self.tokens.clone(), ids);
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

/// An image cut into square patches, each a vector, with a class token in front.
#[derive(Debug, Clone, PartialEq)]
pub struct PatchEmbeddingSpec {
    /// `[width, channels, patch, patch]`.
    pub projection: TensorSpec,
    /// `[width]`.
    pub bias: TensorSpec,
    /// `[1, 1, width]`.
    pub class_token: TensorSpec,
    /// `[1, 1 + patches, width]`.
    pub positions: TensorSpec,
    /// `[channels, height, width]` of an image.
    pub image: [usize; 3],
}

impl PatchEmbeddingSpec {
    /// Where a [`Tap`] sees the patches, and what the projection makes of them.
    fn points(&self) -> [String; 2] {
        let name = &self.projection.name;
        let name = name.strip_suffix(".weight").unwrap_or(name);
        [format!("{name}_in"), format!("{name}:out")]
    }
}

impl StageSpec for PatchEmbeddingSpec {
    fn name(&self) -> String {
        "embedding".to_owned()
    }

    fn list(&self, inventory: &mut Inventory) {
        for tensor in [
            &self.class_token,
            &self.positions,
            &self.projection,
            &self.bias,
        ] {
            inventory.tensor(tensor.clone());
        }
        let [input, output] = self.points();
        inventory.point(input, self.projection.shape[1..].iter().product());
        inventory.point(output, self.projection.shape[0]);
    }

    fn describe(&self, sketch: &mut Sketch) -> Result<(), Inexpressible> {
        let [input_point, _] = self.points();
        sketch.width = self.projection.shape[0];
        sketch.input = Some(Input::Image {
            projection: self.projection.name.clone(),
            bias: self.bias.name.clone(),
            class_token: self.class_token.name.clone(),
            positions: self.positions.name.clone(),
            image: self.image,
            patch: self.projection.shape[2],
            input_point,
        });
        Ok(())
    }

    fn build(&self, loader: &Loader<'_>) -> Result<Box<dyn Stage>, StageError> {
        let projection = loader.read::<4>(&self.projection)?;
        let [width, channels, patch, _] = projection.dims();
        Ok(Box::new(PatchEmbedding {
            projection: projection.reshape([width, channels * patch * patch]),
            bias: loader.read(&self.bias)?,
            class_token: loader.read(&self.class_token)?,
            positions: loader.read(&self.positions)?,
            image: self.image,
            patch,
            points: self.points(),
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
