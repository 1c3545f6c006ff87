//! Where in its file a tensor lies, from its storage, shape and strides.

use super::calls::element_bytes;
use super::value::TensorRef;
use std::ops::Range;

/// The bytes of a tensor, and its strides where they are not those of a contiguous one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) range: Range<usize>,
    pub(super) strides: Vec<usize>,
}

/// Places `tensor` in its storage, which is `storage` of the file; nothing where it does not fit.
///
/// A tensor with more elements than its storage (an expanded one) does not fit either: to gather it would
/// take memory that no file size bounds.
pub(super) fn place(tensor: &TensorRef, storage: &Range<usize>) -> Option<Layout> {
    let size = element_bytes(tensor.dtype);
    let stored = storage.len() / size;
    let dimensions = || {
        tensor
            .shape
            .iter()
            .copied()
            .zip(tensor.strides.iter().copied())
    };
    if tensor.shape.len() != tensor.strides.len() || tensor.offset > stored {
        return None;
    }
    let elements = (tensor.shape.iter()).try_fold(1_usize, |all, &side| all.checked_mul(side))?;
    if elements == 0 {
        let range = storage.start..storage.start;
        let strides = Vec::new();
        return Some(Layout { range, strides });
    }
    let last = dimensions().try_fold(tensor.offset, |at, (side, stride)| {
        at.checked_add((side - 1).checked_mul(stride)?)
    })?;
    if elements > stored || last >= stored {
        return None;
    }
    // The stride of a dimension of one element is never used.
    let mut expected = 1;
    let mut contiguous = true;
    for (side, stride) in dimensions().rev().filter(|(side, _)| *side != 1) {
        contiguous &= stride == expected;
        expected *= side;
    }
    Some(Layout {
        range: storage.start + tensor.offset * size..storage.start + (last + 1) * size,
        strides: if contiguous {
            Vec::new()
        } else {
            tensor.strides.clone()
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use safetensors::Dtype;

    fn tensor(offset: usize, shape: &[usize], strides: &[usize]) -> TensorRef {
        TensorRef {
            storage: 0,
            dtype: Dtype::F32,
            offset,
            shape: shape.to_vec(),
            strides: strides.to_vec(),
        }
    }

    #[test]
    fn contiguous_and_strided_tensors_have_their_bytes() {
        // Six f32 at bytes 100 to 124.
        let storage = 100..124;
        let at = |offset, shape: &[usize], strides: &[usize]| {
            place(&tensor(offset, shape, strides), &storage)
        };
        let plain = at(0, &[2, 3], &[3, 1]).unwrap();
        assert_eq!((plain.range, plain.strides), (100..124, vec![]));
        let row = at(3, &[1, 3], &[7, 1]).unwrap();
        assert_eq!((row.range, row.strides), (112..124, vec![]));
        let transposed = at(0, &[3, 2], &[1, 3]).unwrap();
        assert_eq!(
            (transposed.range, transposed.strides),
            (100..124, vec![1, 3])
        );
        assert_eq!(at(5, &[], &[]).unwrap().range, 120..124);
        assert_eq!(at(6, &[0, 4], &[4, 1]).unwrap().range, 100..100);
    }

    #[test]
    fn tensors_that_reach_beyond_their_storage_have_no_place() {
        let storage = 100..124;
        let huge = usize::MAX;
        for (offset, shape, strides) in [
            (0, vec![7], vec![1]),
            (1, vec![6], vec![1]),
            (7, vec![0], vec![1]),
            (0, vec![2, 3], vec![1]),
            (0, vec![2, 3], vec![4, 1]),
            (0, vec![7], vec![0]),
            (0, vec![huge, 2], vec![0, 1]),
            (0, vec![2, 2], vec![huge, 1]),
            (huge, vec![1], vec![1]),
        ] {
            assert_eq!(place(&tensor(offset, &shape, &strides), &storage), None);
        }
    }
}
