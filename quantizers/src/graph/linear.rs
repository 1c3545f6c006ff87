//! A linear layer: `y = x Wᵀ + b`.

use super::tensors::TensorSpec;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// A linear layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinearNode {
    /// Module name in the checkpoint, without `.weight`.
    pub name: String,
    /// Output channels.
    pub rows: usize,
    /// Inputs.
    pub cols: usize,
    /// Whether `{name}.bias` of `[rows]` is added.
    pub bias: bool,
    /// The weight is stored as `[in, out]` (Conv1D) instead of `[out, in]`.
    pub transposed: bool,
    /// Where the input is seen.
    pub input_point: String,
    /// Inside a block: its gradients can be asked for, and `*` in a recipe matches it.
    pub in_block: bool,
}

impl LinearNode {
    /// A layer of a block: its input is seen at `input_point`.
    pub fn in_block(
        name: impl Into<String>,
        rows: usize,
        cols: usize,
        input_point: impl Into<String>,
    ) -> Self {
        Self {
            name: name.into(),
            rows,
            cols,
            bias: false,
            transposed: false,
            input_point: input_point.into(),
            in_block: true,
        }
    }

    /// A layer outside the blocks (head, pooler, classifier); its input is seen at `{name}_in`.
    pub fn outside(name: impl Into<String>, rows: usize, cols: usize) -> Self {
        let name = name.into();
        let point = format!("{name}_in");
        Self {
            in_block: false,
            ..Self::in_block(name, rows, cols, point)
        }
    }

    /// With a bias or without one.
    #[must_use]
    pub fn with_bias(self, bias: bool) -> Self {
        Self { bias, ..self }
    }

    /// Stored as `[in, out]`.
    #[must_use]
    pub fn conv1d(self) -> Self {
        Self {
            transposed: true,
            ..self
        }
    }

    /// Where the output is seen, bias included.
    pub fn output_point(&self) -> String {
        output_point(&self.name)
    }

    /// The weight as stored.
    pub fn weight(&self) -> TensorSpec {
        let shape = if self.transposed {
            [self.cols, self.rows]
        } else {
            [self.rows, self.cols]
        };
        TensorSpec::new(format!("{}.weight", self.name), shape)
    }

    /// The bias, where there is one.
    pub fn bias_tensor(&self) -> Option<TensorSpec> {
        self.bias
            .then(|| TensorSpec::new(format!("{}.bias", self.name), [self.rows]))
    }

    /// All output channels of the layer.
    pub fn all_rows(&self) -> LinearRows<'_> {
        self.rows_at(0..self.rows)
    }

    /// Some of its output channels.
    pub fn rows_at(&self, rows: Range<usize>) -> LinearRows<'_> {
        LinearRows { layer: self, rows }
    }
}

/// Where the output of the layer `name` is seen.
pub fn output_point(name: &str) -> String {
    format!("{name}:out")
}

/// Some output channels of a layer: all of them, or a part of a fused projection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinearRows<'a> {
    /// The layer.
    pub layer: &'a LinearNode,
    /// Its rows.
    pub rows: Range<usize>,
}
