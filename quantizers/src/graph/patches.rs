//! The first stage of a vision model, and what attention knows of the grid its patches lie on.

use super::linear::LinearNode;
use super::norm::NormNode;
use super::tensors::TensorSpec;
use serde::{Deserialize, Serialize};

/// An image cut into square patches, each a vector, with learned vectors in front.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PatchInputNode {
    /// `[width, channels, patch, patch]`.
    pub projection: TensorSpec,
    /// `[width]`.
    pub bias: Option<TensorSpec>,
    /// Normalisation of the patches before anything is added.
    pub patch_norm: Option<NormNode>,
    /// Vectors in front of the patches, in order: class token, distillation token. One row each.
    pub tokens: Vec<TensorSpec>,
    /// One row for each of the tokens and each patch, added to them.
    pub positions: Option<TensorSpec>,
    /// `[1, registers, width]`: rows between the tokens and the patches that have no position.
    pub registers: Option<TensorSpec>,
    /// Normalisation of all rows.
    pub norm: Option<NormNode>,
    /// `[channels, height, width]` of an image.
    pub image: [usize; 3],
}

impl PatchInputNode {
    /// Patches through a convolution with a bias, nothing in front and nothing added.
    pub fn new(projection: TensorSpec, bias: TensorSpec, image: [usize; 3]) -> Self {
        Self {
            projection,
            bias: Some(bias),
            patch_norm: None,
            tokens: Vec::new(),
            positions: None,
            registers: None,
            norm: None,
            image,
        }
    }

    /// The projection as the linear layer `[width, channels · patch · patch]` it is: its stride is its
    /// size. It is no linear layer of the checkpoint, which stores a convolution.
    pub fn layer(&self) -> LinearNode {
        let weight = &self.projection;
        let name = weight.name.strip_suffix(".weight").unwrap_or(&weight.name);
        LinearNode::outside(name, weight.shape[0], weight.shape[1..].iter().product())
            .with_bias(self.bias.is_some())
    }

    /// Side of a patch.
    pub fn patch(&self) -> usize {
        self.projection.shape[2]
    }

    /// Rows and columns of patches.
    pub fn grid(&self) -> [usize; 2] {
        [self.image[1] / self.patch(), self.image[2] / self.patch()]
    }

    /// Patches of an image.
    pub fn patches(&self) -> usize {
        self.grid().iter().product()
    }

    /// Rows in front of the patches.
    pub fn leading(&self) -> usize {
        let registers = self.registers.as_ref().map_or(0, |table| table.shape[1]);
        self.tokens.len() + registers
    }

    /// Rows of hidden states.
    pub fn rows(&self) -> usize {
        self.leading() + self.patches()
    }
}

/// Learned biases on attention scores by the offset between two places of a grid (Liu et al. 2021), for
/// each head.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PositionBiasNode {
    /// `[offsets, heads]`.
    pub table: TensorSpec,
    /// Rows and columns of the grid.
    pub grid: [usize; 2],
    /// A class token comes first; the last three rows of the table are for scores of patches by it, of it
    /// by patches, and of it by itself.
    pub class_token: bool,
}

impl PositionBiasNode {
    /// Rows of the table.
    pub fn offsets([rows, columns]: [usize; 2], class_token: bool) -> usize {
        (2 * rows - 1) * (2 * columns - 1) + if class_token { 3 } else { 0 }
    }

    /// Positions that attend to each other.
    pub fn positions(&self) -> usize {
        self.grid[0] * self.grid[1] + usize::from(self.class_token)
    }

    /// The row of the table for a query and a key.
    pub fn offset(&self, query: usize, key: usize) -> usize {
        let [rows, columns] = self.grid;
        let patches = (2 * rows - 1) * (2 * columns - 1);
        let [query, key] = if self.class_token {
            match (query, key) {
                (0, 0) => return patches + 2,
                (_, 0) => return patches + 1,
                (0, _) => return patches,
                _ => [query - 1, key - 1],
            }
        } else {
            [query, key]
        };
        let [down, right] = [
            query / columns + rows - 1 - key / columns,
            query % columns + columns - 1 - key % columns,
        ];
        down * (2 * columns - 1) + right
    }
}

/// Attention within square windows of a grid that is moved up and left before it is cut, and back
/// afterwards (Liu et al. 2021).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowsNode {
    /// Rows and columns of the grid; multiples of `side`.
    pub grid: [usize; 2],
    /// Side of a window.
    pub side: usize,
    /// How far the grid is moved, less than `side`. What comes around from the other edge is in a window
    /// with places it must not see.
    pub shift: usize,
}

impl WindowsNode {
    /// Windows of the grid.
    pub fn count(&self) -> usize {
        self.grid[0] * self.grid[1] / (self.side * self.side)
    }

    /// The place in the grid of each position, window by window.
    pub fn order(&self) -> Vec<usize> {
        let [rows, columns] = self.grid;
        self.cells()
            .map(|[row, column]| {
                let [row, column] = [(row + self.shift) % rows, (column + self.shift) % columns];
                row * columns + column
            })
            .collect()
    }

    /// Which part of the grid each position comes from, window by window: positions of one window see
    /// each other where this is the same.
    pub fn regions(&self) -> Vec<usize> {
        let region = |at: usize, length: usize| {
            usize::from(at >= length - self.side) + usize::from(at >= length - self.shift)
        };
        self.cells()
            .map(|[row, column]| 3 * region(row, self.grid[0]) + region(column, self.grid[1]))
            .collect()
    }

    /// Rows and columns of the moved grid, window by window.
    fn cells(&self) -> impl Iterator<Item = [usize; 2]> + use<> {
        let (side, across) = (self.side, self.grid[1] / self.side);
        let area = side * side;
        (0..self.count() * area).map(move |position| {
            let (window, place) = (position / area, position % area);
            [
                window / across * side + place / side,
                window % across * side + place % side,
            ]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // A grid of 1 x 2: offsets -1, 0, 1, then the three of the class token.
    #[test]
    fn offsets_count_from_the_key_to_the_query() {
        let node = PositionBiasNode {
            table: TensorSpec::new("table", [6, 1]),
            grid: [1, 2],
            class_token: true,
        };
        let rows: Vec<usize> = (0..9).map(|at| node.offset(at / 3, at % 3)).collect();
        assert_eq!(rows, [5, 3, 3, 4, 1, 0, 4, 2, 1]);
        assert_eq!(PositionBiasNode::offsets(node.grid, true), 6);
        assert_eq!(node.positions(), 3);
    }

    // 2 x 4 in windows of 2, moved by 1: the last column of the second window came from the left edge.
    #[test]
    fn windows_of_a_moved_grid() {
        let windows = WindowsNode {
            grid: [2, 4],
            side: 2,
            shift: 1,
        };
        assert_eq!(windows.order(), [5, 6, 1, 2, 7, 4, 3, 0]);
        assert_eq!(windows.regions(), [3, 3, 6, 6, 4, 5, 7, 8]);
    }
}
