//! The part of a [`Graph`] that integer programs can be made of: encoders with a plain feed-forward
//! half, borrowed from the graph node by node.

use super::obstacles::{Obstacle, affine, one_row_or_all, plain_patches, stored_by_row, unusual};
use crate::graph::{
    Activation, BlockNode, Gate, Graph, HeadNode, HeadTransform, LinearNode, NormNode,
    NormPlacement, PatchInputNode, Pattern, Positions, Projection, QkvNode, StageNode,
    TokenInputNode,
};
use crate::nonlinear::{self, Nonlinearity};
use thiserror::Error;

/// A model that has no integer-only form here: the first operation in the way.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{architecture}` has no integer-only form: {stage} {reason} (`{layer}`)")]
pub struct GraphError {
    /// Family of the model.
    pub architecture: String,
    /// Its stage, as in progress lines.
    pub stage: String,
    /// The layer or tensor that it happens at.
    pub layer: String,
    /// What is in the way, as a predicate of the stage: `has causal attention`.
    pub reason: &'static str,
}

/// What becomes hidden states first.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Input<'a> {
    /// Token ids.
    Tokens {
        /// The tables.
        node: &'a TokenInputNode,
        /// Longest sequence.
        max_tokens: usize,
    },
    /// Patches of an image.
    Patches(&'a PatchInputNode),
}

/// The nonlinearity of a feed-forward half.
#[derive(Debug, Clone, Copy)]
pub struct ActivationSlot {
    /// The function that replaces it.
    pub nonlinearity: Nonlinearity,
    /// Its float form.
    pub(super) float: fn(f64) -> f64,
    /// Below this its outputs are zero at any grid of 8 bits.
    pub(super) floor: f64,
}

/// Below this GELU is zero at any output grid of 8 bits.
const FLOOR: f64 = -6.0;

/// One block: attention and a plain feed-forward half.
#[derive(Debug, Clone, Copy)]
pub struct Block<'a> {
    /// Queries.
    pub query: &'a LinearNode,
    /// Keys.
    pub key: &'a LinearNode,
    /// Values.
    pub value: &'a LinearNode,
    /// Output projection; its input point is the attended values.
    pub output: &'a LinearNode,
    /// Heads.
    pub heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Factor on `Q K^T`.
    pub scale: f64,
    /// Normalisation of the attention half.
    pub attention_norm: &'a NormNode,
    /// First layer of the feed-forward half.
    pub up: &'a LinearNode,
    /// Second layer; its input point is the activation's output.
    pub down: &'a LinearNode,
    /// Between them.
    pub activation: ActivationSlot,
    /// Normalisation of the feed-forward half.
    pub mlp_norm: &'a NormNode,
    /// `x + f(norm(x))` if true, `norm(x + f(x))` if not.
    pub pre_norm: bool,
}

/// What becomes of the last hidden states.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Head<'a> {
    /// Only the first position goes on.
    pub first_only: bool,
    /// Final normalisation.
    pub norm: Option<&'a NormNode>,
    /// A linear layer followed by tanh; the tanh is seen at the classifier's input point.
    pub pooler: Option<&'a LinearNode>,
    /// To class logits.
    pub classifier: Option<&'a LinearNode>,
}

/// A whole encoder.
#[derive(Debug, Clone)]
pub struct Encoder<'a> {
    /// Width of the hidden states.
    pub width: usize,
    /// First stage.
    pub input: Input<'a>,
    /// Blocks, in order.
    pub blocks: Vec<Block<'a>>,
    /// Last stage.
    pub head: Head<'a>,
}

impl<'a> Encoder<'a> {
    /// The encoder `graph` describes.
    ///
    /// # Errors
    /// The first operation that integer programs do not have.
    pub fn of(graph: &'a Graph) -> Result<Self, GraphError> {
        let error = |stage: &str, (layer, reason): Obstacle<'_>| GraphError {
            architecture: graph.architecture.clone(),
            stage: stage.to_owned(),
            layer: layer.to_owned(),
            reason,
        };
        let mut parts = (None, Vec::new(), Head::default());
        for stage in &graph.stages {
            let added = add(graph, stage, &mut parts);
            added.map_err(|obstacle| error(&stage.name(), obstacle))?;
        }
        let (input, blocks, head) = parts;
        let (width, input) =
            input.ok_or_else(|| error("the model", ("embedding", "has no such stage")))?;
        Ok(Self {
            width,
            input,
            blocks,
            head,
        })
    }

    /// Its linear layers, in execution order; the projection of patches is not among them.
    pub fn linears(&self) -> impl Iterator<Item = &'a LinearNode> {
        let blocks = self.blocks.iter().flat_map(|block| {
            [
                block.query,
                block.key,
                block.value,
                block.output,
                block.up,
                block.down,
            ]
        });
        blocks.chain(self.head.pooler).chain(self.head.classifier)
    }

    /// Its normalisations, in execution order.
    pub fn norms(&self) -> impl Iterator<Item = &'a NormNode> {
        let first = match self.input {
            Input::Tokens { node, .. } => node.norm.as_ref(),
            Input::Patches(_) => None,
        };
        let blocks = self
            .blocks
            .iter()
            .flat_map(|block| [block.attention_norm, block.mlp_norm]);
        first.into_iter().chain(blocks).chain(self.head.norm)
    }
}

/// Width and input, blocks, head.
type Parts<'a> = (Option<(usize, Input<'a>)>, Vec<Block<'a>>, Head<'a>);

fn add<'a>(
    graph: &'a Graph,
    stage: &'a StageNode,
    (input, blocks, last): &mut Parts<'a>,
) -> Result<(), Obstacle<'a>> {
    match stage {
        StageNode::Tokens(node) if input.is_some() => {
            return Err((&node.tokens.name, "begins a second tower"));
        }
        StageNode::Tokens(node) => {
            let tokens = &node.tokens;
            let max_tokens = graph
                .max_rows()
                .ok_or((tokens.name.as_str(), "takes sequences of any length"))?;
            let projection = node.projection.as_ref().or(node.word_projection.as_ref());
            if let Some(layer) = projection {
                return Err((&layer.name, "projects token vectors"));
            }
            if node.scale.to_bits() != 1.0_f64.to_bits() {
                return Err((&tokens.name, "multiplies token vectors"));
            }
            *input = Some((tokens.shape[1], Input::Tokens { node, max_tokens }));
        }
        StageNode::Patches(node) => {
            plain_patches(node)?;
            *input = Some((node.projection.shape[0], Input::Patches(node)));
        }
        StageNode::Block(node) => blocks.push(block(node)?),
        StageNode::Head(node) => *last = head(node)?,
        StageNode::Opaque { inventory, .. } => {
            let first = inventory.linears.first();
            let layer = first.map_or("stage", |layer| layer.name.as_str());
            return Err((layer, "is of a kind of its own"));
        }
    }
    Ok(())
}

fn block<'a>(node: &'a BlockNode) -> Result<Block<'a>, Obstacle<'a>> {
    let attention = &node.attention;
    let output = attention.output.name.as_str();
    if let Some(obstacle) = unusual(node) {
        return Err(obstacle);
    }
    match attention.pattern {
        Pattern::Full => {}
        Pattern::Local { .. } => return Err((output, "attends to neighbours only")),
        Pattern::Causal | Pattern::Sliding { .. } => {
            return Err((output, "has causal attention"));
        }
    }
    if attention.rope.is_some() {
        return Err((output, "rotates queries and keys"));
    }
    if let Some(norm) = attention
        .query_norm
        .as_ref()
        .or(attention.key_norm.as_ref())
    {
        return Err((norm.name(), "normalises query and key heads"));
    }
    if attention.kv_heads != attention.heads {
        return Err((output, "shares key heads among query heads"));
    }
    let [query, key, value] = match &attention.qkv {
        QkvNode::Separate { query, key, value } => [query, key, value],
        QkvNode::Fused { layer, .. } => {
            let reason = "projects queries, keys and values with one layer";
            return Err((&layer.name, reason));
        }
        QkvNode::Latent(latent) => {
            return Err((
                &latent.compress.name,
                "makes keys and values from a latent vector",
            ));
        }
    };
    let Some(mlp) = node.mlp.dense() else {
        return Err((output, "has experts"));
    };
    match &mlp.gate {
        Gate::None => {}
        Gate::Layer(gate) => return Err((&gate.name, "has a gated feed-forward half")),
        Gate::FirstHalf | Gate::SecondHalf | Gate::Alternating { .. } => {
            return Err((&mlp.up.name, "has a gated feed-forward half"));
        }
    }
    let norm = |norm: &'a Option<NormNode>| {
        let norm = norm.as_ref().ok_or((output, "has no norm in one half"))?;
        affine(norm)
    };
    Ok(Block {
        query: stored_by_row(query)?,
        key: stored_by_row(key)?,
        value: stored_by_row(value)?,
        output: stored_by_row(&attention.output)?,
        heads: attention.heads,
        head_dim: attention.head_dim,
        scale: attention.scale,
        attention_norm: norm(&node.attention_norm)?,
        up: stored_by_row(&mlp.up)?,
        down: stored_by_row(&mlp.down)?,
        activation: slot(mlp.activation).map_err(|reason| (mlp.up.name.as_str(), reason))?,
        mlp_norm: norm(&node.mlp_norm)?,
        pre_norm: node.placement == NormPlacement::Before,
    })
}

fn head(node: &HeadNode) -> Result<Head<'_>, Obstacle<'_>> {
    let classifier = match &node.projection {
        Some(Projection::Layer(layer))
            if node.positions == Positions::All && node.pooling.is_none() =>
        {
            return Err((&layer.name, "predicts something at every position"));
        }
        Some(Projection::Layer(layer)) => Some(layer),
        Some(Projection::Tied { table, .. }) => {
            return Err((&table.name, "predicts tokens with the token table"));
        }
        Some(Projection::Averaged(layers)) => {
            let layer = layers.first().map_or("", |layer| layer.name.as_str());
            return Err((layer, "averages several classifiers"));
        }
        None => None,
    };
    one_row_or_all(node)?;
    let pooler = match &node.transform {
        Some(HeadTransform {
            layer,
            activation: Some(Activation::Tanh),
            norm: None,
        }) => Some(stored_by_row(layer)?),
        Some(transform) => {
            return Err((
                &transform.layer.name,
                "has a layer before the last one that is no pooler",
            ));
        }
        None => None,
    };
    Ok(Head {
        first_only: node.positions == Positions::First,
        norm: node.norm.as_ref().map(affine).transpose()?,
        pooler,
        classifier: classifier.map(stored_by_row).transpose()?,
    })
}

fn slot(activation: Activation) -> Result<ActivationSlot, &'static str> {
    let (nonlinearity, float, floor): (_, fn(f64) -> f64, f64) = match activation {
        Activation::Gelu => (Nonlinearity::Gelu, nonlinear::gelu, FLOOR),
        Activation::GeluTanh => (Nonlinearity::GeluTanh, nonlinear::gelu_tanh, FLOOR),
        // x sigmoid(x) fades more slowly: 2e-6 there.
        Activation::Silu => (Nonlinearity::Silu, nonlinear::silu, 2.75 * FLOOR),
        Activation::Relu => (Nonlinearity::Relu, nonlinear::relu, 0.0),
        Activation::GeluQuick => return Err("activates with `quick_gelu`"),
        Activation::ReluSquared => return Err("activates with `relu2`"),
        Activation::Tanh => return Err("activates with `tanh`"),
    };
    Ok(ActivationSlot {
        nonlinearity,
        float,
        floor,
    })
}
