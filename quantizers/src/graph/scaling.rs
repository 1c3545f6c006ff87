//! Which part of a block can take a factor per channel in front of linear layers.
//!
//! `W x = (W s) (x / s)`: the factors `s` go into the columns of the layers that read `x`, their
//! inverse into whatever makes `x`. That works where nothing else reads `x`, and where what makes
//! it is linear in a parameter of the same channel.

use super::activation::Activation;
use super::attention::AttentionNode;
use super::block::{BlockNode, NormPlacement};
use super::feed_forward::{FeedForwardNode, Gate};
use super::linear::{LinearNode, LinearRows};
use super::mlp::MlpNode;
use super::norm::{NormNode, NormParameters};
use super::wiring::Graph;
use thiserror::Error;

/// What the inverse factors are folded into.
#[derive(Debug, Clone, PartialEq)]
pub enum Producer<'a> {
    /// The weight and bias of a normalisation.
    Norm(&'a NormNode),
    /// Rows of the weight, and values of the bias, of a linear layer.
    Linear(LinearRows<'a>),
}

/// A set of layers that can have a factor per input channel.
#[derive(Debug, Clone, PartialEq)]
pub struct Scaling<'a> {
    /// Takes the inverse factors.
    pub producer: Producer<'a>,
    /// For each input channel of the consumers, the channel of the producer that makes it. Channels
    /// with one source (value heads that several query heads share) have one factor.
    pub sources: Vec<usize>,
    /// The layers that read the channels; all of them.
    pub consumers: Vec<&'a LinearNode>,
    /// Where the effect of the consumers is seen: the output of the half they belong to.
    pub outcome: String,
}

impl Scaling<'_> {
    /// Where the channels are seen.
    pub fn point(&self) -> &str {
        self.consumers
            .first()
            .map_or("", |layer| &layer.input_point)
    }

    /// Number of independent factors.
    pub fn channels(&self) -> usize {
        match &self.producer {
            Producer::Norm(norm) => norm.width,
            Producer::Linear(rows) => rows.rows.len(),
        }
    }
}

/// A set of layers whose inputs cannot have factors, and why.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("no factors in front of {}: {reason}", named(layers))]
pub struct Unscalable {
    /// The layers.
    pub layers: Vec<String>,
    /// What is in the way.
    pub reason: String,
}

impl Graph {
    /// The sets of layers of the block at stage `stage` that can take factors in front of them, in
    /// execution order; none where that stage is another kind.
    pub fn scalings_at(&self, stage: usize) -> impl Iterator<Item = Scaling<'_>> {
        let block = self.block_at(stage);
        block.into_iter().flat_map(BlockNode::scalings).flatten()
    }
}

impl BlockNode {
    /// The sets of layers of this block in execution order (projections of the attention, its output
    /// layer, gate and up, down): what can take factors in front of them, or why nothing can.
    pub fn scalings(&self) -> Vec<Result<Scaling<'_>, Unscalable>> {
        let attention = &self.attention;
        if self.repeated {
            let reason = "their weights are those of an earlier block".to_owned();
            return vec![Err(unscalable(&self.linears(), reason))];
        }
        let mut sets = vec![self.behind_norm(
            self.attention_norm.as_ref(),
            attention.projections(),
            &attention.output,
        )];
        for (norm, layer) in attention.expansions() {
            sets.push(Ok(Scaling {
                producer: Producer::Norm(norm),
                sources: (0..norm.width).collect(),
                consumers: vec![layer],
                outcome: layer.output_point(),
            }));
        }
        sets.push(behind_values(attention));
        match &self.mlp {
            MlpNode::Dense(mlp) => {
                sets.push(self.behind_norm(self.mlp_norm.as_ref(), mlp.projections(), &mlp.down));
                sets.push(behind_up(mlp));
            }
            MlpNode::Experts(node) => {
                let inputs: Vec<&LinearNode> = node
                    .experts
                    .iter()
                    .chain(&node.shared)
                    .flat_map(FeedForwardNode::projections)
                    .collect();
                let reason = "the router reads the same states, and every expert other tokens";
                sets.push(Err(unscalable(&inputs, reason.to_owned())));
                sets.extend(node.experts.iter().chain(&node.shared).map(behind_up));
            }
        }
        sets
    }

    fn behind_norm<'a>(
        &'a self,
        norm: Option<&'a NormNode>,
        consumers: Vec<&'a LinearNode>,
        last: &LinearNode,
    ) -> Result<Scaling<'a>, Unscalable> {
        let reason = match (self.placement, norm) {
            (NormPlacement::AfterResidual, _) => "the residual reads the same normalised states",
            (_, None) => "the half reads what others read too, with no norm of its own before it",
            (_, Some(_)) if self.parallel && self.mlp_norm.is_none() => {
                "both halves read what one norm makes"
            }
            (_, Some(norm)) if norm.parameters == NormParameters::None => {
                "the norm before it has no factors"
            }
            (NormPlacement::Before, Some(norm)) => {
                return Ok(Scaling {
                    producer: Producer::Norm(norm),
                    sources: (0..norm.width).collect(),
                    consumers,
                    outcome: last.output_point(),
                });
            }
        };
        Err(unscalable(&consumers, reason.to_owned()))
    }
}

fn behind_up(mlp: &FeedForwardNode) -> Result<Scaling<'_>, Unscalable> {
    let inner = mlp.down.cols;
    let rows = match &mlp.gate {
        Gate::Layer(_) => mlp.up.all_rows(),
        Gate::FirstHalf => mlp.up.rows_at(inner..2 * inner),
        Gate::SecondHalf => mlp.up.rows_at(0..inner),
        // max(x / s, 0) = max(x, 0) / s for s above zero; a gate multiplies what up makes.
        Gate::None if mlp.activation == Activation::Relu => mlp.up.all_rows(),
        Gate::Alternating { .. } => {
            let reason = "what it multiplies is clamped".to_owned();
            return Err(unscalable(&[&mlp.down], reason));
        }
        Gate::None => {
            let reason = format!("`{}` is not linear", mlp.activation.name());
            return Err(unscalable(&[&mlp.down], reason));
        }
    };
    Ok(Scaling {
        producer: Producer::Linear(rows),
        sources: (0..inner).collect(),
        consumers: vec![&mlp.down],
        outcome: mlp.down.output_point(),
    })
}

/// Attention weights add up values of one channel: a factor goes through them.
fn behind_values(attention: &AttentionNode) -> Result<Scaling<'_>, Unscalable> {
    if attention.clip.is_some() {
        let reason = "values are clamped before they are attended".to_owned();
        return Err(unscalable(&[&attention.output], reason));
    }
    let Some([_, _, value]) = attention.query_key_value() else {
        let reason = "the values are scattered over the rows of another projection".to_owned();
        return Err(unscalable(&[&attention.output], reason));
    };
    let head_dim = attention.head_dim;
    let sharing = attention.heads / attention.kv_heads;
    let source = |channel: usize| {
        let head = channel / head_dim;
        head / sharing * head_dim + channel % head_dim
    };
    Ok(Scaling {
        producer: Producer::Linear(value),
        sources: (0..attention.heads * head_dim).map(source).collect(),
        consumers: vec![&attention.output],
        outcome: attention.output.output_point(),
    })
}

fn unscalable(layers: &[&LinearNode], reason: String) -> Unscalable {
    Unscalable {
        layers: layers.iter().map(|layer| layer.name.clone()).collect(),
        reason,
    }
}

fn named(layers: &[String]) -> String {
    let quoted: Vec<String> = layers.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}
