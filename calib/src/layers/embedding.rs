//! First stage of text models: token ids to hidden states.

use super::Loader;
use super::linear::Linear;
use super::norm::Norm;
use crate::architectures::StageSpec;
use crate::{Hidden, KeyValueCache, NoTap, Stage, StageError, Tap};
use burn::tensor::{Int, Tensor, module};
use quantizers::graph::{LinearNode, StageNode, TensorSpec, TokenInputNode};

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

impl TextEmbedding {
    /// The vectors of tokens of which the first is at position `start`.
    fn from(&self, start: usize, hidden: Hidden, tap: &mut dyn Tap) -> Result<Hidden, StageError> {
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

    fn next(&self, hidden: Hidden, cache: &mut KeyValueCache) -> Result<Hidden, StageError> {
        self.after(hidden, cache)
    }
}

fn check_ids(ids: &Tensor<2, Int>, vocabulary: usize) -> Result<(), StageError> {
    let outside = |id: &i64| usize::try_from(*id).map_or(true, |id| id >= vocabulary);
    match ids.clone().into_data().iter::<i64>().find(outside) {
        Some(found) => Err(StageError::Token { found, vocabulary }),
        None => Ok(()),
    }
}
