//! Every kernel against f64, on sides of all kinds.

use super::chosen::KERNELS;
use super::{Compute, PackedMatrix};
use crate::MatrixRef;
use crate::codebook::fit_rows;
use crate::outliers::extract;
use crate::scratch::Scratch;
use crate::tensor::{
    Encoding, FloatType, Granularity, QuantizedTensor, ScaleValues, TableScales, Uniform,
};
use half::{bf16, f16};

mod rounded;

/// Numbers that look random.
fn noise(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(12345);
    (0..count)
        .map(|_| {
            let mut sum = 0.0;
            for _ in 0..4 {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                #[expect(clippy::cast_precision_loss, reason = "made up")]
                let value = (state >> 8) as f32 / (1 << 24) as f32 - 0.5;
                sum += value;
            }
            sum
        })
        .collect()
}

fn codebook(rows: usize, cols: usize, bits: u8, sparse: bool) -> QuantizedTensor {
    let weights = noise(rows * cols, u32::from(bits) + 7);
    let weights = MatrixRef::new(&weights, rows, cols).unwrap();
    let removed: Vec<bool> = (0..rows * cols).map(|at| sparse && at % 97 == 5).collect();
    let mut codebook = fit_rows(weights, None, Some(&removed), bits).unwrap();
    let outliers = sparse.then(|| extract(weights, &removed, &mut codebook).unwrap());
    QuantizedTensor {
        rows,
        cols,
        encoding: Encoding::Codebook(codebook),
        outliers,
    }
}

fn uniform(rows: usize, cols: usize, bits: u8, group: Option<usize>) -> QuantizedTensor {
    let granularity = group.map_or(Granularity::Channel, Granularity::Group);
    let most = f32::from(1_i16 << (bits - 1));
    let codes = noise(rows * cols, u32::from(bits));
    #[expect(clippy::cast_possible_truncation, reason = "within the width")]
    let codes: Vec<i8> = codes
        .iter()
        .map(|value| (value * 2.0 * most).floor().clamp(-most, most - 1.0) as i8)
        .collect();
    let count = granularity.scale_count(rows, cols);
    let scales = noise(count, 3)
        .iter()
        .map(|value| 0.01 + value.abs())
        .collect();
    let least = -(1_i16 << (bits - 1));
    let zeros = (0..count).map(|at| {
        let zero = least + i16::try_from(at % (1 << bits)).unwrap();
        i8::try_from(zero).unwrap()
    });
    QuantizedTensor {
        rows,
        cols,
        encoding: Encoding::Uniform(Uniform {
            bits,
            granularity,
            codes,
            scales,
            scale_type: FloatType::F32,
            zero_points: group.is_some().then(|| zeros.collect()),
            float_zero_points: None,
            column_groups: None,
        }),
        outliers: None,
    }
}

/// Holds every way to multiply `packed` against the weights it stands for.
fn check(packed: &PackedMatrix, weights: &[f32], what: &str) {
    let (rows, cols) = (packed.rows(), packed.cols());
    for count in [1, 2, 3, 5, 8, 13] {
        let inputs = noise(count * cols, 11);
        let mut found = vec![("multiply".to_owned(), packed.multiply(&inputs))];
        let as_few = packed.clone().many_as_few();
        for kernel in KERNELS.iter().filter(|kernel| kernel.is_available()) {
            let values = as_few.multiply_by(*kernel, &inputs);
            found.push((kernel.name().to_owned(), values));
        }
        let inputs: Vec<&[f32]> = inputs.chunks(cols).collect();
        for (name, found) in found {
            for (n, input) in inputs.iter().enumerate() {
                for (row, weights) in weights.chunks(cols).enumerate() {
                    let products = weights.iter().zip(*input);
                    let products = products.map(|(w, x)| f64::from(*w) * f64::from(*x));
                    let exact: f64 = products.clone().sum();
                    let size: f64 = products.map(f64::abs).sum();
                    let error = (f64::from(found[n * rows + row]) - exact).abs();
                    // Grids subtract their zero after the sum, which is as large as the codes.
                    let most = if what.starts_with("uniform") {
                        2e-6 * size + 1e-6
                    } else {
                        4e-7 * size + 1e-30
                    };
                    assert!(
                        error <= most,
                        "{what}, {name}, {count} inputs, row {row}: {error} of {size}"
                    );
                }
            }
        }
    }
}

#[test]
fn packed_products_are_those_of_the_decoded_matrix() {
    for cols in [20, 32, 64, 172, 576, 1408] {
        for rows in [1, 7] {
            for bits in 1..=8 {
                for sparse in [false, true] {
                    let tensor = codebook(rows, cols, bits, sparse);
                    let packed = PackedMatrix::of_quantized(&tensor).unwrap();
                    let what = format!("codebook {rows} x {cols}, {bits} bits, sparse {sparse}");
                    check(&packed, &tensor.dequantize(), &what);
                }
            }
            for bits in 2..=8 {
                for group in [None, Some(16), Some(32), Some(128), Some(12)] {
                    let tensor = uniform(rows, cols, bits, group);
                    let packed = PackedMatrix::of_quantized(&tensor).unwrap();
                    let what = format!("uniform {rows} x {cols}, {bits} bits, group {group:?}");
                    check(&packed, &tensor.dequantize(), &what);
                }
            }
        }
    }
}

// Lanes of eight rows are summed together, values apart stand in blocks of 32 rows, and threads share the rows of several
// matrices.
#[test]
fn many_rows_are_those_of_the_decoded_matrix() {
    let (rows, cols) = (301, 576);
    let tensors = [3, 4].map(|bits| codebook(rows, cols, bits, true));
    let dense = tensors.each_ref().map(QuantizedTensor::dequantize);
    let matrices = tensors
        .each_ref()
        .map(|tensor| PackedMatrix::of_quantized(tensor).unwrap());
    for (packed, dense) in matrices.iter().zip(&dense) {
        let mut decoded = vec![0.0; cols];
        for (row, expected) in dense.chunks_exact(cols).enumerate() {
            packed.decode(row, &mut decoded);
            assert_eq!(decoded, expected, "row {row}");
        }
    }
    for col in 0..cols {
        let mut unit = vec![0.0; cols];
        unit[col] = 1.0;
        let found = PackedMatrix::multiply_each(matrices.each_ref(), &unit);
        let expected = dense.each_ref().map(|dense| {
            let column = dense[col..].iter().step_by(cols);
            column.copied().collect::<Vec<f32>>()
        });
        let found = found.map(Scratch::into_vec);
        assert_eq!(found, expected, "column {col}");
    }
}

#[test]
fn tables_with_scales_of_groups_are_multiplied_as_they_are_decoded() {
    for (cols, size) in [(172, 32), (300, 16), (576, 64), (576, 128), (64, 12)] {
        for bits in [2, 4, 5] {
            let mut tensor = codebook(6, cols, bits, true);
            let Encoding::Codebook(codebook) = &mut tensor.encoding else {
                unreachable!("a codebook was asked for")
            };
            // Two tables, each for three rows, and a scale for every group.
            codebook.tables.truncate(2 << bits);
            let granularity = Granularity::Group(size);
            let scales = noise(granularity.scale_count(6, cols), 5);
            let scales = scales.iter().map(|scale| f16::from_f32(scale + 0.01));
            codebook.scales = Some(TableScales {
                granularity,
                values: ScaleValues::Half(scales.collect()),
            });
            let packed = PackedMatrix::of_quantized(&tensor).unwrap();
            check(
                &packed,
                &tensor.dequantize(),
                &format!("{cols}, {size}, {bits} bits"),
            );
        }
    }
}

#[test]
fn halves_are_kept_where_they_hold_the_values() {
    let values = noise(3 * 75, 1);
    assert!(PackedMatrix::of_values(&values, 75).is_none());
    let halves: Vec<f32> = values.iter().map(|x| f16::from_f32(*x).to_f32()).collect();
    let brains: Vec<f32> = values
        .iter()
        .map(|x| bf16::from_f32(*x * 1e9).to_f32())
        .collect();
    for (values, name) in [(halves, "f16"), (brains, "bf16")] {
        let packed = PackedMatrix::of_values(&values, 75).unwrap();
        assert_eq!(packed.bytes(), 2 * values.len());
        check(&packed, &values, name);
    }
}

#[test]
fn a_unit_vector_picks_its_column() {
    for bits in 1..=8 {
        let tensor = codebook(3, 200, bits, true);
        let packed = PackedMatrix::of_quantized(&tensor).unwrap();
        let weights = tensor.dequantize();
        for col in 0..200 {
            let mut unit = vec![0.0; 200];
            unit[col] = 1.0;
            let expected: Vec<f32> = (0..3).map(|row| weights[row * 200 + col]).collect();
            assert_eq!(
                packed.multiply(&unit).into_vec(),
                expected,
                "{bits} bits, column {col}"
            );
        }
    }
}

#[test]
fn an_input_comes_out_alike_alone_and_beside_others() {
    let mut matrices = Vec::new();
    // Single rows, and more than are summed together.
    for rows in [5, 45] {
        matrices.push(PackedMatrix::of_values(&halved(rows, 172), 172).unwrap());
        for bits in [2, 3, 4, 5, 8] {
            matrices.push(PackedMatrix::of_quantized(&codebook(rows, 172, bits, true)).unwrap());
            for group in [None, Some(32), Some(12)] {
                let uniform = uniform(rows, 172, bits, group);
                matrices.push(PackedMatrix::of_quantized(&uniform).unwrap());
            }
        }
    }
    let as_stored = matrices.clone();
    for compute in [Compute::Bf16, Compute::Int16, Compute::Int8] {
        let rounded = as_stored.iter().cloned();
        matrices.extend(rounded.map(|packed| packed.computing(compute)));
    }
    for (at, packed) in matrices.iter().enumerate() {
        let rows = packed.rows();
        let inputs = noise(172 * PackedMatrix::MOST_ALIKE, 4);
        for count in 2..=PackedMatrix::MOST_ALIKE {
            let together = packed.multiply(&inputs[..count * 172]);
            for (n, input) in inputs[..count * 172].chunks(172).enumerate() {
                let alone = packed.multiply(input);
                assert_eq!(
                    &together[n * rows..(n + 1) * rows],
                    alone.as_slice(),
                    "matrix {at}, input {n} of {count}"
                );
            }
        }
    }
}

// What one of them has had made of the inputs serves only those that read them alike.
#[test]
fn matrices_that_share_inputs_come_out_as_each_does_alone() {
    let codes = |tensor: &QuantizedTensor| PackedMatrix::of_quantized(tensor).unwrap();
    let matrices = [
        codes(&codebook(40, 192, 4, true)),
        codes(&codebook(33, 192, 3, true)),
        codes(&codebook(5, 192, 4, false)).computing(Compute::Int16),
        codes(&uniform(7, 192, 4, Some(32))),
        codes(&uniform(7, 192, 4, Some(64))),
        codes(&uniform(9, 192, 4, None)),
        codes(&uniform(9, 192, 4, Some(32))).computing(Compute::Bf16),
        codes(&codebook(40, 192, 4, true)).computing(Compute::Bf16),
        codes(&uniform(7, 192, 4, Some(32))).computing(Compute::Int16),
        codes(&codebook(5, 192, 4, true)).computing(Compute::Int8),
        codes(&uniform(7, 192, 4, Some(32))).computing(Compute::Int8),
        codes(&codebook(5, 192, 2, true)).computing(Compute::Int8),
        PackedMatrix::of_values(&halved(6, 192), 192).unwrap(),
    ];
    for count in [1, 2, 3, 8] {
        let inputs = noise(192 * count, 21);
        let together = PackedMatrix::multiply_each(matrices.each_ref(), &inputs);
        let alone = matrices.each_ref().map(|matrix| matrix.multiply(&inputs));
        assert_eq!(together, alone, "{count} inputs");
    }
}

fn halved(rows: usize, cols: usize) -> Vec<f32> {
    let values = noise(rows * cols, 1);
    values.iter().map(|x| f16::from_f32(*x).to_f32()).collect()
}

#[test]
fn threads_change_no_bit() {
    let tensor = codebook(300, 576, 3, true);
    let packed = PackedMatrix::of_quantized(&tensor).unwrap();
    for count in [1, 20] {
        let inputs = noise(576 * count, 2);
        let on = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
            pool.build().unwrap().install(|| packed.multiply(&inputs))
        };
        assert_eq!(on(1), on(3));
    }
}
