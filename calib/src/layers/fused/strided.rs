//! Tensor layouts as strided matrices.

use super::host::contiguous;
use burn::backend::flex::FlexTensor;
use quantizers::linalg::product::Strided;

/// Strides and offset of a layout without flips and with adjacent columns.
fn forward_strides(tensor: &FlexTensor) -> Option<Vec<usize>> {
    let strides: Option<Vec<usize>> = tensor
        .layout()
        .strides()
        .iter()
        .map(|stride| usize::try_from(*stride).ok())
        .collect();
    strides.filter(|strides| strides.last() == Some(&1))
}

/// A tensor [`heads`] can view without copying.
pub(super) fn viewable(tensor: FlexTensor) -> FlexTensor {
    if forward_strides(&tensor).is_some() {
        tensor
    } else {
        contiguous(tensor.to_contiguous())
    }
}

/// One `[tokens, head_dim]` matrix for each head of a [`viewable`] tensor `[batch, heads, tokens, head_dim]`.
pub(super) fn heads(tensor: &FlexTensor) -> Vec<Strided<'_>> {
    let layout = tensor.layout();
    let [batches, heads, tokens, width] = dims(tensor);
    let strides = forward_strides(tensor)
        .unwrap_or_else(|| unreachable!("a layout that was not made viewable"));
    let data = &tensor.storage::<f32>()[layout.start_offset()..];
    (0..batches * heads)
        .map(|index| {
            let from = index / heads * strides[0] + index % heads * strides[1];
            Strided::new(&data[from.min(data.len())..], tokens, width, strides[2], 1)
        })
        .collect()
}

/// The two-dimensional view a matrix has.
pub(super) fn matrix(tensor: &FlexTensor) -> Strided<'_> {
    let shape = tensor.layout().shape();
    let strides = forward_strides(tensor)
        .unwrap_or_else(|| unreachable!("a layout that was not made viewable"));
    let data = &tensor.storage::<f32>()[tensor.layout().start_offset()..];
    Strided::new(data, shape[0], shape[1], strides[0], strides[1])
}

/// The four dimensions of a tensor of heads.
pub(super) fn dims(tensor: &FlexTensor) -> [usize; 4] {
    let shape = tensor.layout().shape();
    [shape[0], shape[1], shape[2], shape[3]]
}
