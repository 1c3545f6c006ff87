//! Walks an encoder from its input to its output.

use super::builder::{Builder, Tensor};
use super::error::CompileError;
use super::graph::{Block, Encoder, Input};
use super::norm::PlannedNorm;
use super::source::{Compilation, Options, Source};
use crate::graph::{Graph, LinearNode, NormNode};
use crate::integer::buffer::Element;
use crate::integer::{Program, ProgramInput};
use crate::nonlinear::Grid;

/// Compiles `graph`.
///
/// # Errors
/// An operation that programs do not have, weights or statistics that cannot be had, approximations that refuse, a result that could
/// overflow.
pub fn compile(
    graph: &Graph,
    source: &dyn Source,
    options: &Options,
) -> Result<Compilation, CompileError> {
    let encoder = Encoder::of(graph)?;
    let max_rows = match encoder.input {
        Input::Tokens { max_tokens, .. } => max_tokens,
        Input::Patches(node) => node.rows(),
    };
    let mut walk = Walk {
        graph: &encoder,
        builder: Builder::new(source, options, max_rows),
    };
    let (states, input) = walk.input()?;
    let states = walk.blocks(states)?;
    let output = walk.head(states)?;
    let builder = walk.builder;
    let program = Program {
        input,
        buffers: builder.buffers,
        operations: builder.operations,
        weights: builder.weights,
        output,
    };
    program.check()?;
    Ok(Compilation {
        program,
        layers: builder.layers,
        slots: builder.slots,
    })
}

pub(super) struct Walk<'a> {
    pub(super) graph: &'a Encoder<'a>,
    pub(super) builder: Builder<'a>,
}

/// Hidden states between blocks.
pub(super) struct States<'a> {
    /// What linear layers read (post-norm models; else the next norm makes it).
    pub(super) codes: Option<Tensor>,
    /// What residuals are added to.
    pub(super) fine: Tensor,
    /// The norm that reads `fine` next (pre-norm models).
    pub(super) next: Option<PlannedNorm<'a>>,
}

impl<'a> Walk<'a> {
    /// The layers that read the output of the norm before block `index`.
    fn readers(&self, index: usize) -> Vec<&'a LinearNode> {
        match self.graph.blocks.get(index) {
            Some(block) => vec![block.query, block.key, block.value],
            None => self
                .graph
                .head
                .pooler
                .or(self.graph.head.classifier)
                .into_iter()
                .collect(),
        }
    }

    /// Decides a norm whose output `readers` read as codes; none read it if it is the last.
    fn planned(
        &mut self,
        node: &'a NormNode,
        readers: &[&LinearNode],
    ) -> Result<PlannedNorm<'a>, CompileError> {
        let codes = match readers.first() {
            None => None,
            Some(first) => {
                let channels = self.builder.equalized(&first.input_point, readers)?;
                let grid = self.builder.at(&first.input_point, |point| {
                    point.codes(self.builder.options, &channels)
                })?;
                Some((grid, channels))
            }
        };
        self.builder.plan_norm(node, self.graph.width, codes)
    }

    fn input(&mut self) -> Result<(States<'a>, ProgramInput), CompileError> {
        let graph = self.graph;
        match graph.input {
            Input::Tokens { node, max_tokens } => {
                let input = ProgramInput::Tokens {
                    vocabulary: node.tokens.shape[0],
                    max_tokens,
                };
                let first = graph.blocks.first();
                let pre_norm = first.is_some_and(|block| block.pre_norm);
                let states = match (&node.norm, first) {
                    (Some(norm), _) if !pre_norm => {
                        let readers = self.readers(0);
                        let planned = self.planned(norm, &readers)?;
                        let sum = self.builder.tokens(node, max_tokens, planned.input())?;
                        self.normed(planned, &sum)?
                    }
                    _ => {
                        return Err(CompileError::Graph {
                            what: "normalisation before its first block".to_owned(),
                        });
                    }
                };
                Ok((states, input))
            }
            Input::Patches(node) => {
                let next = self.next_norm(0)?;
                let Some(planned) = next else {
                    return Err(CompileError::Graph {
                        what: "normalisation after its patches".to_owned(),
                    });
                };
                let (sum, input) = self.builder.patches(node, planned.input())?;
                let states = States {
                    codes: None,
                    fine: sum,
                    next: Some(planned),
                };
                Ok((states, input))
            }
        }
    }

    /// The norm before block `index`, or the final one (pre-norm models).
    fn next_norm(&mut self, index: usize) -> Result<Option<PlannedNorm<'a>>, CompileError> {
        let node = match self.graph.blocks.get(index) {
            Some(block) => Some(block.attention_norm),
            None => self.graph.head.norm,
        };
        let readers = self.readers(index);
        node.map(|node| self.planned(node, &readers)).transpose()
    }

    /// Both forms of a norm's output, as the states of a post-norm model.
    fn normed(
        &mut self,
        planned: PlannedNorm<'a>,
        sum: &Tensor,
    ) -> Result<States<'a>, CompileError> {
        let normed = self.builder.norm(planned, sum, "states", true)?;
        let fine = normed.fine.ok_or_else(|| CompileError::Graph {
            what: "states after a normalisation".to_owned(),
        })?;
        Ok(States {
            codes: normed.codes,
            fine,
            next: None,
        })
    }

    fn blocks(&mut self, mut states: States<'a>) -> Result<States<'a>, CompileError> {
        for (index, block) in self.graph.blocks.iter().enumerate() {
            states = if block.pre_norm {
                self.pre_norm(index, block, states)?
            } else {
                self.post_norm(index, block, states)?
            };
        }
        Ok(states)
    }

    /// `norm(x + f(x))`.
    fn post_norm(
        &mut self,
        index: usize,
        block: &'a Block<'a>,
        states: States<'a>,
    ) -> Result<States<'a>, CompileError> {
        let codes = states.codes.ok_or_else(|| no_codes(block))?;
        let attended = self.builder.attention(block, &codes)?;
        let planned = self.planned(block.attention_norm, &[block.up])?;
        let sum = self.added(&attended, &states.fine, planned.input());
        let middle = self.builder.norm(planned, &sum, "middle", true)?;
        let (codes, fine) = (middle.codes, middle.fine);
        let (codes, fine) = codes.zip(fine).ok_or_else(|| no_codes(block))?;
        let inner = self.builder.feed_forward(block, &codes)?;
        let readers = self.readers(index + 1);
        let planned = self.planned(block.mlp_norm, &readers)?;
        let sum = self.added(&inner, &fine, planned.input());
        self.normed(planned, &sum)
    }

    /// `x + f(norm(x))`.
    fn pre_norm(
        &mut self,
        index: usize,
        block: &'a Block<'a>,
        states: States<'a>,
    ) -> Result<States<'a>, CompileError> {
        let planned = states.next.ok_or_else(|| no_codes(block))?;
        let normed = self.builder.norm(planned, &states.fine, "states", false)?;
        let codes = normed.codes.ok_or_else(|| no_codes(block))?;
        let attended = self.builder.attention(block, &codes)?;
        let planned = self.planned(block.mlp_norm, &[block.up])?;
        let sum = self.added(&attended, &states.fine, planned.input());
        let normed = self.builder.norm(planned, &sum, "middle", false)?;
        let codes = normed.codes.ok_or_else(|| no_codes(block))?;
        let inner = self.builder.feed_forward(block, &codes)?;
        let next = self.next_norm(index + 1)?;
        let grid = match &next {
            Some(planned) => planned.input().clone(),
            None => sum.grid.clone(),
        };
        let fine = self.added(&inner, &sum, &grid);
        Ok(States {
            codes: None,
            fine,
            next,
        })
    }

    /// A product plus a residual, on `grid`.
    fn added(
        &mut self,
        product: &super::linear::Product,
        residual: &Tensor,
        grid: &Grid,
    ) -> Tensor {
        // Never the buffer the residual is in: the sum would overwrite what it reads.
        let element = Element::of(grid.low, grid.high);
        let role = if self.builder.buffers[residual.buffer]
            .name
            .starts_with("sum")
        {
            "other sum"
        } else {
            "sum"
        };
        let buffer = self.builder.buffer_of(role, product.rows, element);
        self.builder.push(product.plus(residual, buffer, grid));
        Tensor::plain(buffer, grid.clone())
    }
}

fn no_codes(block: &Block<'_>) -> CompileError {
    CompileError::Graph {
        what: format!("codes at `{}`", block.query.input_point),
    }
}
