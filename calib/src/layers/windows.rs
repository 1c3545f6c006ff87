//! Attention over patches of a grid: biases by offset, and windows (Swin).

use super::Loader;
use crate::SourceError;
use burn::tensor::{Device, Int, Tensor, TensorData};
use quantizers::graph::{PositionBiasNode, WindowsNode};

/// What transformers adds to a score of positions that must not see each other.
const HIDDEN: f32 = -100.0;

/// Reads the biases of `node` as `[1, heads, positions, positions]`.
///
/// # Errors
/// A missing table or one of another shape.
pub fn position_bias(
    node: &PositionBiasNode,
    loader: &Loader<'_>,
) -> Result<Tensor<4>, SourceError> {
    let (heads, positions) = (node.table.shape[1], node.positions());
    let values = loader.with_values(&node.table, |table| {
        let mut values = Vec::with_capacity(heads * positions * positions);
        for head in 0..heads {
            for query in 0..positions {
                let row = |key| node.offset(query, key);
                values.extend((0..positions).map(|key| table[row(key) * heads + head]));
            }
        }
        values
    })?;
    let data = TensorData::new(values, [1, heads, positions, positions]);
    Ok(Tensor::from_data(data, loader.device()))
}

/// A grid of positions cut into windows.
#[derive(Debug, Clone)]
pub struct Windows {
    count: usize,
    area: usize,
    /// The place of each position, window by window.
    order: Tensor<1, Int>,
    /// Where each place went.
    back: Tensor<1, Int>,
}

impl Windows {
    /// The windows of `node`.
    pub fn new(node: &WindowsNode, device: &Device) -> Self {
        let order = node.order();
        let mut back = vec![0_i64; order.len()];
        for (position, &place) in (0..).zip(&order) {
            back[place] = position;
        }
        let order: Vec<i64> = (0..order.len())
            .filter_map(|position| i64::try_from(order[position]).ok())
            .collect();
        let tensor = |values: Vec<i64>| {
            let length = values.len();
            Tensor::from_data(TensorData::new(values, [length]), device)
        };
        Self {
            count: node.count(),
            area: node.side * node.side,
            order: tensor(order),
            back: tensor(back),
        }
    }

    /// `[batch, heads, positions, width]` to `[batch · windows, heads, area, width]`.
    pub fn cut(&self, x: Tensor<4>) -> Tensor<4> {
        let [batch, heads, _, width] = x.dims();
        let (count, area) = (self.count, self.area);
        x.select(2, self.order.clone())
            .reshape([batch, heads, count, area, width])
            .swap_dims(1, 2)
            .reshape([batch * count, heads, area, width])
    }

    /// The way back.
    pub fn joined(&self, x: Tensor<4>) -> Tensor<4> {
        let [all, heads, area, width] = x.dims();
        let batch = all / self.count;
        x.reshape([batch, self.count, heads, area, width])
            .swap_dims(1, 2)
            .reshape([batch, heads, self.count * area, width])
            .select(2, self.back.clone())
    }
}

/// `[windows, 1, area, area]`: what keeps positions of different parts of the grid apart; nothing where
/// the grid is not moved.
pub fn mask(node: &WindowsNode, device: &Device) -> Option<Tensor<4>> {
    if node.shift == 0 {
        return None;
    }
    let area = node.side * node.side;
    let regions = node.regions();
    let mut values = Vec::with_capacity(regions.len() * area);
    for window in regions.chunks_exact(area) {
        for query in window {
            let apart = |key| if key == query { 0.0 } else { HIDDEN };
            values.extend(window.iter().map(apart));
        }
    }
    let data = TensorData::new(values, [node.count(), 1, area, area]);
    Some(Tensor::from_data(data, device))
}
