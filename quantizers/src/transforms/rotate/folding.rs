//! Which tensors of a model change, and how: the rotations folded into its layers.

use super::heads::Values;
use super::rotation::Rotation;
use super::stream::Stream;
use super::tensor::{Change, Turn, Turned};
use crate::graph::{Graph, LinearNode, NormNode, TensorSpec};
use crate::transforms::error::TransformError;
use crate::transforms::rewrite::{CheckpointRewrite, RewrittenTensor};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What is to be rotated.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    /// Factors of norms go into the layers behind them, as a rotated stream needs it.
    pub(super) norms: bool,
    /// The residual stream.
    pub(super) stream: bool,
    /// The values of every head.
    pub(super) heads: bool,
}

/// What becomes of one linear layer.
struct Layer<'a> {
    node: &'a LinearNode,
    /// How it reads the stream, if it does.
    reads: Option<Reading<'a>>,
    of_inputs: Option<Turn>,
    of_outputs: Option<Turn>,
}

/// How a layer reads the stream.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Reading<'a> {
    /// Behind this norm, where there is one.
    norm: Option<&'a NormNode>,
}

/// Everything that changes.
#[derive(Default)]
struct Folding<'a> {
    layers: BTreeMap<&'a str, Layer<'a>>,
    tensors: Vec<RewrittenTensor>,
}

/// The checkpoint of `graph` with the rotations of `seed` folded in.
///
/// # Errors
/// A stream that cannot be rotated; a model in which nothing would change.
pub(super) fn rewrite(
    graph: &Graph,
    seed: u64,
    wanted: Wanted,
) -> Result<CheckpointRewrite, TransformError> {
    let refused = |reason: String| TransformError::Refused {
        architecture: graph.architecture.clone(),
        reason,
    };
    let stream = wanted.norms.then(|| Stream::of(graph)).transpose();
    let stream = stream.map_err(refused)?;
    let mut notes = Vec::new();
    let rotation = if let Some(stream) = stream.as_ref().filter(|_| wanted.stream) {
        let rotation = Rotation::new(stream.width, seed, "residual stream");
        notes.extend(in_blocks(&rotation).map_err(refused)?);
        Some(Turn::whole(&Arc::new(rotation)))
    } else {
        None
    };
    let mut folding = Folding::default();
    if let Some(stream) = &stream {
        let added = folding.stream(stream, rotation.as_ref());
        added.map_err(refused)?;
    }
    if wanted.heads {
        notes.extend(folding.heads(graph, seed).map_err(refused)?);
    }
    folding.layers();
    let separate_head = stream.is_some_and(|stream| {
        let separate = folding.head(&stream, rotation.as_ref());
        folding.tables_and_norms(&stream, rotation.as_ref());
        separate
    });
    if folding.tensors.is_empty() {
        let reason = match notes.first() {
            Some(note) if !wanted.norms => note.clone(),
            _ => "none of its norms has factors".to_owned(),
        };
        return Err(TransformError::Nothing {
            architecture: graph.architecture.clone(),
            reason,
        });
    }
    Ok(CheckpointRewrite {
        tensors: folding.tensors,
        separate_head,
        notes,
    })
}

/// What there is to say where the width has no Hadamard matrix of its own.
fn in_blocks(rotation: &Rotation) -> Result<Option<String>, String> {
    let (width, block) = (rotation.width(), rotation.block());
    if block == 1 {
        return Err(format!(
            "no Hadamard matrix has an order that divides the {width} channels of its residual stream"
        ));
    }
    Ok((block < width).then(|| {
        format!("no Hadamard matrix has order {width}: channels are rotated in blocks of {block}")
    }))
}

impl<'a> Folding<'a> {
    fn layer(&mut self, node: &'a LinearNode) -> &mut Layer<'a> {
        self.layers.entry(&node.name).or_insert(Layer {
            node,
            reads: None,
            of_inputs: None,
            of_outputs: None,
        })
    }

    /// What reads the stream and what writes into it.
    fn stream(&mut self, stream: &Stream<'a>, rotation: Option<&Turn>) -> Result<(), String> {
        for &(norm, node) in &stream.readers {
            let layer = self.layer(node);
            set(&mut layer.reads, Reading { norm }, &node.name)?;
            if let Some(turn) = rotation {
                set(&mut layer.of_inputs, turn.clone(), &node.name)?;
            }
        }
        if let Some(turn) = rotation {
            for &node in &stream.writers {
                set(&mut self.layer(node).of_outputs, turn.clone(), &node.name)?;
            }
        }
        Ok(())
    }

    /// The values of every head; returns what is left as it is and why.
    fn heads(&mut self, graph: &'a Graph, seed: u64) -> Result<Vec<String>, String> {
        let mut left: BTreeMap<String, (&str, usize)> = BTreeMap::new();
        for block in graph.blocks() {
            let values = match Values::of(&block.attention) {
                Ok(values) => values,
                Err(reason) => {
                    let first = block.attention.output.name.as_str();
                    left.entry(reason).or_insert((first, 0)).1 += 1;
                    continue;
                }
            };
            let name = &values.layer.name;
            let purpose = format!("values of {name}");
            let rotation = Arc::new(Rotation::new(values.width, seed, &purpose));
            let turn = |starts| Turn {
                rotation: Arc::clone(&rotation),
                starts,
            };
            let made = turn(values.made_at);
            set(&mut self.layer(values.layer).of_outputs, made, name)?;
            let (read, output) = (turn(values.read_at), values.output);
            set(&mut self.layer(output).of_inputs, read, &output.name)?;
        }
        let notes = left
            .into_iter()
            .map(|(reason, (first, count))| match count {
                1 => format!("heads in front of `{first}` are not rotated: {reason}"),
                _ => format!(
                    "heads in front of `{first}` (and in {} more blocks) are not rotated: {reason}",
                    count - 1
                ),
            });
        Ok(notes.collect())
    }

    /// The head; returns whether it differs from the token table from now on.
    fn head(&mut self, stream: &Stream<'a>, rotation: Option<&Turn>) -> bool {
        let Some(tied) = &stream.tied else {
            return stream.has_own_head;
        };
        let factors = tied.norm.filter(|norm| norm.weight().is_some());
        // Without factors table and head are rotated alike, and stay one.
        let alike = rotation.is_none() || stream.tables.contains(&tied.table);
        if factors.is_none() && alike {
            return false;
        }
        let mut head = table(tied.table, rotation);
        head.name = format!("{}.weight", tied.layer);
        self.read_behind(factors, head);
        true
    }

    /// All layers.
    fn layers(&mut self) {
        for layer in std::mem::take(&mut self.layers).into_values() {
            let TensorSpec { name, shape } = layer.node.weight();
            let turned = Turned {
                name: name.clone(),
                outputs: layer.node.rows,
                inputs: layer.node.cols,
                transposed: layer.node.transposed,
                factors: None,
                of_inputs: layer.of_inputs,
                of_outputs: layer.of_outputs.clone(),
            };
            let draft = Draft {
                name: name.clone(),
                made_of: name,
                shape,
                turned,
            };
            let norm = layer.reads.and_then(|reads| reads.norm);
            self.read_behind(norm.filter(|norm| norm.weight().is_some()), draft);
            let bias = layer.node.bias_tensor();
            if let (Some(turn), Some(TensorSpec { name, shape })) = (layer.of_outputs, bias) {
                let turned = Turned {
                    name: name.clone(),
                    outputs: layer.node.rows,
                    inputs: 1,
                    transposed: true,
                    factors: None,
                    of_inputs: None,
                    of_outputs: Some(turn),
                };
                let draft = Draft {
                    name: name.clone(),
                    made_of: name,
                    shape,
                    turned,
                };
                self.read_behind(None, draft);
            }
        }
    }

    /// Tables and norms of the stream.
    fn tables_and_norms(&mut self, stream: &Stream<'a>, rotation: Option<&Turn>) {
        for spec in &stream.tables {
            self.read_behind(None, table(spec, rotation));
        }
        for norm in &stream.norms {
            let Some(TensorSpec { name, shape }) = norm.weight() else {
                continue;
            };
            let neutral = if norm.one_plus { 0.0 } else { 1.0 };
            self.tensors.push(RewrittenTensor {
                source: name.clone(),
                name,
                shape,
                reads: Vec::new(),
                rewriting: Arc::new(Change::Constant(neutral)),
            });
        }
    }

    /// Adds `draft` behind the factors of `norm`, if that changes anything.
    fn read_behind(&mut self, norm: Option<&NormNode>, draft: Draft) {
        let Draft {
            name,
            made_of: source,
            shape,
            mut turned,
        } = draft;
        turned.factors = norm.map(|norm| norm.one_plus);
        let weight = norm.and_then(NormNode::weight);
        if turned.is_unchanged() {
            return;
        }
        self.tensors.push(RewrittenTensor {
            name,
            source,
            shape,
            reads: weight.map(|weight| weight.name).into_iter().collect(),
            rewriting: Arc::new(Change::Turned(turned)),
        });
    }
}

/// A tensor on its way to become another.
struct Draft {
    name: String,
    made_of: String,
    shape: Vec<usize>,
    turned: Turned,
}

/// A table whose rows lie in the stream.
fn table(spec: &TensorSpec, rotation: Option<&Turn>) -> Draft {
    let TensorSpec { name, shape } = spec.clone();
    Draft {
        turned: Turned {
            name: name.clone(),
            outputs: shape[0],
            inputs: shape[1],
            transposed: false,
            factors: None,
            of_inputs: rotation.cloned(),
            of_outputs: None,
        },
        name: name.clone(),
        made_of: name,
        shape,
    }
}

/// Says what becomes of a side of layer `name`, which may be part of several blocks.
fn set<T: PartialEq>(slot: &mut Option<T>, value: T, name: &str) -> Result<(), String> {
    if slot.as_ref().is_some_and(|known| *known != value) {
        return Err(format!("`{name}` is used in two places that differ"));
    }
    *slot = Some(value);
    Ok(())
}
