//! Last stage: final norm, pooler, logits or embedding.

use super::builder::Tensor;
use super::encoder::{States, Walk};
use super::error::CompileError;
use super::grids::{Channels, symmetric};
use super::source::Pooling;
use crate::graph::LinearNode;
use crate::integer::buffer::Element;
use crate::integer::operation::Kernel;
use crate::integer::ops::first::First;
use crate::integer::ops::mean::Mean;
use crate::integer::ops::unit_length::{self, UnitLength};
use crate::integer::{Dyadic, OutputKind, ProgramOutput};
use crate::nonlinear::{Nonlinearity, Request};

/// Bits of logits: all that accumulators have.
const LOGIT_BITS: u32 = 24;
/// Bits of the input of the pooler's tanh.
const TANH_BITS: u32 = 12;
/// Beyond this tanh is one at any output grid of 8 bits.
const TANH_REACH: f64 = 4.0;

impl<'a> Walk<'a> {
    pub(super) fn head(&mut self, states: States<'a>) -> Result<ProgramOutput, CompileError> {
        let head = &self.graph.head;
        let width = self.graph.width;
        let first = |walk: &mut Self, tensor: &Tensor| {
            let element = Element::of(tensor.grid.low, tensor.grid.high);
            let buffer = walk.builder.buffer_of("first", width, element);
            walk.builder.push(First {
                input: tensor.buffer,
                output: buffer,
            });
            Tensor {
                buffer,
                ..tensor.clone()
            }
        };
        let mut codes = states.codes;
        let mut fine = states.fine;
        if head.first_only {
            fine = first(self, &fine);
            codes = codes.map(|codes| first(self, &codes));
        }
        if let Some(planned) = states.next {
            let wants = head.classifier.is_none() && head.pooler.is_none();
            let normed = self.builder.norm(planned, &fine, "final", wants)?;
            codes = normed.codes;
            if let Some(normed) = normed.fine {
                fine = normed;
            }
        }
        if let Some(classifier) = head.classifier {
            let missing = || CompileError::Graph {
                what: format!("codes at `{}`", classifier.input_point),
            };
            let mut input = codes.ok_or_else(missing)?;
            if let Some(pooler) = head.pooler {
                input = self.pooled(pooler, &input, classifier)?;
            }
            return self.logits(classifier, &input);
        }
        Ok(self.embedding(&fine))
    }

    /// The pooler: a linear layer and tanh, to codes for `reader`.
    fn pooled(
        &mut self,
        pooler: &LinearNode,
        input: &Tensor,
        reader: &LinearNode,
    ) -> Result<Tensor, CompileError> {
        let product = self.builder.product(pooler, input)?;
        let options = self.builder.options;
        let channels = Channels::default();
        let grid = self
            .builder
            .at(&reader.input_point, |point| point.codes(options, &channels))?;
        let request = Request {
            input: symmetric(TANH_REACH, TANH_BITS),
            output: Some(grid.clone()),
            output_bits: 8,
            width: pooler.rows,
            gamma: Vec::new(),
            beta: Vec::new(),
            epsilon: 0.0,
            code_variance: None,
        };
        let unknown = || CompileError::Unknown {
            family: "exact".to_owned(),
            function: Nonlinearity::Tanh.name(),
        };
        let tanh = crate::nonlinear::find(Nonlinearity::Tanh, "exact").ok_or_else(unknown)?;
        let compiled = tanh.compile(&request);
        let compiled = compiled.map_err(|source| CompileError::Refused {
            slot: pooler.name.clone(),
            source,
        })?;
        let buffer = self.builder.buffer("pooled", pooler.rows, &grid);
        let mut linear = product.to(buffer, &request.input);
        linear.kernel = Some(Kernel(compiled.kernel));
        self.builder.push(linear);
        Ok(Tensor::plain(buffer, grid))
    }

    fn logits(&mut self, node: &LinearNode, input: &Tensor) -> Result<ProgramOutput, CompileError> {
        let product = self.builder.product(node, input)?;
        let (low, high) = self
            .builder
            .at(&node.output_point(), |point| point.range("min_max"))?;
        // Eight times what was seen: logits are never clipped in practice.
        let grid = symmetric(8.0 * (-low).max(high), LOGIT_BITS);
        let buffer = self.builder.buffer("logits", node.rows, &grid);
        self.builder.push(product.to(buffer, &grid));
        Ok(ProgramOutput {
            kind: OutputKind::ClassLogits,
            width: node.rows,
            factor: Dyadic::of(grid.scale(0)),
            buffer,
        })
    }

    fn embedding(&mut self, fine: &Tensor) -> ProgramOutput {
        let width = self.graph.width;
        let Some(pooling) = self.builder.options.pooling else {
            return ProgramOutput {
                kind: OutputKind::HiddenStates,
                width,
                factor: Dyadic::of(fine.grid.scale(0)),
                buffer: fine.buffer,
            };
        };
        let pooled = match pooling {
            Pooling::Mean => {
                let pooled = self.builder.buffer_of("pooled", width, Element::I32);
                self.builder.push(Mean {
                    input: fine.buffer,
                    output: pooled,
                });
                pooled
            }
            Pooling::First => {
                let element = Element::of(fine.grid.low, fine.grid.high);
                let pooled = self.builder.buffer_of("pooled", width, element);
                self.builder.push(First {
                    input: fine.buffer,
                    output: pooled,
                });
                pooled
            }
        };
        let output = self.builder.buffer_of("embedding", width, Element::I16);
        self.builder.push(UnitLength {
            input: pooled,
            output,
        });
        let shift = unit_length::FRACTION_BITS;
        ProgramOutput {
            kind: OutputKind::Embedding,
            width,
            factor: Dyadic::of(2.0_f64.powi(-i32::try_from(shift).unwrap_or(0))),
            buffer: output,
        }
    }
}
