//! Scaled dot-product attention.

use super::host::{Host, HostOperation, apply, tensor};
use super::strided::{self, dims, heads, viewable};
use crate::layers::kernels::attention::{self as kernel, Head};
use crate::layers::kernels::attention_gradient::{Attended, HeadGradient, attend_gradient};
use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::tensor::{Shape, Tensor};
use quantizers::graph::Pattern;
use rayon::prelude::*;

/// Attention of `[batch, heads, tokens, head_dim]` in host memory; `None` elsewhere.
pub(in crate::layers) fn attend(
    inputs: [&Tensor<4>; 3],
    pattern: Pattern,
    scale: f64,
) -> Option<Tensor<4>> {
    let [Some(query), Some(key), Some(value)] = inputs.map(Host::of) else {
        return None;
    };
    #[expect(clippy::cast_possible_truncation, reason = "scores are f32")]
    let scale = scale as f32;
    Some(apply(Attend { pattern, scale }, [query, key, value]))
}

/// The same of queries that stand at position `first` and after; `None` for tensors elsewhere or on a tape.
pub(in crate::layers) fn attend_from(
    inputs: [&Tensor<4>; 3],
    first: usize,
    pattern: Pattern,
    scale: f64,
) -> Option<Tensor<4>> {
    let [Some(query), Some(key), Some(value)] = inputs.map(Host::constant) else {
        return None;
    };
    let inputs = [query, key, value].map(viewable);
    let [batches, heads, tokens, _] = dims(&inputs[0]);
    let width = dims(&inputs[2])[3];
    let mut out = vec![0.0; batches * heads * tokens * width];
    #[expect(clippy::cast_possible_truncation, reason = "scores are f32")]
    let scale = scale as f32;
    views(&inputs)
        .into_par_iter()
        .zip(out.par_chunks_mut((tokens * width).max(1)))
        .for_each(|(head, out)| {
            let mut log_sums = vec![0.0; tokens];
            kernel::attend_from(head, first, (pattern, scale), out, &mut log_sums);
        });
    let out = tensor(out, Shape::new([batches, heads, tokens, width]));
    Some(Tensor::from_primitive::<Flex>(out))
}

/// Shares of attention of queries that stand at position `first` and after, `[batch, heads, queries, keys]`; `None` for
/// tensors elsewhere or on a tape.
pub(in crate::layers) fn shares_from(
    inputs: [&Tensor<4>; 2],
    first: usize,
    pattern: Pattern,
    scale: f64,
) -> Option<Tensor<4>> {
    let [Some(query), Some(key)] = inputs.map(Host::constant) else {
        return None;
    };
    let inputs = [query, key].map(viewable);
    let [batches, heads, tokens, _] = dims(&inputs[0]);
    let [_, kv_heads, keys, _] = dims(&inputs[1]);
    let mut out = vec![0.0; batches * heads * tokens * keys];
    #[expect(clippy::cast_possible_truncation, reason = "scores are f32")]
    let scale = scale as f32;
    let group = heads / kv_heads.max(1);
    let of_keys = strided::heads(&inputs[1]);
    strided::heads(&inputs[0])
        .into_par_iter()
        .enumerate()
        .zip(out.par_chunks_mut((tokens * keys).max(1)))
        .for_each(|((index, query), out)| {
            let key = of_keys[index / group];
            kernel::shares_from((query, key), first, (pattern, scale), out);
        });
    let out = tensor(out, Shape::new([batches, heads, tokens, keys]));
    Some(Tensor::from_primitive::<Flex>(out))
}

#[derive(Debug, Clone)]
struct Attend {
    pattern: Pattern,
    scale: f32,
}

/// Everything the gradient needs.
#[derive(Debug, Clone)]
struct Saved {
    operation: Attend,
    inputs: [FlexTensor; 3],
    output: FlexTensor,
    /// `[batch, heads, tokens]`.
    log_sums: Vec<f32>,
}

/// The inputs of every query head, with the key-value head that serves it.
fn views([query, key, value]: &[FlexTensor; 3]) -> Vec<Head<'_>> {
    let queries = heads(query);
    let (keys, values) = (heads(key), heads(value));
    let group = queries.len() / keys.len().max(1);
    queries
        .into_iter()
        .enumerate()
        .map(|(index, query)| Head {
            query,
            key: keys[index / group],
            value: values[index / group],
        })
        .collect()
}

impl HostOperation<3> for Attend {
    type Saved = Saved;

    fn forward(self, inputs: [FlexTensor; 3]) -> (FlexTensor, Self::Saved) {
        let inputs = inputs.map(viewable);
        let [batches, heads, tokens, _] = dims(&inputs[0]);
        let width = dims(&inputs[2])[3];
        let mut out = vec![0.0; batches * heads * tokens * width];
        let mut log_sums = vec![0.0; batches * heads * tokens];
        views(&inputs)
            .into_par_iter()
            .zip(out.par_chunks_mut((tokens * width).max(1)))
            .zip(log_sums.par_chunks_mut(tokens.max(1)))
            .for_each(|((head, out), log_sums)| {
                kernel::attend(head, self.pattern, self.scale, out, log_sums);
            });
        let output = tensor(out, Shape::new([batches, heads, tokens, width]));
        let saved = Saved {
            operation: self,
            inputs,
            output: output.clone(),
            log_sums,
        };
        (output, saved)
    }

    fn gradient(
        saved: Self::Saved,
        gradient: FlexTensor,
        _wanted: [bool; 3],
    ) -> [Option<FlexTensor>; 3] {
        let gradient = viewable(gradient);
        let Attend { pattern, scale } = saved.operation;
        let shapes = saved.inputs.each_ref().map(dims);
        let mut out = shapes.map(|shape| vec![0.0; shape.iter().product()]);
        let [query_out, key_out, value_out] = &mut out;
        let [query_size, key_size, value_size] =
            shapes.map(|[_, _, tokens, width]| (tokens * width).max(1));
        let attended: Vec<Attended<'_>> = views(&saved.inputs)
            .into_iter()
            .zip(heads(&saved.output))
            .zip(saved.log_sums.chunks(shapes[0][2].max(1)))
            .zip(heads(&gradient))
            .map(|(((head, output), log_sums), gradient)| Attended {
                head,
                output,
                log_sums,
                gradient,
            })
            .collect();
        // The query heads of one key-value head add to the same gradients: one task.
        let group = (shapes[0][1] / shapes[1][1]).max(1);
        attended
            .par_chunks(group)
            .zip(query_out.par_chunks_mut(group * query_size))
            .zip(key_out.par_chunks_mut(key_size))
            .zip(value_out.par_chunks_mut(value_size))
            .for_each(|(((attended, query), key), value)| {
                for (attended, query) in attended.iter().zip(query.chunks_mut(query_size)) {
                    let mut out = HeadGradient { query, key, value };
                    attend_gradient(*attended, pattern, scale, &mut out);
                }
            });
        let mut shapes = shapes.into_iter();
        out.map(|out| Some(tensor(out, Shape::new(shapes.next()?))))
    }
}
