//! Tables a fit starts from, or keeps.

use crate::codebook::rounding::nearest_f16;
use crate::codebook::{Row, Solver};
use half::f16;

/// The table of llama.cpp's `IQ4_NL`, times 127.
const IQ4_NL: [i8; 16] = [
    -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113,
];

/// The table of `NF4` (`QLoRA`, appendix E).
const NF4: [f64; 16] = [
    -1.0,
    -0.696_192_800_998_687_7,
    -0.525_073_051_452_636_7,
    -0.394_917_488_098_144_53,
    -0.284_441_381_692_886_35,
    -0.184_773_430_228_233_34,
    -0.091_050_036_251_544_95,
    0.0,
    0.079_580_299_556_255_34,
    0.160_930_201_411_247_25,
    0.246_112_301_945_686_34,
    0.337_915_241_718_292_24,
    0.440_709_829_330_444_34,
    0.562_617_003_917_694_1,
    0.722_956_836_223_602_3,
    1.0,
];

/// Points of a table's weights its optimal start is computed from.
const SAMPLE: usize = 1 << 14;
/// Rounds of Lloyd's iteration on the Gaussian density; more change no f16.
const LLOYD_ROUNDS: usize = 400;
/// Cells of the Gaussian density, which ends at 6 standard deviations.
const CELLS: usize = 6000;

/// The entries of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableChoice {
    /// Fitted to the weights.
    Learned,
    /// The 16 entries of llama.cpp's `IQ4_NL`.
    Iq4Nl,
    /// The 16 entries of `NF4`.
    Nf4,
}

impl TableChoice {
    /// Width of an index where the table has a fixed one.
    pub fn fixed_bits(self) -> Option<u8> {
        (self != Self::Learned).then_some(4)
    }

    /// The entries where they are not fitted.
    pub(super) fn fixed(self) -> Option<Vec<f16>> {
        match self {
            Self::Learned => None,
            Self::Iq4Nl => Some(iq4_nl()),
            Self::Nf4 => Some(NF4.iter().map(|entry| nearest_f16(*entry)).collect()),
        }
    }
}

fn iq4_nl() -> Vec<f16> {
    let entries = IQ4_NL.iter();
    entries
        .map(|entry| nearest_f16(f64::from(*entry) / 127.0))
        .collect()
}

/// Tables that any weights can start from.
pub(super) fn general(bits: u8) -> Vec<Vec<f16>> {
    let gaussian = scaled_to_one(&gaussian(1 << bits));
    if bits == 4 {
        vec![iq4_nl(), gaussian]
    } else {
        vec![gaussian]
    }
}

/// The exact optimum for `values` with `weights` of their squared errors, or for an even share of them.
pub(super) fn optimal(values: &[f32], weights: &[f32], bits: u8) -> Vec<f16> {
    let stride = values.len().div_ceil(SAMPLE).max(1);
    let sample = |all: &[f32]| -> Vec<f32> { all.iter().step_by(stride).copied().collect() };
    let (values, weights) = (sample(values), sample(weights));
    let mut table = vec![f16::ZERO; 1 << bits];
    let row = Row {
        values: &values,
        weights: Some(&weights),
        removed: None,
    };
    Solver::default().table(row, &mut table);
    table
}

/// `entries` with the largest magnitude 1.
fn scaled_to_one(entries: &[f64]) -> Vec<f16> {
    let most = entries
        .iter()
        .fold(0.0_f64, |most, entry| most.max(entry.abs()));
    entries
        .iter()
        .map(|entry| nearest_f16(entry / most))
        .collect()
}

/// The table of `count` entries with the least mean squared error on a standard Gaussian (Lloyd and Max).
fn gaussian(count: usize) -> Vec<f64> {
    let width = 12.0 / CELLS as f64;
    let points: Vec<(f64, f64)> = (0..CELLS)
        .map(|cell| {
            let x = -6.0 + (cell as f64 + 0.5) * width;
            (x, (-0.5 * x * x).exp())
        })
        .collect();
    // Quantiles of the density to the power 1/3, which the optimum approaches for many entries.
    let total: f64 = points.iter().map(|(_, density)| density.cbrt()).sum();
    let (mut table, mut sum) = (Vec::with_capacity(count), 0.0);
    for (x, density) in &points {
        sum += density.cbrt();
        if sum > total * (table.len() as f64 + 0.5) / count as f64 && table.len() < count {
            table.push(*x);
        }
    }
    for _ in 0..LLOYD_ROUNDS {
        let mut from = 0;
        for at in 0..count {
            let end = table.get(at + 1).map_or(CELLS, |next| {
                let middle = f64::midpoint(table[at], *next);
                points.partition_point(|(x, _)| *x <= middle)
            });
            let cells = &points[from..end.max(from)];
            let mass: f64 = cells.iter().map(|(_, density)| density).sum();
            let moment: f64 = cells.iter().map(|(x, density)| x * density).sum();
            if mass > 0.0 {
                table[at] = moment / mass;
            }
            from = end.max(from);
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gaussian_table_is_the_published_optimum() {
        // Max 1960, "Quantizing for minimum distortion", table I: 4 and 8 levels.
        for (count, expected) in [
            (4, vec![0.4528, 1.510]),
            (8, vec![0.2451, 0.7560, 1.344, 2.152]),
        ] {
            let table = gaussian(count);
            for (entry, expected) in table[count / 2..].iter().zip(expected) {
                // Cells of the density, 0.002 wide, stop the iteration early; a start needs no more.
                assert!((entry - expected).abs() < 1e-2, "{entry} {expected}");
            }
        }
        let one = general(3)[0].clone();
        assert_eq!((one[0].to_f32(), one[7].to_f32()), (-1.0, 1.0));
    }

    #[test]
    fn fixed_tables_are_ascending_and_have_16_entries() {
        for choice in [TableChoice::Iq4Nl, TableChoice::Nf4] {
            let table = choice.fixed().unwrap();
            assert_eq!(table.len(), 16);
            assert!(table.is_sorted());
        }
    }
}
