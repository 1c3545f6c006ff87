//! Scales of blocks of a matrix: one for all of it, for each row, for groups within rows, or for tiles.

use crate::formats::minifloat::table_of;
use crate::formats::{Dtype, FormatError, TensorFolder};
use rayon::prelude::*;

/// The scales of a tensor `[.., rows, cols]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scales {
    /// The stored tensor.
    name: String,
    /// Matrices that are one after the other.
    matrices: usize,
    rows: usize,
    cols: usize,
    /// Rows and columns that share a scale.
    block: [usize; 2],
}

impl Scales {
    /// Finds out from shapes which weights share a scale of the tensor `name`; `block` is what the
    /// configuration says of tiles.
    ///
    /// # Errors
    /// A tensor that is missing or is no scale, or a shape that fits no way of sharing.
    pub(super) fn of(
        folder: &TensorFolder,
        name: String,
        weights: &[usize],
        block: Option<[usize; 2]>,
    ) -> Result<Self, FormatError> {
        let info = folder.require(&name)?;
        if !is_scale(info.dtype) {
            return Err(FormatError::TensorType {
                name,
                expected: "F32, F16, BF16, F8_E4M3, F8_E8M0 or U8",
                found: info.dtype,
            });
        }
        let (matrices, rows, cols) = split(weights);
        let count = info.elements();
        let expected = |[down, right]: [usize; 2]| {
            vec![
                matrices,
                rows.div_ceil(down.max(1)),
                cols.div_ceil(right.max(1)),
            ]
        };
        let found = match split_scales(&info.shape, matrices) {
            // The whole tensor, or each of its matrices.
            _ if count == 1 => Some((1, [matrices * rows, cols])),
            _ if matrices > 1 && count == matrices => Some((matrices, [rows, cols])),
            Some([down, right]) => shared(rows, cols, [down, right], block).map(|b| (matrices, b)),
            None => None,
        };
        let Some((matrices, block)) = found.filter(|(_, block)| block.iter().all(|&side| side > 0))
        else {
            return Err(FormatError::TensorShape {
                name,
                expected: expected(block.unwrap_or([1, cols])),
                found: info.shape.clone(),
            });
        };
        let rows = if count == 1 { block[0] } else { rows };
        Ok(Self {
            name,
            matrices,
            rows,
            cols,
            block,
        })
    }

    /// In words.
    pub(super) fn describe(&self) -> String {
        match self.block {
            [rows, cols] if rows == self.rows && cols == self.cols => "one scale".to_owned(),
            [1, cols] if cols == self.cols => "channel".to_owned(),
            [1, cols] => format!("group {cols}"),
            [rows, cols] => format!("block {rows}x{cols}"),
        }
    }

    /// Multiplies `values` with their scales, each times `factor`.
    pub(super) fn apply(
        &self,
        folder: &TensorFolder,
        values: &mut [f32],
        factor: f32,
    ) -> Result<(), FormatError> {
        let scales = read(folder, &self.name)?;
        let [down, right] = self.block;
        let (tall, wide) = (self.rows.div_ceil(down), self.cols.div_ceil(right));
        if values.is_empty() {
            return Ok(());
        }
        debug_assert_eq!(
            values.len(),
            self.matrices * self.rows * self.cols,
            "all weights"
        );
        values
            .par_chunks_mut(self.cols)
            .enumerate()
            .for_each(|(row, values)| {
                let (matrix, row) = (row / self.rows, row % self.rows);
                let first = (matrix * tall + row / down) * wide;
                for (values, scale) in values.chunks_mut(right).zip(&scales[first..]) {
                    let scale = scale * factor;
                    for value in values {
                        *value *= scale;
                    }
                }
            });
        Ok(())
    }
}

/// Matrices, rows and columns of a shape.
fn split(shape: &[usize]) -> (usize, usize, usize) {
    match shape {
        [] => (1, 1, 1),
        [cols] => (1, 1, *cols),
        [matrices @ .., rows, cols] => (matrices.iter().product(), *rows, *cols),
    }
}

/// Scales along the rows and along the columns of one matrix.
fn split_scales(shape: &[usize], matrices: usize) -> Option<[usize; 2]> {
    let [down, right] = match shape {
        [] => [1, 1],
        [down] => [*down, 1],
        [.., down, right] => [*down, *right],
    };
    let count: usize = shape.iter().product();
    (count == matrices * down * right).then_some([down, right])
}

/// The block of a matrix that has `[down, right]` scales.
fn shared(
    rows: usize,
    cols: usize,
    [down, right]: [usize; 2],
    block: Option<[usize; 2]>,
) -> Option<[usize; 2]> {
    let tiles = |[tall, wide]: &[usize; 2]| {
        let positive = *tall > 0 && *wide > 0;
        positive && rows.div_ceil(*tall) == down && cols.div_ceil(*wide) == right
    };
    if let Some(block) = block.filter(tiles) {
        return Some(block);
    }
    let in_rows = down == rows && right > 0 && cols.is_multiple_of(right);
    in_rows.then(|| [1, cols / right])
}

fn is_scale(dtype: Dtype) -> bool {
    use Dtype::{BF16, F8_E4M3, F8_E8M0, F16, F32, U8};
    [F32, F16, BF16, F8_E4M3, F8_E8M0, U8].contains(&dtype)
}

/// The values of a scale tensor. Bytes of no type are exponents, as libraries without the type store them.
fn read(folder: &TensorFolder, name: &str) -> Result<Vec<f32>, FormatError> {
    let dtype = match folder.require(name)?.dtype {
        Dtype::U8 => Dtype::F8_E8M0,
        dtype => dtype,
    };
    match table_of(dtype) {
        Some(table) => Ok((folder.bytes(name)?.iter())
            .map(|byte| table[usize::from(*byte)])
            .collect()),
        None => Ok(folder.floats(name)?.into_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_of_sharing_is_read_off_the_shapes() {
        let tile = Some([128, 128]);
        assert_eq!(shared(300, 200, [3, 2], tile), Some([128, 128]));
        assert_eq!(shared(300, 200, [300, 1], tile), Some([1, 200]));
        assert_eq!(shared(300, 192, [300, 6], None), Some([1, 32]));
        assert_eq!(shared(300, 200, [3, 2], None), None);
        assert_eq!(shared(300, 200, [2, 2], tile), None);
        assert_eq!(shared(300, 200, [0, 2], Some([0, 0])), None);
        assert_eq!(split_scales(&[4, 3, 2], 4), Some([3, 2]));
        assert_eq!(split_scales(&[4, 3, 2], 5), None);
    }
}
