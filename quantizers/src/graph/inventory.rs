//! Everything a stage reads, in execution order.

use super::attention::AttentionNode;
use super::block::BlockNode;
use super::ends::{HeadNode, Pooling, PoolingNode, Projection, TokenInputNode};
use super::experts::ExpertsNode;
use super::linear::LinearNode;
use super::mlp::MlpNode;
use super::norm::NormNode;
use super::patches::PatchInputNode;
use super::tensors::{Point, TensorSpec};
use serde::{Deserialize, Serialize};

/// Everything one stage reads, in execution order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inventory {
    /// Tensors, each once.
    pub tensors: Vec<TensorSpec>,
    /// The linear layers among them that can be quantized.
    pub linears: Vec<LinearNode>,
    /// Where activations are seen, each once.
    pub points: Vec<Point>,
}

impl Inventory {
    /// Adds a tensor.
    pub fn tensor(&mut self, tensor: TensorSpec) {
        self.tensors.push(tensor);
    }

    /// Adds a point with `width` channels, unless it is there already.
    pub fn point(&mut self, name: impl Into<String>, width: usize) {
        let name = name.into();
        if self.points.iter().all(|point| point.name != name) {
            self.points.push(Point { name, width });
        }
    }

    /// Adds a linear layer, its tensors and its points.
    pub fn linear(&mut self, layer: &LinearNode) {
        self.tensor(layer.weight());
        self.tensors.extend(layer.bias_tensor());
        self.point(&layer.input_point, layer.cols);
        self.point(layer.output_point(), layer.rows);
        self.linears.push(layer.clone());
    }

    /// Adds the tensors and points of a normalisation.
    pub fn norm(&mut self, norm: &NormNode) {
        self.tensors.extend(norm.weight());
        self.tensors.extend(norm.bias());
        self.point(norm.input_point(), norm.width);
        self.point(norm.output_point(), norm.width);
    }

    /// Adds the first stage of a text model.
    pub fn tokens(&mut self, input: &TokenInputNode) {
        self.tensor(input.tokens.clone());
        for table in [&input.positions, &input.token_types].into_iter().flatten() {
            self.tensor(table.clone());
        }
        // The layers of these are part of the embedding, which stays as it is.
        let layers = [&input.projection, &input.word_projection];
        for layer in layers.into_iter().flatten() {
            self.tensor(layer.weight());
            self.tensors.extend(layer.bias_tensor());
        }
        if let Some(norm) = &input.norm {
            self.norm(norm);
        }
    }

    /// Adds the first stage of a vision model.
    pub fn patches(&mut self, input: &PatchInputNode) {
        let added = [&input.positions, &input.registers].into_iter().flatten();
        let all = input.tokens.iter().chain(added);
        for tensor in all.chain([&input.projection]).chain(&input.bias) {
            self.tensor(tensor.clone());
        }
        let layer = input.layer();
        self.point(&layer.input_point, layer.cols);
        self.point(layer.output_point(), layer.rows);
        self.norms(input.patch_norm.as_ref());
        self.norms(input.norm.as_ref());
    }

    /// Adds a block.
    pub fn block(&mut self, block: &BlockNode) {
        self.norms(block.attention_norm.as_ref());
        self.attention(&block.attention);
        self.norms(block.attention_output_norm.as_ref());
        self.tensors.extend(block.attention_scale.clone());
        self.norms(block.mlp_norm.as_ref());
        if let MlpNode::Experts(experts) = &block.mlp {
            self.router(experts);
        }
        for layer in block.mlp.linears() {
            self.linear(layer);
        }
        self.norms(block.mlp_output_norm.as_ref());
        self.tensors.extend(block.mlp_scale.clone());
        if block.repeated {
            self.linears.clear();
        }
    }

    fn norms(&mut self, norm: Option<&NormNode>) {
        if let Some(norm) = norm {
            self.norm(norm);
        }
    }

    /// Adds what chooses experts.
    fn router(&mut self, experts: &ExpertsNode) {
        for layer in experts.routers() {
            self.linear(layer);
        }
        self.tensors.extend(experts.routing.correction.clone());
    }

    /// Adds the last stage.
    pub fn head(&mut self, head: &HeadNode) {
        if let Some(norm) = &head.norm {
            self.norm(norm);
        }
        if let Some(Pooling::Attention(node)) = &head.pooling {
            self.pooling(node);
        }
        if let Some(transform) = &head.transform {
            self.linear(&transform.layer);
            self.norms(transform.norm.as_ref());
        }
        match &head.projection {
            Some(Projection::Layer(layer)) => self.linear(layer),
            Some(Projection::Tied { table, bias, .. }) => {
                self.tensor(table.clone());
                self.tensors.extend(bias.clone());
            }
            Some(Projection::Averaged(layers)) => {
                for layer in layers {
                    self.linear(layer);
                }
            }
            None => {}
        }
    }

    fn pooling(&mut self, node: &PoolingNode) {
        for tensor in [&node.probe, &node.projections, &node.projection_bias] {
            self.tensor(tensor.clone());
        }
        self.linear(&node.output);
        self.norm(&node.norm);
        for layer in node.mlp.linears() {
            self.linear(layer);
        }
    }

    fn attention(&mut self, attention: &AttentionNode) {
        for layer in attention.projections() {
            self.linear(layer);
        }
        let norms = [&attention.query_norm, &attention.key_norm];
        for norm in norms.into_iter().flatten() {
            self.tensors.extend(norm.tensors());
        }
        self.tensors.extend(attention.sinks.clone());
        for (norm, layer) in attention.expansions() {
            self.norm(norm);
            self.linear(layer);
        }
        if let Some(distance) = &attention.distance {
            self.tensors.extend(distance.tensors());
            distance
                .linears()
                .into_iter()
                .for_each(|layer| self.linear(layer));
        }
        self.linear(&attention.output);
    }
}
