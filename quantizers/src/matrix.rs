//! A borrowed row-major matrix: row = output channel, everywhere.

use thiserror::Error;

/// The data length disagrees with the shape.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("expected {rows} x {cols} = {} values, found {found}", rows * cols)]
pub struct ShapeError {
    /// Rows asked for.
    pub rows: usize,
    /// Columns asked for.
    pub cols: usize,
    /// Values given.
    pub found: usize,
}

/// Borrowed `[rows, cols]` matrix, row-major, row = output channel.
#[derive(Debug, Clone, Copy)]
pub struct MatrixRef<'a> {
    data: &'a [f32],
    rows: usize,
    cols: usize,
}

impl<'a> MatrixRef<'a> {
    /// Views `data` as `[rows, cols]`.
    ///
    /// # Errors
    /// When `data.len() != rows * cols`.
    pub fn new(data: &'a [f32], rows: usize, cols: usize) -> Result<Self, ShapeError> {
        if rows.checked_mul(cols) == Some(data.len()) {
            Ok(Self { data, rows, cols })
        } else {
            Err(ShapeError {
                rows,
                cols,
                found: data.len(),
            })
        }
    }

    /// Output channels.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Inputs of one output channel.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// All values, row after row.
    pub fn data(&self) -> &'a [f32] {
        self.data
    }

    /// Row, column and value of the first weight that is not finite.
    pub fn first_not_finite(&self) -> Option<(usize, usize, f32)> {
        let at = self.data.iter().position(|value| !value.is_finite())?;
        Some((at / self.cols, at % self.cols, self.data[at]))
    }

    /// Row `index`.
    ///
    /// # Panics
    /// When `index >= rows`.
    pub fn row(&self, index: usize) -> &'a [f32] {
        &self.data[index * self.cols..(index + 1) * self.cols]
    }
}

/// An owned `[rows, cols]` matrix, row-major.
#[derive(Debug, Clone, PartialEq)]
pub struct Matrix {
    data: Vec<f32>,
    rows: usize,
    cols: usize,
}

impl Matrix {
    /// A matrix of zeros.
    pub fn zeros(rows: usize, cols: usize) -> Self {
        Self {
            data: vec![0.0; rows * cols],
            rows,
            cols,
        }
    }

    /// Views it.
    pub fn view(&self) -> MatrixRef<'_> {
        MatrixRef {
            data: &self.data,
            rows: self.rows,
            cols: self.cols,
        }
    }

    /// Row `index`.
    ///
    /// # Panics
    /// When `index >= rows`.
    pub fn row(&self, index: usize) -> &[f32] {
        self.view().row(index)
    }

    /// Row `index`, to be written.
    ///
    /// # Panics
    /// When `index >= rows`.
    pub fn row_mut(&mut self, index: usize) -> &mut [f32] {
        &mut self.data[index * self.cols..(index + 1) * self.cols]
    }

    /// All values, row after row.
    pub fn into_data(self) -> Vec<f32> {
        self.data
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_value_that_is_not_finite_is_found() {
        let data = [1.0, 2.0, 3.0, f32::INFINITY, f32::NAN, 6.0];
        let matrix = MatrixRef::new(&data, 2, 3).unwrap();
        assert_eq!(matrix.first_not_finite(), Some((1, 0, f32::INFINITY)));
        assert_eq!(
            MatrixRef::new(&data[..3], 1, 3).unwrap().first_not_finite(),
            None
        );
    }

    #[test]
    fn rows_are_contiguous_and_the_length_is_checked() {
        let data = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let matrix = MatrixRef::new(&data, 2, 3).unwrap();
        assert_eq!(matrix.row(1), &[4.0, 5.0, 6.0]);
        let error = MatrixRef::new(&data, 2, 4).unwrap_err();
        assert_eq!(error.to_string(), "expected 2 x 4 = 8 values, found 6");
    }
}
