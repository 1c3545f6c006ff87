//! Which part of a block can take a factor per channel in front of linear layers.
//!
//! `W x = (W s) (x / s)`: the factors `s` go into the columns of the layers that read `x`, their
//! inverse into whatever makes `x`. That works where nothing else reads `x`, and where what makes
//! it is linear in a parameter of the same channel.

use super::activation::Activation;
use super::attention::AttentionNode;
use super::block::{BlockNode, NormPlacement};
use super::linear::{LinearNode, LinearRows};
use super::norm::NormNode;
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
        vec![
            self.behind_norm(
                &self.attention_norm,
                attention.projections(),
                &attention.output,
            ),
            Ok(behind_values(attention)),
            self.behind_norm(&self.mlp_norm, self.mlp.projections(), &self.mlp.down),
            self.behind_up(),
        ]
    }

    fn behind_norm<'a>(
        &'a self,
        norm: &'a NormNode,
        consumers: Vec<&'a LinearNode>,
        last: &LinearNode,
    ) -> Result<Scaling<'a>, Unscalable> {
        match self.placement {
            NormPlacement::Before => Ok(Scaling {
                producer: Producer::Norm(norm),
                sources: (0..norm.width).collect(),
                consumers,
                outcome: last.output_point(),
            }),
            NormPlacement::AfterResidual => Err(unscalable(
                &consumers,
                "the residual reads the same normalised states".to_owned(),
            )),
        }
    }

    fn behind_up(&self) -> Result<Scaling<'_>, Unscalable> {
        let mlp = &self.mlp;
        // max(x / s, 0) = max(x, 0) / s for s above zero; a gate multiplies what up makes.
        if mlp.gate.is_none() && mlp.activation != Activation::Relu {
            let reason = format!("`{}` is not linear", mlp.activation.name());
            return Err(unscalable(&[&mlp.down], reason));
        }
        Ok(Scaling {
            producer: Producer::Linear(mlp.up.all_rows()),
            sources: (0..mlp.down.cols).collect(),
            consumers: vec![&mlp.down],
            outcome: mlp.down.output_point(),
        })
    }
}

/// Attention weights add up values of one channel: a factor goes through them.
fn behind_values(attention: &AttentionNode) -> Scaling<'_> {
    let [_, _, value] = attention.query_key_value();
    let head_dim = attention.head_dim;
    let sharing = attention.heads / attention.kv_heads;
    let source = |channel: usize| {
        let head = channel / head_dim;
        head / sharing * head_dim + channel % head_dim
    };
    Scaling {
        producer: Producer::Linear(value),
        sources: (0..attention.heads * head_dim).map(source).collect(),
        consumers: vec![&attention.output],
        outcome: attention.output.output_point(),
    }
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
