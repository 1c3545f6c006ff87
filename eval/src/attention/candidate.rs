//! A configured way of keeping keys and values, or of attending to them, and what it is planned to do with a model.

use super::size::PlannedCache;
use calib::Model;
use calib::layers::Rope;
use quantizers::attentions::{AttentionError, GroupShape, SparseAttention};
use quantizers::caches::{CacheError, CachePlan, CacheQuantizer, CacheShape, KeyHook};
use quantizers::graph::{AttentionNode, Graph, Pattern, QkvNode};
use std::error::Error;
use std::sync::Arc;
use thiserror::Error;

/// What is said of methods that would weigh errors by gradients of the loss.
const WITHOUT_GRADIENTS: &str = "fitted without gradients of the loss, which are not known of keys that are normalised after their rotation";

/// What changes.
pub enum Way {
    /// How keys and values are kept.
    Cache(Box<dyn CacheQuantizer>),
    /// Which keys are attended to.
    Attention(Arc<dyn SparseAttention>),
}

/// A configured method with the name it is shown by.
pub struct Candidate {
    /// Name of the method.
    pub method: &'static str,
    /// The method with its parameters, as a person would write them.
    pub label: String,
    /// The flag of an engine that does the same.
    pub engines: Option<&'static str>,
    /// The method.
    pub way: Way,
    /// Blocks that stay as they are.
    pub kept: Vec<usize>,
}

/// A model that a method cannot be tried on.
#[derive(Debug, Error)]
pub enum Refused {
    /// Keys and values of all heads are made from one narrow vector, which is what a cache of such a model holds.
    #[error(
        "block {block} has latent attention: its cache holds one vector a token, not keys and values of heads"
    )]
    Latent {
        /// Number of the block.
        block: usize,
    },
    /// A block that looks ahead has no cache.
    #[error("block {block} sees tokens on both sides: there is no cache")]
    NotCausal {
        /// Number of the block.
        block: usize,
    },
    /// Scores that are more than a product, which a method that looks at few keys does not know of.
    #[error("{method}: block {block} does more to its scores than multiply: {found}")]
    Scores {
        /// The method.
        method: String,
        /// Number of the block.
        block: usize,
        /// What it does.
        found: &'static str,
    },
    /// The method cannot hold these keys and values.
    #[error("{method}: block {block}")]
    Cache {
        /// The method.
        method: String,
        /// Number of the block.
        block: usize,
        /// Why.
        source: CacheError,
    },
    /// The method cannot attend to these.
    #[error("{method}: block {block}")]
    Attention {
        /// The method.
        method: String,
        /// Number of the block.
        block: usize,
        /// Why.
        source: AttentionError,
    },
}

impl Refused {
    /// The message with its causes, on one line.
    pub fn with_causes(&self) -> String {
        let (mut text, mut next) = (self.to_string(), self.source());
        while let Some(cause) = next {
            text = format!("{text}: {cause}");
            next = cause.source();
        }
        text
    }

    /// What the user could do about it, in one line.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Cache { source, .. } => source.hint(),
            Self::Attention { source, .. } => source.hint(),
            Self::Scores { .. } => {
                Some("`quench list caches` shows what such a model can do".to_owned())
            }
            Self::Latent { .. } | Self::NotCausal { .. } => None,
        }
    }
}

/// The attention of one block, as far as methods ask.
pub struct BlockShape {
    /// What its cache holds.
    pub cache: CacheShape,
    /// What a method that attends is given.
    pub group: GroupShape,
    /// The rotation of its queries and keys, where nothing comes after it.
    pub rope: Option<Arc<Rope>>,
    /// It sees only the last tokens.
    sliding: bool,
    /// What it does to scores beside multiplying.
    more: Option<&'static str>,
    /// Keys are normalised after they are rotated.
    normalises_rotated: bool,
}

/// The attention of all blocks of `model` on texts of `tokens`.
///
/// # Errors
/// A block without keys and values of heads, or one that looks ahead.
pub fn shapes(model: &dyn Model, tokens: usize) -> Result<Vec<BlockShape>, Refused> {
    shapes_of(model.graph(), tokens)
}

/// The same from the wiring of a model.
///
/// # Errors
/// As [`shapes`].
pub fn shapes_of(graph: &Graph, tokens: usize) -> Result<Vec<BlockShape>, Refused> {
    let layers = graph.blocks().count();
    let blocks = graph.blocks();
    blocks
        .map(|block| shape(block.index, layers, tokens, &block.attention))
        .collect()
}

fn shape(
    block: usize,
    layers: usize,
    tokens: usize,
    node: &AttentionNode,
) -> Result<BlockShape, Refused> {
    if matches!(node.qkv, QkvNode::Latent(_)) {
        return Err(Refused::Latent { block });
    }
    if !node.pattern.is_causal() {
        return Err(Refused::NotCausal { block });
    }
    let rope = node.rope.as_ref().filter(|_| !node.norm_after_rope);
    let rope = rope.map(|rope| Arc::new(Rope::new(rope)));
    Ok(BlockShape {
        cache: CacheShape {
            layer: block,
            layers,
            kv_heads: node.kv_heads,
            key_dim: node.head_dim,
            value_dim: node.head_dim,
        },
        group: GroupShape {
            tokens,
            head_dim: node.head_dim,
            value_dim: node.head_dim,
            query_heads: node.heads / node.kv_heads.max(1),
            causal: true,
            rotary: rope.is_some(),
            layer: block,
            layers,
        },
        rope,
        sliding: matches!(node.pattern, Pattern::Sliding { .. }),
        more: match node {
            _ if node.softcap.is_some() => Some("it caps them"),
            _ if node.slopes.is_some() => Some("it takes from them by distance"),
            _ if node.sinks.is_some() => Some("it has a score without a value"),
            _ => None,
        },
        normalises_rotated: node.norm_after_rope,
    })
}

/// What a candidate does in one block.
#[derive(Debug, Clone, PartialEq)]
pub enum BlockPlan {
    /// Nothing.
    Kept,
    /// Keeps keys and values otherwise.
    Cache(CachePlan),
    /// Attends otherwise.
    Attention {
        /// What the method has to say.
        notes: Vec<String>,
    },
}

impl BlockPlan {
    /// Whether new tokens stay as they are for a while.
    pub fn waits(&self) -> bool {
        let Self::Cache(plan) = self else {
            return false;
        };
        plan.recent_keys.max(plan.recent_values) > 0 || plan.chunk.max(plan.value_chunk) > 1
    }

    /// Whether it is fitted with gradients of the loss.
    pub fn wants_gradients(&self) -> bool {
        matches!(self, Self::Cache(plan) if plan.wants_gradients)
    }

    /// What the method has to say.
    pub fn notes(&self) -> &[String] {
        match self {
            Self::Kept => &[],
            Self::Cache(plan) => &plan.notes,
            Self::Attention { notes } => notes,
        }
    }
}

impl Candidate {
    /// What it does in each block.
    ///
    /// # Errors
    /// A block the method cannot be used in.
    pub fn plans(&self, shapes: &[BlockShape]) -> Result<Vec<BlockPlan>, Refused> {
        shapes.iter().map(|shape| self.plan(shape)).collect()
    }

    fn plan(&self, shape: &BlockShape) -> Result<BlockPlan, Refused> {
        let block = shape.cache.layer;
        if self.kept.contains(&block) {
            return Ok(BlockPlan::Kept);
        }
        let method = || self.label.clone();
        match &self.way {
            Way::Cache(quantizer) => {
                let plan = quantizer.plan(shape.cache).map(|mut plan| {
                    // Gradients are taken before the rotation, and nothing but a rotation turns them as it turns keys.
                    if plan.hook == KeyHook::AfterRotary && shape.normalises_rotated {
                        plan.wants_gradients = false;
                        plan.notes.push(WITHOUT_GRADIENTS.to_owned());
                    }
                    plan
                });
                plan.map(BlockPlan::Cache).map_err(|source| Refused::Cache {
                    method: method(),
                    block,
                    source,
                })
            }
            // It looks at few keys already.
            Way::Attention(_) if shape.sliding => Ok(BlockPlan::Kept),
            Way::Attention(attention) => {
                if let Some(found) = shape.more {
                    return Err(Refused::Scores {
                        method: method(),
                        block,
                        found,
                    });
                }
                let notes = attention.plan(&shape.group);
                let notes = notes.map_err(|source| Refused::Attention {
                    method: method(),
                    block,
                    source,
                })?;
                Ok(BlockPlan::Attention { notes })
            }
        }
    }

    /// Its plans with the shapes of the cache, for counting bytes.
    pub fn planned_caches(shapes: &[BlockShape], plans: &[BlockPlan]) -> Vec<PlannedCache> {
        let blocks = shapes.iter().zip(plans).map(|(shape, plan)| PlannedCache {
            shape: shape.cache,
            plan: match plan {
                BlockPlan::Cache(plan) => Some(plan.clone()),
                BlockPlan::Kept | BlockPlan::Attention { .. } => None,
            },
        });
        blocks.collect()
    }
}
