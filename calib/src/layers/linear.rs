//! A linear layer: `y = x Wᵀ + b`.

use super::weight::Weight;
use super::{Inventory, Loader, TensorSpec, fused};
use crate::encoder_graph::Inexpressible;
use crate::{LayerSpec, SourceError, Tap};
use burn::tensor::Tensor;
use quantizers::integer::compile::LinearNode;

/// What a linear layer reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinearSpec {
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
    /// Where a [`Tap`] sees the input.
    pub input_point: String,
    /// Inside a block: its gradients can be asked for, and `*` in a recipe matches it.
    pub in_block: bool,
}

impl LinearSpec {
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

    /// Where a [`Tap`] sees the output.
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

    /// The layer as the plan sees it, used in `stage`.
    pub fn layer(&self, stage: usize) -> LayerSpec {
        LayerSpec {
            name: self.name.clone(),
            rows: self.rows,
            cols: self.cols,
            transposed: self.transposed,
            stage,
            input_point: self.input_point.clone(),
            in_block: self.in_block,
        }
    }

    /// Adds the layer and its tensors to `inventory`.
    pub fn list(&self, inventory: &mut Inventory) {
        inventory.tensor(self.weight());
        if self.bias {
            inventory.tensor(self.bias_spec());
        }
        inventory.point(&self.input_point, self.cols);
        inventory.point(self.output_point(), self.rows);
        inventory.linears.push(self.clone());
    }

    /// The layer as the integer-only compile step sees it.
    ///
    /// # Errors
    /// A weight stored as `[in, out]`.
    pub fn node(&self) -> Result<LinearNode, Inexpressible> {
        if self.transposed {
            return Err(Inexpressible("stores weights as `[in, out]`"));
        }
        Ok(LinearNode {
            name: self.name.clone(),
            rows: self.rows,
            cols: self.cols,
            bias: self.bias,
            input_point: self.input_point.clone(),
        })
    }

    /// Reads the layer.
    ///
    /// # Errors
    /// A missing tensor or one of another shape.
    pub fn load(&self, loader: &Loader<'_>) -> Result<Linear, SourceError> {
        Ok(Linear {
            weight: Weight::load(loader, &self.weight(), self.transposed)?,
            bias: self
                .bias
                .then(|| loader.read(&self.bias_spec()))
                .transpose()?,
            input_point: self.input_point.clone(),
            output_point: self.output_point(),
        })
    }

    fn bias_spec(&self) -> TensorSpec {
        TensorSpec::new(format!("{}.bias", self.name), [self.rows])
    }
}

/// Where a [`Tap`] sees what the layer `name` answers.
pub(crate) fn output_point(name: &str) -> String {
    format!("{name}:out")
}

/// A linear layer with its weights.
#[derive(Debug, Clone)]
pub struct Linear {
    input_point: String,
    output_point: String,
    weight: Weight,
    bias: Option<Tensor<1>>,
}

impl Linear {
    /// Shows `input` to `tap` at this layer's input point. Called once for layers that share it.
    pub fn observe(&self, input: &Tensor<3>, tap: &mut dyn Tap) {
        tap.observe(&self.input_point, input);
    }

    /// `[batch, tokens, cols]` to `[batch, tokens, rows]`, shown to `tap` at this layer's output point.
    pub fn forward(&self, input: Tensor<3>, tap: &mut dyn Tap) -> Tensor<3> {
        let output = fused::linear(input, &self.weight, self.bias.as_ref());
        tap.pass(&self.output_point, output)
    }
}
