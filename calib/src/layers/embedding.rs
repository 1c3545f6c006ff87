//! First stage of text models: token ids to hidden states.

use super::kernels::rows::{add, add_to_rows, scale_rows};
use super::linear::Linear;
use super::norm::Norm;
use super::{Constant, Loader};
use crate::architectures::StageSpec;
use crate::{Hidden, KeyValueCache, NextTokens, NoTap, Stage, StageError, Tap};
use burn::tensor::{Device, Int, Tensor, TensorData, module};
use quantizers::graph::{LinearNode, StageNode, TensorSpec, TokenInputNode};
use quantizers::kernels::PackedMatrix;
use quantizers::scratch::Scratch;
use std::sync::Arc;

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
            tokens: match loader.packed(&self.tokens)? {
                Some(packed) => TokenTable::Packed(packed),
                None => TokenTable::Values(loader.read::<2>(&self.tokens)?.into()),
            },
            scale: self.scale,
            positions: positions.map(|all| {
                let rows = all.dims()[0].saturating_sub(self.first_position);
                all.narrow(0, self.first_position, rows).into()
            }),
            token_type: table(&self.token_types)?.map(|types| types.narrow(0, 0, 1).into()),
            norm: norm.map(|norm| Norm::load(norm, loader)).transpose()?,
            projection: layer(&self.projection)?,
            word_projection: layer(&self.word_projection)?,
        }))
    }
}

/// A vector for each token `[vocabulary, width]`.
#[expect(clippy::large_enum_variant, reason = "one per model")]
enum TokenTable {
    Values(Constant<2>),
    /// As it is stored: the few rows that are asked for are decoded.
    Packed(Arc<PackedMatrix>),
}

impl TokenTable {
    /// `[batch, tokens]` to `[batch, tokens, width]`.
    fn vectors(&self, ids: Tensor<2, Int>) -> Result<Tensor<3>, StageError> {
        let ([batch, tokens], device) = (ids.dims(), ids.device());
        let data = ids.clone().into_data();
        match self {
            Self::Values(table) => {
                data.iter::<i64>()
                    .try_for_each(|id| self.row(id).map(drop))?;
                Ok(module::embedding(table.tensor().clone(), ids))
            }
            Self::Packed(_) => {
                let rows = self.rows(batch * tokens, data.iter::<i64>())?.into_vec();
                let width = rows.len() / (batch * tokens).max(1);
                let data = TensorData::new(rows, [batch, tokens, width]);
                Ok(Tensor::from_data(data, &device))
            }
        }
    }

    /// `[count, width]` of so many `ids`.
    fn rows(
        &self,
        count: usize,
        ids: impl Iterator<Item = i64>,
    ) -> Result<Scratch<f32>, StageError> {
        let width = match self {
            Self::Values(table) => table.tensor().dims()[1],
            Self::Packed(table) => table.cols(),
        };
        let mut vectors = Scratch::unwritten(count * width);
        for (id, vector) in ids.zip(vectors.chunks_exact_mut(width)) {
            let row = self.row(id)?;
            match self {
                Self::Values(table) => {
                    vector.copy_from_slice(&table.values()[row * width..(row + 1) * width]);
                }
                Self::Packed(table) => table.decode(row, vector),
            }
        }
        Ok(vectors)
    }

    /// The row that `found` names.
    fn row(&self, found: i64) -> Result<usize, StageError> {
        let vocabulary = match self {
            Self::Values(table) => table.tensor().dims()[0],
            Self::Packed(table) => table.rows(),
        };
        let row = usize::try_from(found).ok();
        row.filter(|row| *row < vocabulary)
            .ok_or(StageError::Token { found, vocabulary })
    }
}

struct TextEmbedding {
    tokens: TokenTable,
    scale: f64,
    /// From the first position on.
    positions: Option<Constant<2>>,
    /// `[1, width]`.
    token_type: Option<Constant<2>>,
    norm: Option<Norm>,
    projection: Option<Linear>,
    word_projection: Option<Linear>,
}

impl TextEmbedding {
    /// The vectors of tokens of which the first is at position `start`.
    fn from(&self, start: usize, hidden: Hidden, tap: &mut dyn Tap) -> Result<Hidden, StageError> {
        let ids = hidden.into_tokens(|| "embedding".to_owned())?;
        let tokens = ids.dims()[1];
        let mut x = self.tokens.vectors(ids)?;
        if self.scale.to_bits() != 1.0_f64.to_bits() {
            x = x * self.scale;
        }
        if let Some(layer) = &self.word_projection {
            x = layer.forward(x, &mut NoTap);
        }
        // The order of the sums is transformers': word + type, then position.
        if let Some(row) = &self.token_type {
            x = x + row.tensor().clone().unsqueeze::<3>();
        }
        if let Some(positions) = &self.positions {
            check_position(positions, start + tokens)?;
            let positions = positions.tensor().clone();
            x = x + positions.narrow(0, start, tokens).unsqueeze::<3>();
        }
        if let Some(norm) = &self.norm {
            x = norm.seen(x, tap);
        }
        if let Some(layer) = &self.projection {
            x = layer.forward(x, &mut NoTap);
        }
        Ok(Hidden::States(x))
    }

    /// The same of one token `ids` of each of several texts, in host memory.
    fn rows(&self, ids: &[u32], caches: &[&mut KeyValueCache]) -> Result<Scratch<f32>, StageError> {
        let all = ids.iter().map(|id| i64::from(*id));
        let mut x = self.tokens.rows(ids.len(), all)?;
        if self.scale.to_bits() != 1.0_f64.to_bits() {
            scale_rows(self.scale, &mut x);
        }
        if let Some(layer) = &self.word_projection {
            x = layer.rows(&x);
        }
        if let Some(row) = &self.token_type {
            add_to_rows(row.values(), &mut x);
        }
        if let Some(positions) = &self.positions {
            let width = positions.tensor().dims()[1];
            for (row, cache) in x.chunks_exact_mut(width).zip(caches) {
                let at = cache.tokens();
                check_position(positions, at + 1)?;
                add(&positions.values()[at * width..(at + 1) * width], row);
            }
        }
        if let Some(norm) = &self.norm {
            x = norm.rows(&x);
        }
        if let Some(layer) = &self.projection {
            x = layer.rows(&x);
        }
        Ok(x)
    }

    /// The vectors of the tokens after those that `cache` has counted.
    fn after(&self, hidden: Hidden, cache: &mut KeyValueCache) -> Result<Hidden, StageError> {
        let start = cache.tokens();
        let found = self.from(start, hidden, &mut NoTap)?;
        if let Hidden::States(states) = &found {
            cache.pass(states.dims()[1]);
        }
        Ok(found)
    }
}

impl Stage for TextEmbedding {
    fn forward(&self, hidden: Hidden, tap: &mut dyn Tap) -> Result<Hidden, StageError> {
        self.from(0, hidden, tap)
    }

    fn begin(&self, hidden: Hidden, cache: &mut KeyValueCache) -> Result<Hidden, StageError> {
        self.after(hidden, cache)
    }

    fn takes_pieces(&self) -> bool {
        true
    }

    fn next_of_each(
        &self,
        next: NextTokens,
        caches: &mut [&mut KeyValueCache],
        _device: &Device,
    ) -> Result<NextTokens, StageError> {
        let ids = next.into_ids(|| "embedding".to_owned())?;
        let rows = self.rows(&ids, caches)?;
        for cache in caches {
            cache.pass(1);
        }
        Ok(NextTokens::Rows(rows))
    }
}

/// That there is a vector for the last of so many `tokens`.
fn check_position(positions: &Constant<2>, tokens: usize) -> Result<(), StageError> {
    let limit = positions.tensor().dims()[0];
    if tokens > limit {
        return Err(StageError::TooLong {
            found: tokens,
            limit,
        });
    }
    Ok(())
}
