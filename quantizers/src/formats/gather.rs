//! Elements of a tensor whose strides are not those of row-major order, brought into that order.

/// The elements of `shape` in row-major order. `bytes` begins with the first element; `strides` counts
/// elements of `size` bytes. All indices lie inside `bytes`, which containers check.
pub(super) fn gather(bytes: &[u8], size: usize, shape: &[usize], strides: &[usize]) -> Vec<u8> {
    let elements: usize = shape.iter().product();
    let mut gathered = Vec::with_capacity(elements * size);
    let (Some((&side, outer)), Some((&stride, outer_strides))) =
        (shape.split_last(), strides.split_last())
    else {
        return bytes[..size].to_vec();
    };
    let mut indices = vec![0; outer.len()];
    let rows = if elements == 0 { 0 } else { elements / side };
    for _ in 0..rows {
        let row: usize = indices.iter().zip(outer_strides).map(|(i, s)| i * s).sum();
        for column in 0..side {
            let at = (row + column * stride) * size;
            gathered.extend_from_slice(&bytes[at..at + size]);
        }
        // The next row: the last index runs fastest.
        for (index, side) in indices.iter_mut().zip(outer).rev() {
            *index += 1;
            if *index < *side {
                break;
            }
            *index = 0;
        }
    }
    gathered
}

#[cfg(test)]
mod tests {
    use super::gather;

    #[test]
    fn a_transposed_tensor_is_brought_into_row_major_order() {
        // [[0, 1, 2], [3, 4, 5]] transposed.
        assert_eq!(
            gather(&[0, 1, 2, 3, 4, 5], 1, &[3, 2], &[1, 3]),
            [0, 3, 1, 4, 2, 5]
        );
    }

    #[test]
    fn gaps_and_three_dimensions_and_wide_elements() {
        let bytes: Vec<u8> = (0..48).collect();
        // 24 elements of 2 bytes; [2, 2, 3] with strides [12, 1, 4].
        let gathered = gather(&bytes, 2, &[2, 2, 3], &[12, 1, 4]);
        let elements: Vec<u8> = gathered.chunks(2).map(|pair| pair[0] / 2).collect();
        assert_eq!(elements, [0, 4, 8, 1, 5, 9, 12, 16, 20, 13, 17, 21]);
    }
}
