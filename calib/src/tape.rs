//! One stage's forward pass, recorded so that a gradient can be sent back through it.
//!
//! Weights are no leaves of the tape. A linear layer's weight gradient is the product of what went
//! into the layer and the loss gradient of what came out of it, so the tape returns these two
//! ([`WeightGradient`]); whoever wants the sum of squared gradients multiplies tile by tile and never
//! holds a gradient whole. It also keeps tapes apart: burn merges the graphs of tapes that share a
//! leaf behind one lock.

use crate::layers::fused::{End, probe};
use crate::{Hidden, LayerSpec, Stage, StageError, Tap};
use burn::tensor::Tensor;
use std::collections::BTreeMap;

/// A recorded forward pass of one stage over one batch.
pub struct Tape {
    input: Tensor<3>,
    end: End,
    probes: Vec<Probe>,
    key_value: Option<[Leaf; 2]>,
}

/// What a linear layer's weight gradient is made of.
#[derive(Debug, Clone)]
pub struct WeightGradient {
    /// Layer name.
    pub layer: String,
    /// What the layer was given, `[batch, tokens, cols]`.
    pub input: Tensor<3>,
    /// Loss gradient of what it returned, `[batch, tokens, rows]`.
    pub output_gradient: Tensor<3>,
    /// The checkpoint stores the weight as `[cols, rows]`.
    pub transposed: bool,
}

impl WeightGradient {
    /// The two factors `L` and `R`, `[batch, tokens, _]`, of the gradient `Lᵀ R` in checkpoint layout.
    pub fn factors(self) -> [Tensor<3>; 2] {
        if self.transposed {
            [self.input, self.output_gradient]
        } else {
            [self.output_gradient, self.input]
        }
    }

    /// The gradient, in checkpoint layout.
    pub fn dense(self) -> Tensor<2> {
        let [left, right] = self.factors().map(|factor| {
            let [batch, tokens, width] = factor.dims();
            factor.reshape([batch * tokens, width])
        });
        left.transpose().matmul(right)
    }
}

/// What [`Tape::back`] returns: the vector-Jacobian products of the stage.
#[derive(Debug)]
pub struct Vjp {
    /// Loss gradient with respect to the stage's input, `[batch, tokens, width]`.
    pub input_gradient: Tensor<3>,
    /// Of the layers asked for, in execution order.
    pub weight_gradients: Vec<WeightGradient>,
    /// With respect to keys before the rotary embedding and to values of self-attention, `[batch, kv_heads, tokens, dim]`
    /// each, where they were asked for and the stage has them.
    pub key_value_gradients: Option<[Tensor<4>; 2]>,
}

impl Tape {
    /// Runs `stage`, built on an autodiff device, on `input` `[batch, tokens, width]`; returns its output off
    /// the tape, too. Weight gradients can be had of those of its linear layers that `layers` names.
    ///
    /// # Errors
    /// As [`Stage::forward`]; a stage that returns something else than states.
    pub fn record<'l>(
        stage: &dyn Stage,
        layers: impl IntoIterator<Item = &'l LayerSpec>,
        input: Tensor<3>,
    ) -> Result<(Self, Tensor<3>), StageError> {
        Self::record_with(stage, ProbeTap::new(layers), input)
    }

    /// The same for gradients of keys and values of self-attention alone.
    ///
    /// # Errors
    /// As [`Self::record`].
    pub fn record_key_value(
        stage: &dyn Stage,
        input: Tensor<3>,
    ) -> Result<(Self, Tensor<3>), StageError> {
        let tap = ProbeTap {
            wants_key_value: true,
            ..ProbeTap::new([])
        };
        Self::record_with(stage, tap, input)
    }

    fn record_with(
        stage: &dyn Stage,
        mut tap: ProbeTap<'_>,
        input: Tensor<3>,
    ) -> Result<(Self, Tensor<3>), StageError> {
        let input = input.autodiff().require_grad();
        let output = match stage.forward(Hidden::States(input.clone()), &mut tap)? {
            Hidden::States(states) => states,
            Hidden::Tokens(_) | Hidden::Pixels(_) | Hidden::Embedding(_) => {
                return Err(StageError::Input {
                    stage: "the output of a tape".to_owned(),
                    expected: "states",
                    found: "another kind of output",
                });
            }
        };
        let values = output.clone().inner();
        let tape = Self {
            input,
            end: End::of(output),
            probes: tap.probes,
            key_value: tap.key_value,
        };
        Ok((tape, values))
    }

    /// Sends the loss gradient of the output back.
    pub fn back(self, output_gradient: Tensor<3>) -> Vjp {
        let shape = self.input.dims();
        let device = output_gradient.device();
        let mut gradients = self.end.back(output_gradient);
        let input_gradient = self
            .input
            .grad_remove(&mut gradients)
            .unwrap_or_else(|| Tensor::zeros(shape, &device));
        let mut gradient_at = |leaf: &Tensor<3>, shape: [usize; 3]| {
            let found = leaf.grad_remove(&mut gradients);
            found.unwrap_or_else(|| Tensor::zeros(shape, &device))
        };
        let weight_gradients = self
            .probes
            .into_iter()
            .map(|probe| WeightGradient {
                // An output nothing depends on has no gradient on the tape.
                output_gradient: gradient_at(&probe.leaf, probe.shape),
                input: probe.input,
                layer: probe.layer,
                transposed: probe.transposed,
            })
            .collect();
        let key_value_gradients = self.key_value.map(|leaves| {
            leaves.map(|Leaf { leaf, shape }| {
                let [batch, heads, tokens, dim] = shape;
                gradient_at(&leaf, [batch * heads, tokens, dim]).reshape(shape)
            })
        });
        Vjp {
            input_gradient,
            weight_gradients,
            key_value_gradients,
        }
    }
}

/// A leaf behind a linear layer: the loss gradient of the layer's output arrives there.
struct Probe {
    layer: String,
    transposed: bool,
    /// What the layer was given.
    input: Tensor<3>,
    /// Of its output.
    shape: [usize; 3],
    leaf: Tensor<3>,
}

/// Where the loss gradient of keys or values arrives, heads one after the other.
struct Leaf {
    leaf: Tensor<3>,
    /// Of the keys or values, `[batch, kv_heads, tokens, dim]`.
    shape: [usize; 4],
}

/// Puts a [`Probe`] behind each wanted layer and keeps what the layer was given.
struct ProbeTap<'l> {
    /// By the point of the output.
    wanted: BTreeMap<String, &'l LayerSpec>,
    inputs: BTreeMap<String, Tensor<3>>,
    probes: Vec<Probe>,
    wants_key_value: bool,
    key_value: Option<[Leaf; 2]>,
}

impl<'l> ProbeTap<'l> {
    fn new(layers: impl IntoIterator<Item = &'l LayerSpec>) -> Self {
        Self {
            wanted: layers
                .into_iter()
                .map(|layer| (layer.output_point(), layer))
                .collect(),
            inputs: BTreeMap::new(),
            probes: Vec::new(),
            wants_key_value: false,
            key_value: None,
        }
    }
}

impl Tap for ProbeTap<'_> {
    fn observe(&mut self, point: &str, values: &Tensor<3>) {
        if self.wanted.values().any(|layer| layer.input_point == point) {
            self.inputs.insert(point.to_owned(), values.clone().inner());
        }
    }

    fn pass(&mut self, point: &str, values: Tensor<3>) -> Tensor<3> {
        let Some(layer) = self.wanted.get(point) else {
            return values;
        };
        let Some(input) = self.inputs.get(&layer.input_point).cloned() else {
            unreachable!("a layer's input is seen before its output")
        };
        let shape = values.dims();
        let (values, leaf) = probe(values);
        self.probes.push(Probe {
            layer: layer.name.clone(),
            transposed: layer.transposed,
            input,
            shape,
            leaf,
        });
        values
    }

    fn pass_key_value(&mut self, heads: [Tensor<4>; 2]) -> [Tensor<4>; 2] {
        if !self.wants_key_value {
            return heads;
        }
        let probed = heads.map(|x| {
            let shape @ [batch, heads, tokens, dim] = x.dims();
            let (x, leaf) = probe(x.reshape([batch * heads, tokens, dim]));
            (x.reshape(shape), Leaf { leaf, shape })
        });
        let [(key, of_key), (value, of_value)] = probed;
        self.key_value = Some([of_key, of_value]);
        [key, value]
    }
}
