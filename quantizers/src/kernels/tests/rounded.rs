//! Sums of rounded inputs and weights: how far from exact ones, and alike on every kernel.

use super::super::kernel::Kernel;
use super::super::scalar::Scalar;
use super::super::{Compute, PackedMatrix};
use super::{KERNELS, codebook, noise, uniform};

/// Relative error of the sums of `packed`, whole numbers, against those of its weights in f64.
fn rounding_error(packed: &PackedMatrix, weights: &[f32], kernel: &dyn Kernel) -> f64 {
    let (rows, cols) = (packed.rows(), packed.cols());
    let inputs = noise(3 * cols, 17);
    let found = packed.multiply_by(kernel, &inputs);
    let inputs: Vec<&[f32]> = inputs.chunks(cols).collect();
    let (mut errors, mut sizes) = (0.0, 0.0);
    for (n, input) in inputs.iter().enumerate() {
        for (row, weights) in weights.chunks(cols).enumerate() {
            let products = weights.iter().zip(*input);
            let exact: f64 = products.map(|(w, x)| f64::from(*w) * f64::from(*x)).sum();
            errors += (f64::from(found[n * rows + row]) - exact).powi(2);
            sizes += weights.iter().map(|w| f64::from(*w).powi(2)).sum::<f64>()
                * input.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>()
                / f64::from(u32::try_from(cols).unwrap());
        }
    }
    (errors / sizes).sqrt()
}

#[test]
fn rounded_sums_are_as_far_from_exact_ones_as_their_numbers_are_short() {
    for cols in [20, 32, 172, 576, 1408] {
        for bits in 1..=8 {
            let mut matrices = vec![("codebook", codebook(5, cols, bits, true))];
            if bits > 1 {
                matrices.extend(
                    [None, Some(32), Some(64)]
                        .map(|group| ("uniform", uniform(5, cols, bits, group))),
                );
            }
            for (kind, tensor) in matrices {
                let packed = PackedMatrix::of_quantized(&tensor).unwrap();
                for (compute, most) in [
                    (Compute::Bf16, 8e-3),
                    (Compute::Int16, 1e-4),
                    (Compute::Int8, 1.58e-2),
                ] {
                    let packed = packed.clone().computing(compute);
                    for kernel in KERNELS.iter().filter(|kernel| kernel.is_available()) {
                        let error = rounding_error(&packed, &tensor.dequantize(), *kernel);
                        let name = kernel.name();
                        assert!(
                            error < most,
                            "{kind}, {cols} columns, {bits} bits, {name}, {compute}: {error}"
                        );
                        // Exact sums would pass too.
                        let least = match compute {
                            _ if bits > 4 => None,
                            Compute::Bf16 => Some(2e-4),
                            Compute::Int8 if cols >= 32 => Some(1e-3),
                            _ => None,
                        };
                        assert!(
                            least.is_none_or(|least| error > least),
                            "{kind}, {cols} columns, {bits} bits, {name}: {error}, not rounded"
                        );
                    }
                }
            }
        }
    }
}

// What rounding leaves is summed exactly, so that kernels differ as far as they add blocks in another order.
#[test]
fn rounded_sums_are_those_of_the_scalar_kernel() {
    for (cols, bits) in [32, 172, 1408]
        .into_iter()
        .flat_map(|cols| (1..=8).map(move |bits| (cols, bits)))
    {
        let mut tensors = vec![codebook(21, cols, bits, true)];
        if bits > 1 {
            tensors.extend([None, Some(32)].map(|group| uniform(21, cols, bits, group)));
        }
        for (tensor, compute) in tensors.iter().flat_map(|tensor| {
            [Compute::Bf16, Compute::Int16, Compute::Int8].map(|compute| (tensor, compute))
        }) {
            let packed = PackedMatrix::of_quantized(tensor)
                .unwrap()
                .computing(compute);
            let weights = tensor.dequantize();
            for count in [1, 3, 8] {
                let inputs = noise(count * cols, 29);
                let sums = |kernel| packed.multiply_by(kernel, &inputs);
                let expected = sums(&Scalar);
                for kernel in KERNELS.iter().filter(|kernel| kernel.is_available()) {
                    let found = sums(*kernel);
                    for (at, (found, expected)) in found.iter().zip(&expected).enumerate() {
                        let (n, row) = (at / 21, at % 21);
                        let weights = &weights[row * cols..(row + 1) * cols];
                        let products = weights.iter().zip(&inputs[n * cols..]);
                        let size: f32 = products.map(|(w, x)| (w * x).abs()).sum();
                        let error = (found - expected).abs();
                        assert!(
                            error <= 2e-6 * size + 1e-6,
                            "{cols} columns, {bits} bits, {compute}, {}, {count} inputs, row {row}: {error} of {size}",
                            kernel.name()
                        );
                    }
                }
            }
        }
    }
}
