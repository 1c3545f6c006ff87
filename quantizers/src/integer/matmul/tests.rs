//! Every kernel against the sum as it is written in a textbook.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;

/// `[m, n]` sums of `left` `[m, k]` and `right` `[n, k]`.
fn textbook(left: &[u8], right: &[i8], (m, k, n): (usize, usize, usize)) -> Vec<i32> {
    let mut out = Vec::with_capacity(m * n);
    for i in 0..m {
        for j in 0..n {
            let products = (0..k).map(|x| i64::from(left[i * k + x]) * i64::from(right[j * k + x]));
            out.push(i32::try_from(products.sum::<i64>()).unwrap());
        }
    }
    out
}

fn available() -> impl Iterator<Item = &'static dyn Kernel> {
    KERNELS.iter().copied().filter(|kernel| kernel.available())
}

fn random(rng: &mut ChaCha8Rng, len: usize) -> (Vec<u8>, Vec<i8>) {
    (
        (0..len).map(|_| rng.random_range(0..=255)).collect(),
        (0..len).map(|_| rng.random_range(-128..=127)).collect(),
    )
}

/// Rows, inputs and channels around every edge of tiles, panels and steps.
const SHAPES: [(usize, usize, usize); 20] = [
    (1, 1, 1),
    (1, 4, 16),
    (1, 3, 1),
    (2, 5, 17),
    (3, 64, 15),
    (5, 7, 64),
    (6, 8, 65),
    (7, 33, 48),
    (8, 31, 49),
    (9, 16, 33),
    (12, 12, 80),
    (13, 130, 127),
    (17, 6, 32),
    (1, 4096, 1),
    (4, 4095, 3),
    (128, 32, 128),
    (11, 100, 96),
    (1, 384, 200),
    (25, 2, 16),
    (65, 9, 5),
];

#[test]
fn every_kernel_computes_the_textbook_sum() {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    for (m, k, n) in SHAPES {
        let (left, _) = random(&mut rng, m * k);
        let (_, right) = random(&mut rng, n * k);
        let expected = textbook(&left, &right, (m, k, n));
        let packed = PackedMatrix::pack(&right, n, k);
        for kernel in available() {
            let mut out = vec![i32::MIN; m * n];
            multiply_into(kernel, Left::new(&left, m, k), &packed, &mut out, n);
            assert_eq!(out, expected, "{} at {m} x {k} x {n}", kernel.name());
        }
    }
}

#[test]
fn extreme_codes_neither_saturate_nor_wrap() {
    for (a, b) in [
        (255, -128),
        (255, 127),
        (255, -1),
        (1, -128),
        (0, -128),
        (128, 127),
    ] {
        for k in [1, 2, 3, 4, 5, 255, 4096, MAX_COLS] {
            let left = vec![a; k];
            let packed = PackedMatrix::pack(&vec![b; k], 1, k);
            let expected = i64::from(a) * i64::from(b) * i64::try_from(k).unwrap();
            for kernel in available() {
                let mut out = [0];
                multiply_into(kernel, Left::new(&left, 1, k), &packed, &mut out, 1);
                assert_eq!(
                    i64::from(out[0]),
                    expected,
                    "{}: {a} x {b} x {k}",
                    kernel.name()
                );
            }
        }
    }
}

#[test]
fn alternating_extremes_agree_with_the_textbook() {
    let (m, k, n) = (7, 4093, 19);
    let left: Vec<u8> = (0..m * k)
        .map(|i| if i % 3 == 0 { 0 } else { 255 })
        .collect();
    let right: Vec<i8> = (0..n * k)
        .map(|i| if i % 2 == 0 { -128 } else { 127 })
        .collect();
    let expected = textbook(&left, &right, (m, k, n));
    let packed = PackedMatrix::pack(&right, n, k);
    for kernel in available() {
        let mut out = vec![0; m * n];
        multiply_into(kernel, Left::new(&left, m, k), &packed, &mut out, n);
        assert_eq!(out, expected, "{}", kernel.name());
    }
}

#[test]
fn strides_skip_what_lies_between_the_rows() {
    let mut rng = ChaCha8Rng::seed_from_u64(8);
    let (m, k, n, stride) = (19, 30, 21, 77);
    let (left, _) = random(&mut rng, m * stride);
    let (_, right) = random(&mut rng, n * stride);
    let dense = |at: usize| (0..k).map(move |x| at * stride + x);
    let left_dense: Vec<u8> = (0..m).flat_map(dense).map(|i| left[i]).collect();
    let right_dense: Vec<i8> = (0..n).flat_map(dense).map(|i| right[i]).collect();
    let expected = textbook(&left_dense, &right_dense, (m, k, n));
    let last = (m - 1) * stride + k;
    for kernel in available() {
        // A larger matrix first: the memory is reused, the old codes are not.
        let mut packed = PackedMatrix::pack(&[-1; 64 * 64], 64, 64);
        packed.pack_into(&right, n, k, stride);
        let mut out = vec![0; m * 40];
        let operand = Left::strided(&left[..last], m, k, stride);
        multiply_into(kernel, operand, &packed, &mut out, 40);
        for (out, expected) in out.chunks(40).zip(expected.chunks(n)) {
            assert_eq!(&out[..n], expected, "{}", kernel.name());
            assert!(out[n..].iter().all(|&sum| sum == 0));
        }
    }
}

#[test]
fn packing_the_transpose_equals_packing_the_transposed_matrix() {
    let mut rng = ChaCha8Rng::seed_from_u64(9);
    for (tokens, width, stride) in [
        (128, 32, 32),
        (1, 1, 1),
        (5, 33, 50),
        (77, 16, 48),
        (6, 7, 7),
    ] {
        let (_, values) = random(&mut rng, tokens * stride);
        let transposed: Vec<i8> = (0..width)
            .flat_map(|row| (0..tokens).map(move |token| token * stride + row))
            .map(|i| values[i])
            .collect();
        let mut packed = PackedMatrix::pack(&vec![-1; 256 * 256], 256, 256);
        packed.pack_transposed_into(&values, width, tokens, stride);
        assert_eq!(packed, PackedMatrix::pack(&transposed, width, tokens));
    }
}

#[test]
fn tiles_cover_every_output_once() {
    for kernel in available() {
        let (m, k, n) = (29, 3, 150);
        let packed = PackedMatrix::pack(&vec![1; n * k], n, k);
        let mut seen = vec![0; m * n];
        multiply(
            kernel,
            Left::new(&vec![1; m * k], m, k),
            &packed,
            &mut |tile: &Tile<'_>| {
                assert!(
                    tile.values.len() >= tile.rows * tile.stride && tile.col.is_multiple_of(LANES)
                );
                for r in 0..tile.rows {
                    let padding = &tile.values[r * tile.stride + tile.cols..(r + 1) * tile.stride];
                    assert!(padding.iter().all(|&sum| sum == 0));
                    for c in 0..tile.cols {
                        seen[(tile.row + r) * n + tile.col + c] += tile.row_values(r)[c];
                    }
                }
            },
        );
        assert!(seen.iter().all(|&sum| sum == 3), "{}", kernel.name());
    }
}

#[test]
fn empty_matrices_have_no_sums_or_zero_sums() {
    let none = PackedMatrix::pack(&[], 5, 0);
    for kernel in available() {
        let mut out = vec![9; 10];
        multiply_into(kernel, Left::new(&[], 2, 0), &none, &mut out, 5);
        assert_eq!(out, vec![0; 10]);
        multiply_into(kernel, Left::new(&[], 0, 0), &none, &mut [], 5);
        multiply_into(
            kernel,
            Left::new(&[1; 6], 2, 3),
            &PackedMatrix::pack(&[], 0, 3),
            &mut [],
            0,
        );
    }
}

#[test]
#[should_panic(expected = "expected at least 12 codes, found 11")]
fn a_short_left_operand_is_refused() {
    let _ = Left::strided(&[0; 11], 3, 2, 5);
}

#[test]
fn rows_are_split_evenly() {
    let counts = |rows| {
        row_blocks(rows, 6)
            .map(|rows| rows.count)
            .collect::<Vec<_>>()
    };
    assert_eq!(counts(0), [0; 0]);
    assert_eq!(counts(13), [5, 4, 4]);
    assert_eq!(counts(12), [6, 6]);
}
