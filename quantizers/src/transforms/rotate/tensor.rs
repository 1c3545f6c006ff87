//! The rotated values of one tensor, in f64 row by row.

use super::rotation::Rotation;
use crate::transforms::error::TransformError;
use crate::transforms::rewrite::Rewriting;
use rayon::prelude::*;
use std::sync::Arc;

/// Columns that are rotated together where a rotation goes down the columns of what is stored.
const STRIP: usize = 32;

/// A rotation of some channels of one side of a matrix.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Turn {
    pub(super) rotation: Arc<Rotation>,
    /// The first channel of each set that is rotated; sets do not overlap.
    pub(super) starts: Vec<usize>,
}

impl Turn {
    /// A rotation of all channels.
    pub(super) fn whole(rotation: &Arc<Rotation>) -> Self {
        Self {
            rotation: Arc::clone(rotation),
            starts: vec![0],
        }
    }

    /// Rotates every set of the channels in `values`.
    fn apply(&self, values: &mut [f64]) {
        for &start in &self.starts {
            self.rotation
                .apply(&mut values[start..start + self.rotation.width()]);
        }
    }
}

/// What becomes of a matrix `W` `[outputs, inputs]`: `Qᵀ W diag(g) P`, whatever of it is there. A vector that is added
/// to outputs is a matrix of one input.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Turned {
    pub(super) name: String,
    pub(super) outputs: usize,
    pub(super) inputs: usize,
    /// Stored as `[inputs, outputs]`.
    pub(super) transposed: bool,
    /// The inputs are multiplied with the factors of a norm, which are read besides; those that are stored less by
    /// one: `Some(true)`.
    pub(super) factors: Option<bool>,
    /// `P`.
    pub(super) of_inputs: Option<Turn>,
    /// `Q`.
    pub(super) of_outputs: Option<Turn>,
}

/// The new values of a tensor.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Change {
    /// Those of a matrix or vector.
    Turned(Turned),
    /// The same for all channels: the factors of a norm that have gone into what reads it.
    Constant(f32),
}

impl Rewriting for Change {
    fn values(&self, source: Vec<f32>, read: &[Vec<f32>]) -> Result<Vec<f32>, TransformError> {
        match self {
            Self::Turned(turned) => turned.values(source, read),
            Self::Constant(value) => Ok(vec![*value; source.len()]),
        }
    }
}

impl Turned {
    /// Whether nothing is done to it.
    pub(super) fn is_unchanged(&self) -> bool {
        self.factors.is_none() && self.of_inputs.is_none() && self.of_outputs.is_none()
    }

    fn values(&self, mut values: Vec<f32>, read: &[Vec<f32>]) -> Result<Vec<f32>, TransformError> {
        self.check(values.len(), self.outputs * self.inputs)?;
        let factors = match self.factors {
            Some(one_plus) => {
                let factors = read.first().map_or(&[][..], Vec::as_slice);
                self.check(factors.len(), self.inputs)?;
                let offset = if one_plus { 1.0 } else { 0.0 };
                let factors = factors.iter().map(|factor| f64::from(*factor) + offset);
                Some(factors.collect::<Vec<f64>>())
            }
            None => None,
        };
        let inputs = Side {
            factors: factors.as_deref(),
            turn: self.of_inputs.as_ref(),
        };
        let outputs = Side {
            factors: None,
            turn: self.of_outputs.as_ref(),
        };
        // What lies next to each other, and what goes from row to row.
        let (length, along, down) = if self.transposed {
            (self.outputs, outputs, inputs)
        } else {
            (self.inputs, inputs, outputs)
        };
        along.apply_along(&mut values, length);
        down.apply_down(&mut values, length);
        Ok(values)
    }

    fn check(&self, found: usize, expected: usize) -> Result<(), TransformError> {
        if found == expected {
            return Ok(());
        }
        Err(TransformError::Size {
            name: self.name.clone(),
            expected,
            found,
        })
    }
}

/// What is done to the channels of one side.
struct Side<'a> {
    factors: Option<&'a [f64]>,
    turn: Option<&'a Turn>,
}

impl Side<'_> {
    fn is_nothing(&self) -> bool {
        self.factors.is_none() && self.turn.is_none()
    }

    fn apply(&self, channels: &mut [f64]) {
        if let Some(factors) = self.factors {
            for (value, factor) in channels.iter_mut().zip(factors) {
                *value *= factor;
            }
        }
        if let Some(turn) = self.turn {
            turn.apply(channels);
        }
    }

    /// For rows of `length` channels.
    fn apply_along(&self, values: &mut [f32], length: usize) {
        if self.is_nothing() {
            return;
        }
        let rows = values.par_chunks_exact_mut(length.max(1));
        rows.for_each_init(Vec::new, |channels, row| {
            channels.clear();
            channels.extend(row.iter().map(|value| f64::from(*value)));
            self.apply(channels);
            for (value, channel) in row.iter_mut().zip(&*channels) {
                *value = narrow(*channel);
            }
        });
    }

    /// For columns of channels, of which each row has `length`.
    fn apply_down(&self, values: &mut [f32], length: usize) {
        if self.is_nothing() {
            return;
        }
        let count = values.len() / length.max(1);
        let strip = |first: usize| -> Vec<f32> {
            let columns = first..(first + STRIP).min(length);
            let mut strip = vec![0.0_f64; columns.len() * count];
            for (row, values) in values.chunks_exact(length).enumerate() {
                for (at, value) in values[columns.clone()].iter().enumerate() {
                    strip[at * count + row] = f64::from(*value);
                }
            }
            for channels in strip.chunks_exact_mut(count.max(1)) {
                self.apply(channels);
            }
            strip.into_iter().map(narrow).collect()
        };
        let firsts: Vec<usize> = (0..length).step_by(STRIP).collect();
        let strips: Vec<Vec<f32>> = firsts.par_iter().map(|first| strip(*first)).collect();
        for (first, strip) in firsts.into_iter().zip(strips) {
            for (at, channels) in strip.chunks_exact(count.max(1)).enumerate() {
                for (row, channel) in channels.iter().enumerate() {
                    values[row * length + first + at] = *channel;
                }
            }
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "weights are f32")]
fn narrow(value: f64) -> f32 {
    value as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 8 outputs, of which 4 and 5 stay, and 12 inputs.
    fn turned(transposed: bool) -> Turned {
        let rotation = |width| Arc::new(Rotation::new(width, 1, "test"));
        Turned {
            name: "w".to_owned(),
            outputs: 8,
            inputs: 12,
            transposed,
            factors: Some(true),
            of_inputs: Some(Turn::whole(&rotation(12))),
            of_outputs: Some(Turn {
                rotation: rotation(2),
                starts: vec![0, 2, 6],
            }),
        }
    }

    fn matrix() -> Vec<f32> {
        (0..96_u8).map(|at| (f32::from(at) * 0.37).sin()).collect()
    }

    /// `[rows, cols]` as `[cols, rows]`.
    fn transposed(values: &[f32], cols: usize) -> Vec<f32> {
        let column = |col| values.iter().skip(col).step_by(cols).copied();
        (0..cols).flat_map(column).collect()
    }

    #[test]
    fn a_matrix_that_is_stored_transposed_gets_the_same_values() {
        let factors = vec![vec![0.5; 12]];
        let plain = turned(false).values(matrix(), &factors).unwrap();
        let other = turned(true).values(transposed(&matrix(), 12), &factors);
        let other = transposed(&other.unwrap(), 8);
        // The sides are taken in another order, which rounds otherwise.
        for (a, b) in plain.iter().zip(&other) {
            assert!((a - b).abs() < 1e-6, "{a} {b}");
        }
    }

    #[test]
    fn rotated_inputs_meet_rotated_columns_and_outputs_come_out_rotated() {
        let whole = turned(false);
        let values = whole.values(matrix(), &[vec![0.5; 12]]).unwrap();
        let wide = |values: &[f32]| values.iter().map(|v| f64::from(*v)).collect::<Vec<f64>>();
        let input: Vec<f64> = (0..12).map(|at| f64::from(at).cos()).collect();
        let product = |matrix: &[f64], input: &[f64]| -> Vec<f64> {
            let rows = matrix.chunks_exact(12);
            rows.map(|row| row.iter().zip(input).map(|(w, x)| w * x).sum())
                .collect()
        };
        let mut expected = product(&wide(&matrix()), &input);
        // Factors of 1.5 are in the columns, and not in the input.
        for value in &mut expected {
            *value *= 1.5;
        }
        whole.of_outputs.as_ref().unwrap().apply(&mut expected);
        let mut rotated = input;
        whole.of_inputs.as_ref().unwrap().apply(&mut rotated);
        let found = product(&wide(&values), &rotated);
        for (found, expected) in found.iter().zip(&expected) {
            assert!((found - expected).abs() < 1e-5, "{found} {expected}");
        }
    }

    #[test]
    fn a_tensor_of_another_size_is_named() {
        let error = turned(false).values(vec![0.0; 95], &[]).unwrap_err();
        assert_eq!(error.to_string(), "`w`: expected 96 values, found 95");
    }
}
