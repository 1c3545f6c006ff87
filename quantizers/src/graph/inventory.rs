//! Everything a stage reads, in execution order.

use super::attention::AttentionNode;
use super::block::BlockNode;
use super::ends::{HeadNode, PatchInputNode, Projection, TokenInputNode};
use super::linear::LinearNode;
use super::norm::NormNode;
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
        self.unseen_norm(norm);
        self.point(norm.input_point(), norm.width);
        self.point(norm.output_point(), norm.width);
    }

    /// Adds the tensors of a normalisation whose activations are not seen.
    pub fn unseen_norm(&mut self, norm: &NormNode) {
        self.tensor(norm.weight());
        self.tensors.extend(norm.bias());
    }

    /// Adds the first stage of a text model.
    pub fn tokens(&mut self, input: &TokenInputNode) {
        self.tensor(input.tokens.clone());
        for table in [&input.positions, &input.token_types].into_iter().flatten() {
            self.tensor(table.clone());
        }
        if let Some(norm) = &input.norm {
            self.norm(norm);
        }
    }

    /// Adds the first stage of a vision model.
    pub fn patches(&mut self, input: &PatchInputNode) {
        for tensor in [
            &input.class_token,
            &input.positions,
            &input.projection,
            &input.bias,
        ] {
            self.tensor(tensor.clone());
        }
        let layer = input.layer();
        self.point(&layer.input_point, layer.cols);
        self.point(layer.output_point(), layer.rows);
    }

    /// Adds a block.
    pub fn block(&mut self, block: &BlockNode) {
        self.norm(&block.attention_norm);
        self.attention(&block.attention);
        self.norm(&block.mlp_norm);
        for layer in block.mlp.projections() {
            self.linear(layer);
        }
        self.linear(&block.mlp.down);
    }

    /// Adds the last stage.
    pub fn head(&mut self, head: &HeadNode) {
        if let Some(norm) = &head.norm {
            self.norm(norm);
        }
        if let Some(pooler) = &head.pooler {
            self.linear(pooler);
        }
        match &head.projection {
            Some(Projection::Layer(layer)) => self.linear(layer),
            Some(Projection::Tied(table)) => self.tensor(table.clone()),
            None => {}
        }
    }

    fn attention(&mut self, attention: &AttentionNode) {
        for layer in attention.projections() {
            self.linear(layer);
        }
        for norm in [&attention.query_norm, &attention.key_norm]
            .into_iter()
            .flatten()
        {
            self.unseen_norm(norm);
        }
        self.linear(&attention.output);
    }
}
