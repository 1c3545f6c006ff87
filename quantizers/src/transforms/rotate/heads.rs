//! Values and the layer behind the attention: what lies between them passes through the attention as it is, channel by
//! channel, so every head can be rotated on its own.

use crate::graph::{AttentionNode, LinearNode, QkvLayout, QkvNode};
use crate::linalg::hadamard::Hadamard;

/// The channels of values in the layers that make and read them.
#[derive(Debug)]
pub(super) struct Values<'a> {
    /// The layer that makes them.
    pub(super) layer: &'a LinearNode,
    /// Its first output of each key-value head.
    pub(super) made_at: Vec<usize>,
    /// The layer that reads them.
    pub(super) output: &'a LinearNode,
    /// Its first input of each query head.
    pub(super) read_at: Vec<usize>,
    /// Channels of a head.
    pub(super) width: usize,
}

impl<'a> Values<'a> {
    /// Those of `attention`.
    ///
    /// # Errors
    /// Why its heads cannot be rotated.
    pub(super) fn of(attention: &'a AttentionNode) -> Result<Self, String> {
        let output = &attention.output;
        if attention.clip.is_some() {
            return Err("values are clamped before they are attended".to_owned());
        }
        let (heads, key_values, width) = (attention.heads, attention.kv_heads, attention.head_dim);
        // Layer, first row of values, rows from one head to the next, heads, channels of a head.
        let (layer, first, step, made, width) = match &attention.qkv {
            QkvNode::Separate { value, .. } => (value, 0, width, key_values, width),
            QkvNode::Fused {
                layer,
                layout: QkvLayout::Concatenated,
            } => (
                layer,
                (heads + key_values) * width,
                width,
                key_values,
                width,
            ),
            QkvNode::Fused {
                layer,
                layout: QkvLayout::ByKeyValueHead,
            } => {
                let group = heads / key_values;
                let (first, step) = ((group + 1) * width, (group + 2) * width);
                (layer, first, step, key_values, width)
            }
            QkvNode::Latent(latent) => {
                let step = latent.plain + latent.value;
                (&latent.expand, latent.plain, step, heads, latent.value)
            }
        };
        if Hadamard::of_order(width).is_none_or(|found| found.order() == 1) {
            return Err(format!("no Hadamard matrix has order {width}"));
        }
        if output.cols != heads * width {
            return Err("the layer reads more than the values".to_owned());
        }
        Ok(Self {
            layer,
            made_at: (0..made).map(|head| first + head * step).collect(),
            output,
            read_at: (0..heads).map(|head| head * width).collect(),
            width,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Graph;
    use crate::graph::tests::decoder;

    fn with(qkv: impl FnOnce(LinearNode) -> QkvNode) -> Graph {
        let mut graph = decoder();
        if let crate::graph::StageNode::Block(block) = &mut graph.stages[0] {
            let layer = LinearNode::in_block("qkv", 16, 8, "attn_in");
            block.attention.qkv = qkv(layer);
        }
        graph
    }

    // Four query heads of width 2 over two key-value heads: rows 0..8 queries, 8..12 keys, 12..16 values, or twice two
    // query heads, a key head and a value head.
    #[test]
    fn values_are_found_in_every_layout() {
        let layout = |layout| with(|layer| QkvNode::Fused { layer, layout });
        for (graph, expected) in [
            (decoder(), [0, 2]),
            (layout(QkvLayout::Concatenated), [12, 14]),
            (layout(QkvLayout::ByKeyValueHead), [6, 14]),
        ] {
            let attention = &graph.block_at(0).unwrap().attention;
            let values = Values::of(attention).unwrap();
            assert_eq!(values.made_at, expected);
            assert_eq!(values.read_at, [0, 2, 4, 6]);
        }
    }

    #[test]
    fn heads_of_a_width_without_a_matrix_stay() {
        let mut graph = decoder();
        if let crate::graph::StageNode::Block(block) = &mut graph.stages[0] {
            block.attention.head_dim = 6;
        }
        let attention = &graph.block_at(0).unwrap().attention;
        let reason = Values::of(attention).unwrap_err();
        assert_eq!(reason, "no Hadamard matrix has order 6");
    }
}
