//! First stage of text models: token ids to hidden states.

use super::Loader;
use super::linear::Linear;
use super::norm::Norm;
use crate::architectures::StageSpec;
use crate::{Hidden, KeyValueCache, NoTap, Stage, StageError, Tap};
use burn::tensor::{Int, Tensor, TensorData, module};
use quantizers::graph::{LinearNode, StageNode, TensorSpec, TokenInputNode};
use quantizers::kernels::PackedMatrix;
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
                None => TokenTable::Values(loader.read(&self.tokens)?),
            },
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

/// A vector for each token `[vocabulary, width]`.
#[expect(clippy::large_enum_variant, reason = "one per model")]
enum TokenTable {
    Values(Tensor<2>),
    /// As it is stored: the few rows that are asked for are decoded.
    Packed(Arc<PackedMatrix>),
}

impl TokenTable {
    /// `[batch, tokens]` to `[batch, tokens, width]`.
    fn vectors(&self, ids: Tensor<2, Int>) -> Result<Tensor<3>, StageError> {
        let (shape, device) = (ids.dims(), ids.device());
        let rows = self.rows(&ids)?;
        Ok(match self {
            Self::Values(table) => module::embedding(table.clone(), ids),
            Self::Packed(table) => {
                let mut vectors = vec![0.0; rows.len() * table.cols()];
                for (row, vector) in rows.iter().zip(vectors.chunks_exact_mut(table.cols())) {
                    table.decode(*row, vector);
                }
                let [batch, tokens] = shape;
                let data = TensorData::new(vectors, [batch, tokens, table.cols()]);
                Tensor::from_data(data, &device)
            }
        })
    }

    /// The rows that `ids` name.
    fn rows(&self, ids: &Tensor<2, Int>) -> Result<Vec<usize>, StageError> {
        let vocabulary = match self {
            Self::Values(table) => table.dims()[0],
            Self::Packed(table) => table.rows(),
        };
        let ids = ids.clone().into_data();
        let rows = ids.iter::<i64>().map(|found| {
            let row = usize::try_from(found).ok();
            row.filter(|row| *row < vocabulary)
                .ok_or(StageError::Token { found, vocabulary })
        });
        rows.collect()
    }
}

struct TextEmbedding {
    tokens: TokenTable,
    scale: f64,
    /// From the first position on.
    positions: Option<Tensor<2>>,
    /// `[1, width]`.
    token_type: Option<Tensor<2>>,
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
            x = x + row.clone().unsqueeze::<3>();
        }
        if let Some(positions) = &self.positions {
            let limit = positions.dims()[0];
            if start + tokens > limit {
                return Err(StageError::TooLong {
                    found: start + tokens,
                    limit,
                });
            }
            x = x + positions.clone().narrow(0, start, tokens).unsqueeze::<3>();
        }
        if let Some(norm) = &self.norm {
            x = norm.seen(x, tap);
        }
        if let Some(layer) = &self.projection {
            x = layer.forward(x, &mut NoTap);
        }
        Ok(Hidden::States(x))
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
        hidden: Hidden,
        caches: &mut [&mut KeyValueCache],
    ) -> Result<Hidden, StageError> {
        if self.positions.is_some() {
            let rows = caches.iter_mut().enumerate();
            let rows = rows.map(|(at, cache)| self.after(hidden.row(at), cache));
            return Hidden::joined(rows.collect::<Result<_, _>>()?);
        }
        for cache in caches {
            cache.pass(1);
        }
        self.from(0, hidden, &mut NoTap)
    }
}
