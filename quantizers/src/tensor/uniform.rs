//! Uniform grids: signed codes, a scale for each group, and zero points, whole or not, where the grid has them.

use super::digest::Parts;
use super::encoding::Dense;
use super::invalid::{InvalidTensor, check_bits, check_signed, finite, length};
use super::scheme::{Scheme, SchemeKind};
use super::storage::{FloatType, Granularity};
use crate::pack;
use bytemuck::cast_slice;
use half::f16;

/// Uniform grid: `w = scale * (code - zero_point)`.
#[derive(Debug, Clone, PartialEq)]
pub struct Uniform {
    /// Width of one code, 1..=8.
    pub bits: u8,
    /// Who shares a scale.
    pub granularity: Granularity,
    /// Signed codes in `-2^(bits-1) ..= 2^(bits-1)-1`, `[rows, cols]`.
    pub codes: Vec<i8>,
    /// Scales, already rounded to `scale_type`; `[rows, groups]`, or one for the tensor.
    pub scales: Vec<f32>,
    /// How the scales are stored.
    pub scale_type: FloatType,
    /// Zero points (same shape as `scales`), absent for symmetric grids.
    pub zero_points: Option<Vec<i8>>,
    /// Zero points that need not be codes, in place of those; same shape as `scales`.
    pub float_zero_points: Option<Vec<f16>>,
    /// Group of every column, `[cols]`, where the columns of a group are not neighbours; only beside
    /// [`Granularity::Group`].
    pub column_groups: Option<Vec<u32>>,
}

/// How the zero points of a grid are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ZeroPoints {
    /// All of them are 0.
    Fixed,
    /// As packed codes.
    Codes,
    /// As f16.
    Floats,
}

impl ZeroPoints {
    pub(super) fn of(symmetric: bool, floats: bool) -> Self {
        match (symmetric, floats) {
            (_, true) => Self::Floats,
            (true, false) => Self::Fixed,
            (false, false) => Self::Codes,
        }
    }
}

/// Bits of packed codes, scales, zero points and the groups of columns.
pub(super) fn storage_bits(
    (rows, cols): (usize, usize),
    bits: u8,
    granularity: Granularity,
    scale_type: FloatType,
    zero_points: ZeroPoints,
    column_groups: bool,
) -> u64 {
    let scales = granularity.scale_count(rows, cols) as u64 * scale_type.bits();
    let zero_points = match (zero_points, granularity) {
        (ZeroPoints::Fixed, _) => 0,
        (ZeroPoints::Floats, _) => 16 * granularity.scale_count(rows, cols) as u64,
        // One zero point is stored as a plain byte.
        (ZeroPoints::Codes, Granularity::Tensor) => 8,
        (ZeroPoints::Codes, _) => {
            32 * (pack::words(rows, bits) * granularity.groups_per_row(cols)) as u64
        }
    };
    let groups = if column_groups { 32 * cols as u64 } else { 0 };
    pack::storage_bits(rows, cols, bits) + scales + zero_points + groups
}

impl Dense for Uniform {
    fn check(&self, rows: usize, cols: usize) -> Result<(), InvalidTensor> {
        check_bits(self.bits)?;
        if self.granularity == Granularity::Group(0) {
            return Err(InvalidTensor::EmptyGroup);
        }
        length("codes", rows.saturating_mul(cols), self.codes.len())?;
        let scales = self.granularity.scale_count(rows, cols);
        length("scales", scales, self.scales.len())?;
        finite("scales", self.scales.iter().copied())?;
        check_signed("codes", self.bits, &self.codes)?;
        if let Some(zero_points) = &self.zero_points {
            length("zero points", scales, zero_points.len())?;
            check_signed("zero points", self.bits, zero_points)?;
        }
        if let Some(zero_points) = &self.float_zero_points {
            length("zero points", scales, zero_points.len())?;
            finite("zero points", zero_points.iter().map(|zero| zero.to_f32()))?;
        }
        self.column_groups
            .as_ref()
            .map_or(Ok(()), |of_columns| self.check_groups(of_columns, cols))
    }

    fn storage_bits(&self, rows: usize, cols: usize) -> u64 {
        storage_bits(
            (rows, cols),
            self.bits,
            self.granularity,
            self.scale_type,
            ZeroPoints::of(self.zero_points.is_none(), self.float_zero_points.is_some()),
            self.column_groups.is_some(),
        )
    }

    fn decode_row(&self, row: usize, _rows: usize, out: &mut [f32]) {
        let cols = out.len();
        let codes = &self.codes[row * cols..(row + 1) * cols];
        let groups = self.granularity.groups_per_row(cols);
        let first = match self.granularity {
            Granularity::Tensor => 0,
            Granularity::Channel | Granularity::Group(_) => row * groups,
        };
        // Differences of codes are exact in f32.
        let zero = |group: usize| match (&self.zero_points, &self.float_zero_points) {
            (_, Some(zeros)) => zeros[first + group].to_f32(),
            (Some(zeros), None) => f32::from(zeros[first + group]),
            (None, None) => 0.0,
        };
        let value = |group: usize, zero: f32, code: i8| {
            self.scales[first + group] * (f32::from(code) - zero)
        };
        if let Some(of_columns) = &self.column_groups {
            for ((out, code), group) in out.iter_mut().zip(codes).zip(of_columns) {
                let group = *group as usize;
                *out = value(group, zero(group), *code);
            }
            return;
        }
        let size = match self.granularity {
            Granularity::Group(size) => size,
            Granularity::Tensor | Granularity::Channel => cols,
        };
        for (group, (out, codes)) in out.chunks_mut(size).zip(codes.chunks(size)).enumerate() {
            let zero = zero(group);
            for (out, code) in out.iter_mut().zip(codes) {
                *out = value(group, zero, *code);
            }
        }
    }

    fn add_to(&self, digest: &mut Parts) {
        digest.add("uniform", &[self.bits]);
        digest.granularity(self.granularity);
        digest.float_type(self.scale_type);
        digest.add("codes", cast_slice(&self.codes));
        digest.add("scales", cast_slice(&self.scales));
        if let Some(zero_points) = &self.zero_points {
            digest.add("zero points", cast_slice(zero_points));
        }
        if let Some(zero_points) = &self.float_zero_points {
            digest.add("float zero points", cast_slice(zero_points));
        }
        if let Some(of_columns) = &self.column_groups {
            digest.add("column groups", cast_slice(of_columns));
        }
    }

    fn matches(&self, scheme: &Scheme) -> bool {
        scheme.kind == SchemeKind::Uniform
            && scheme.bits == self.bits
            && scheme.granularity == self.granularity
            && scheme.float_zero_points == self.float_zero_points.is_some()
            && scheme.symmetric == (self.zero_points.is_none() && !scheme.float_zero_points)
            && scheme.column_groups == self.column_groups.is_some()
    }
}

impl Uniform {
    fn check_groups(&self, of_columns: &[u32], cols: usize) -> Result<(), InvalidTensor> {
        if !matches!(self.granularity, Granularity::Group(_)) {
            return Err(InvalidTensor::NoGroups);
        }
        length("column groups", cols, of_columns.len())?;
        let groups = self.granularity.groups_per_row(cols);
        match of_columns
            .iter()
            .position(|group| *group as usize >= groups)
        {
            None => Ok(()),
            Some(column) => Err(InvalidTensor::ColumnGroup {
                groups,
                column,
                found: of_columns[column],
            }),
        }
    }
}
