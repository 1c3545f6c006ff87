//! Between two resolutions of a hierarchy: each square of four patches becomes one (Swin).

use super::Loader;
use super::linear::Linear;
use super::norm::Norm;
use crate::architectures::StageSpec;
use crate::{Hidden, Stage, StageError, Tap};
use burn::tensor::Tensor;
use quantizers::graph::{Inventory, LinearNode, NormNode, StageNode};

/// Merging of patches: the vectors of each square of four, one after the other, normalised and projected.
#[derive(Debug, Clone, PartialEq)]
pub struct MergingSpec {
    /// Position among the mergings, from 0.
    pub index: usize,
    /// Rows and columns of patches before, both even.
    pub grid: [usize; 2],
    /// `[4 width]`.
    pub norm: NormNode,
    /// `[2 width, 4 width]`.
    pub reduction: LinearNode,
}

impl MergingSpec {
    fn name(&self) -> String {
        format!("merging {}", self.index)
    }
}

impl StageSpec for MergingSpec {
    fn node(&self) -> StageNode {
        let mut inventory = Inventory::default();
        inventory.norm(&self.norm);
        inventory.linear(&self.reduction);
        StageNode::Opaque {
            name: self.name(),
            inventory,
        }
    }

    fn build(&self, loader: &Loader<'_>) -> Result<Box<dyn Stage>, StageError> {
        Ok(Box::new(Merging {
            name: self.name(),
            grid: self.grid,
            norm: Norm::load(&self.norm, loader)?,
            reduction: Linear::load(&self.reduction, loader)?,
        }))
    }
}

struct Merging {
    name: String,
    grid: [usize; 2],
    norm: Norm,
    reduction: Linear,
}

impl Stage for Merging {
    fn forward(&self, hidden: Hidden, tap: &mut dyn Tap) -> Result<Hidden, StageError> {
        let x = hidden.into_states(|| self.name.clone())?;
        let [batch, _, width] = x.dims();
        let [rows, columns] = self.grid;
        // Of four neighbours the two of the left column come first, each from top to bottom.
        let x: Tensor<3> = x
            .reshape([batch, rows / 2, 2, columns / 2, 2, width])
            .permute([0, 1, 3, 4, 2, 5])
            .reshape([batch, rows * columns / 4, 4 * width]);
        let x = self.norm.seen(x, tap);
        self.reduction.observe(&x, tap);
        Ok(Hidden::States(self.reduction.forward(x, tap)))
    }
}
