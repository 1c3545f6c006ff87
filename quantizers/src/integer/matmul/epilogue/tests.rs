//! The vector code against the scalar definitions, and those against the formula in wide integers.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::super::{Epilogue, LANES, Left, PackedMatrix, TILE_VALUES, Tile, fastest, multiply};
use super::*;

/// The formula of [`Requantize`] in 128 bits.
fn formula(sum: i32, bias: i32, (multiplier, shift): (i32, u8)) -> i128 {
    let product = (i128::from(sum) + i128::from(bias)) * i128::from(multiplier);
    (product + (1 << (shift - 1))) >> shift
}

/// Sums, biases and factors of 16 channels times `groups`, edges included.
struct Case {
    values: Vec<i32>,
    bias: Vec<i32>,
    multiplier: Vec<i32>,
    shift: Vec<u8>,
}

impl Case {
    fn new(seed: u64, shifts: std::ops::RangeInclusive<u8>) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let edges = [
            0,
            1,
            -1,
            i32::MAX,
            i32::MIN,
            1 << 30,
            -(1 << 30),
            255,
            -32_768,
        ];
        let mut number = |bits: u32| match rng.random_range(0..4_u32) {
            0 => edges[rng.random_range(0..edges.len())] >> (32 - bits),
            _ => rng.random_range(i32::MIN..=i32::MAX) >> rng.random_range(32 - bits..32),
        };
        Self {
            values: (0..TILE_VALUES).map(|_| number(32)).collect(),
            bias: (0..64).map(|_| number(30)).collect(),
            multiplier: (0..64).map(|_| number(32)).collect(),
            shift: (0..64).map(|_| rng.random_range(shifts.clone())).collect(),
        }
    }

    fn tile(&self, cols: usize) -> Tile<'_> {
        Tile {
            row: 0,
            col: 0,
            rows: 6,
            cols,
            values: &self.values,
            stride: 64,
        }
    }

    fn scales(&self) -> Scales<'_> {
        Scales {
            bias: &self.bias,
            multipliers: &self.multiplier,
            shifts: &self.shift,
        }
    }

    fn factor(&self, channel: usize) -> (i32, u8) {
        (self.multiplier[channel], self.shift[channel])
    }
}

/// Ranges of shifts that take the narrow path, the wide one, and both kinds of lanes.
const SHIFTS: [std::ops::RangeInclusive<u8>; 4] = [32..=62, 1..=31, 1..=62, 32..=40];

fn check_requantize<T: Code + Into<i32>>(zero_point: i32, range: (i32, i32)) {
    for (seed, shifts) in (0..40).flat_map(|seed| SHIFTS.map(|shifts| (seed, shifts))) {
        let case = Case::new(seed, shifts);
        let scales = Requantize::<T>::new(case.scales(), zero_point, range).unwrap();
        for cols in [64, 63, 49, 48, 33, 17, 16, 15, 1] {
            let tile = case.tile(cols);
            let mut scalar = vec![T::default(); 6 * 70];
            let mut fast = scalar.clone();
            scales.write_scalar(&tile, &mut scalar, 70);
            scales.write(&tile, &mut fast, 70);
            assert_eq!(fast, scalar);
        }
        for channel in 0..64 {
            let sum = case.values[channel];
            let exact = formula(sum, case.bias[channel], case.factor(channel));
            let exact = (exact + i128::from(zero_point)).clamp(range.0.into(), range.1.into());
            assert_eq!(i128::from(scales.code(sum, channel).into()), exact);
        }
    }
}

#[test]
fn codes_of_every_type_equal_the_formula() {
    check_requantize::<u8>(128, (0, 255));
    check_requantize::<u8>(3, (1, 200));
    check_requantize::<i8>(0, (-128, 127));
    check_requantize::<i8>(-5, (-127, 126));
    check_requantize::<i16>(0, (-32_768, 32_767));
    check_requantize::<i16>(2048, (0, 4095));
    check_requantize::<i32>(0, (i32::MIN, i32::MAX));
    check_requantize::<i32>(-7, (-1_000_000, 1_000_000));
}

fn scales<'a>(bias: &'a [i32], multipliers: &'a [i32], shifts: &'a [u8]) -> Scales<'a> {
    Scales {
        bias,
        multipliers,
        shifts,
    }
}

#[test]
fn ties_round_up() {
    let scales = Requantize::<i8>::new(scales(&[0; 4], &[1; 4], &[1; 4]), 0, (-128, 127)).unwrap();
    let codes: Vec<i8> = [-3, -1, 1, 3]
        .iter()
        .map(|&sum| scales.code(sum, 0))
        .collect();
    assert_eq!(codes, [-1, 0, 1, 2]);
}

/// Residuals with edges among them, `[6, 80]`.
fn residuals(rng: &mut ChaCha8Rng) -> Vec<i16> {
    let edges = [i16::MIN, i16::MAX, 0, -1];
    let mut number = |i: usize| match edges.get(i % 9) {
        Some(&edge) => edge,
        None => rng.random_range(i16::MIN..=i16::MAX),
    };
    (0..6 * 80).map(&mut number).collect()
}

fn check_residuals<T: Code + Into<i32>>(zero_point: i32, range: (i32, i32)) {
    for (seed, shifts) in (0..20).flat_map(|seed| SHIFTS.map(|shifts| (seed, shifts))) {
        let case = Case::new(seed, shifts);
        let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0xff);
        let residual = residuals(&mut rng);
        let mut per_channel: Vec<(i32, u8)> = (0..64)
            .map(|_| {
                (
                    rng.random_range(i32::MIN..=i32::MAX),
                    rng.random_range(18..=62),
                )
            })
            .collect();
        per_channel[..4].copy_from_slice(&[(i32::MAX, 18), (i32::MIN, 18), (1, 1), (-3, 2)]);
        for (factors, zero) in [
            (&per_channel[..], 0),
            (&per_channel[..], i16::MIN),
            (&per_channel[..1], i16::MAX),
            (&per_channel[2..3], 77),
        ] {
            let branch = Branch {
                factors,
                zero_point: zero,
            };
            let scales = Residual::<T>::new(case.scales(), branch, zero_point, range).unwrap();
            for cols in [64, 50, 16, 5] {
                let tile = case.tile(cols);
                let mut scalar = vec![T::default(); 6 * 70];
                let mut fast = scalar.clone();
                scales.write_scalar(&tile, (&residual, 80), (&mut scalar, 70));
                let (residual, out) = (&residual[..], &mut fast[..]);
                let (residual_stride, stride) = (80, 70);
                let scales = &scales;
                AddResidual {
                    scales,
                    residual,
                    residual_stride,
                    out,
                    stride,
                }
                .finish(&tile);
                assert_eq!(fast, scalar);
            }
            for (channel, &stream) in residual.iter().enumerate().take(64) {
                let sum = case.values[channel];
                let wide = formula(sum, case.bias[channel], case.factor(channel));
                let factor = factors[if factors.len() == 1 { 0 } else { channel }];
                let both = wide + formula(stream.into(), -i32::from(zero), factor);
                let exact = (both + i128::from(zero_point)).clamp(range.0.into(), range.1.into());
                assert_eq!(i128::from(scales.code(sum, channel, stream).into()), exact);
            }
        }
    }
}

#[test]
fn residuals_equal_the_formula() {
    check_residuals::<i16>(0, (-32_768, 32_767));
    check_residuals::<i16>(-32_768, (-32_000, 31_000));
    check_residuals::<i32>(100, (-32_768, 32_767));
    check_residuals::<u8>(128, (0, 255));
}

#[test]
fn a_byte_table_maps_every_code() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let table = ByteTable::new(std::array::from_fn(|_| rng.random_range(0..=255)));
    for len in [0, 1, 63, 64, 65, 256, 300] {
        let codes: Vec<u8> = (0..=255).cycle().take(len).collect();
        let (mut fast, mut scalar) = (codes.clone(), codes.clone());
        table.map(&mut fast);
        table.map_scalar(&mut scalar);
        let expected: Vec<u8> = codes
            .iter()
            .map(|&code| table.values()[code as usize])
            .collect();
        assert_eq!((fast, scalar), (expected.clone(), expected));
    }
}

/// Small whole products: the epilogue sees tiles that do not start at the first output.
#[test]
fn fused_outputs_equal_separate_ones() {
    let (m, k, n) = (23, 37, 149);
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let left: Vec<u8> = (0..m * k).map(|_| rng.random_range(0..=255)).collect();
    let right: Vec<i8> = (0..n * k).map(|_| rng.random_range(-128..=127)).collect();
    let packed = PackedMatrix::pack(&right, n, k);
    let bias: Vec<i32> = (0..n).map(|_| rng.random_range(-20_000..20_000)).collect();
    let multiplier: Vec<i32> = (0..n)
        .map(|_| rng.random_range(1 << 30..i32::MAX))
        .collect();
    let left = Left::new(&left, m, k);
    let mut sums = vec![0; m * n];
    super::super::multiply_into(fastest(), left, &packed, &mut sums, n);

    let bytes =
        Requantize::<u8>::new(scales(&bias, &multiplier, &vec![40; n]), 128, (0, 255)).unwrap();
    let codes: Vec<u8> = (0..m * n).map(|i| bytes.code(sums[i], i % n)).collect();
    let mut out = vec![0; m * n];
    multiply(
        fastest(),
        left,
        &packed,
        &mut Store {
            requantize: &bytes,
            out: &mut out,
            stride: n,
        },
    );
    assert_eq!(out, codes);

    let table = ByteTable::new(std::array::from_fn(|_| rng.random_range(0..=255)));
    let mut mapped = StoreMapped {
        requantize: &bytes,
        table: &table,
        out: &mut out,
        stride: n,
    };
    multiply(fastest(), left, &packed, &mut mapped);
    let expected: Vec<u8> = codes
        .iter()
        .map(|&code| table.values()[code as usize])
        .collect();
    assert_eq!(out, expected);

    let fine =
        Requantize::<i16>::new(scales(&bias, &multiplier, &vec![37; n]), 512, (0, 1023)).unwrap();
    let table: Vec<u8> = (0..1024).map(|_| rng.random_range(0..=255)).collect();
    let mut lookup = StoreLookup {
        requantize: &fine,
        table: &table,
        out: &mut out,
        stride: n,
    };
    multiply(fastest(), left, &packed, &mut lookup);
    let expected: Vec<u8> = (0..m * n)
        .map(|i| table[usize::try_from(fine.code(sums[i], i % n)).unwrap()])
        .collect();
    assert_eq!(out, expected);

    let joined = Residual::<i16>::new(
        scales(&bias, &multiplier, &vec![33; n]),
        Branch {
            factors: &[(1 << 30, 31)],
            zero_point: 5,
        },
        0,
        (-32_768, 32_767),
    )
    .unwrap();
    let residual: Vec<i16> = (0..m * n).map(|_| rng.random_range(-9000..9000)).collect();
    let mut wide = vec![0; m * n];
    let mut add = AddResidual {
        scales: &joined,
        residual: &residual,
        residual_stride: n,
        out: &mut wide,
        stride: n,
    };
    multiply(fastest(), left, &packed, &mut add);
    let expected: Vec<i16> = (0..m * n)
        .map(|i| joined.code(sums[i], i % n, residual[i]))
        .collect();
    assert_eq!(wide, expected);
    assert!(n % LANES != 0);
}

#[test]
fn constants_out_of_range_are_refused() {
    let bytes = |multiplier: &[i32], shift: &[u8], range| {
        Requantize::<u8>::new(scales(&[0], multiplier, shift), 0, range)
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        bytes(&[1, 2], &[5], (0, 255)),
        "expected 1 multipliers and shifts, found 2 and 1"
    );
    assert_eq!(
        bytes(&[1], &[63], (0, 255)),
        "expected a shift from 1 to 62 in channel 0, found 63"
    );
    assert_eq!(
        bytes(&[1], &[5], (-1, 255)),
        "expected codes from 0 to 255, found -1 to 255 around 0"
    );
    let residual = |factors: &[(i32, u8)], range| {
        let branch = Branch {
            factors,
            zero_point: 0,
        };
        let scales = scales(&[0], &[1], &[32]);
        Residual::<i32>::new(scales, branch, 0, range)
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        residual(&[(1 << 30, 17)], (0, 1)),
        "expected a shift from 18 to 62 in channel 0, found 17"
    );
    assert_eq!(
        residual(&[], (0, 1)),
        "expected 1 or 1 factors of the residual, found 0"
    );
    assert_eq!(
        residual(&[(1 << 30, 30)], (0, 32_768)),
        "expected codes from -32768 to 32767, found 0 to 32768 around 0"
    );
}
