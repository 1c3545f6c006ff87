//! How much of a layer's output survives: the error seen through the inputs it meets.
//!
//! Two figures: with the full Hessian of the inputs, and with its diagonal, which is all an integer
//! compiler has.

use burn::tensor::{Device, Tensor, TensorData};
use quantizers::MatrixRef;

/// `10 log10( tr(W H W^T) / tr(D H D^T) )` with `D = W - W'` and `H = X^T X` `[cols, cols]`, which is
/// the ratio of the energies of `X W^T` and `X D^T` over the calibration tokens, in decibel.
///
/// Nothing where the layer's output or its error is zero (or `H` came from no data).
///
/// # Panics
/// When the shapes differ.
pub fn output_sqnr_db(
    original: MatrixRef<'_>,
    approximation: MatrixRef<'_>,
    hessian: MatrixRef<'_>,
) -> Option<f64> {
    let (rows, cols) = (original.rows(), original.cols());
    assert_eq!(
        (rows, cols),
        (approximation.rows(), approximation.cols()),
        "matrices of one shape"
    );
    assert_eq!(
        (cols, cols),
        (hessian.rows(), hessian.cols()),
        "inputs by inputs"
    );
    let device = Device::flex();
    let moment: Tensor<2> = Tensor::from_data(
        TensorData::new(hessian.data().to_vec(), [cols, cols]),
        &device,
    );
    let energy = |values: Vec<f32>| {
        let matrix: Tensor<2> = Tensor::from_data(TensorData::new(values, [rows, cols]), &device);
        let through = crate::hidden::values(matrix.clone().matmul(moment.clone()));
        let matrix = crate::hidden::values(matrix);
        let products = matrix.iter().zip(&through);
        products.fold(0.0, |sum, (a, b)| sum + f64::from(*a) * f64::from(*b))
    };
    let pairs = original.data().iter().zip(approximation.data());
    let error = energy(pairs.map(|(weight, value)| weight - value).collect());
    let signal = energy(original.data().to_vec());
    (error > 0.0 && signal > 0.0).then(|| 10.0 * (signal / error).log10())
}

/// The same with the diagonal of the Hessian, as if the inputs were independent of each other:
/// `10 log10( sum_ij h_j w_ij^2 / sum_ij h_j (w_ij - w'_ij)^2 )`, `h` the mean squares `[cols]`.
///
/// Nothing where the layer's output or its error is zero.
///
/// # Panics
/// When the shapes differ.
pub fn diagonal_output_sqnr_db(
    original: MatrixRef<'_>,
    approximation: MatrixRef<'_>,
    mean_square: &[f32],
) -> Option<f64> {
    let cols = original.cols();
    assert_eq!(
        (original.rows(), cols),
        (approximation.rows(), approximation.cols()),
        "matrices of one shape"
    );
    assert_eq!(cols, mean_square.len(), "one mean square for each input");
    let (mut signal, mut noise) = (0.0_f64, 0.0_f64);
    let rows = original.data().chunks_exact(cols.max(1));
    for (exact, rounded) in rows.zip(approximation.data().chunks_exact(cols.max(1))) {
        for ((&exact, &rounded), &square) in exact.iter().zip(rounded).zip(mean_square) {
            let (exact, square) = (f64::from(exact), f64::from(square));
            signal += square * exact * exact;
            noise += square * (exact - f64::from(rounded)).powi(2);
        }
    }
    (signal > 0.0 && noise > 0.0).then(|| 10.0 * (signal / noise).log10())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_correlations_outputs_count_by_the_squares_of_their_inputs() {
        let exact = [1.0, 2.0, 3.0, 4.0];
        let rounded = [1.0, 1.0, 3.0, 4.0];
        let exact = MatrixRef::new(&exact, 2, 2).unwrap();
        let rounded = MatrixRef::new(&rounded, 2, 2).unwrap();
        // Signal 1*1 + 10*4 + 1*9 + 10*16 = 210, noise 10.
        let found = diagonal_output_sqnr_db(exact, rounded, &[1.0, 10.0]).unwrap();
        assert!((found - 10.0 * 21.0_f64.log10()).abs() < 1e-12);
        assert_eq!(diagonal_output_sqnr_db(exact, exact, &[1.0, 1.0]), None);
    }

    #[test]
    fn only_errors_that_inputs_reach_count() {
        // Inputs use channel 0 alone: an error of 0.1 against a weight of 1 there is 20 dB, the
        // error in channel 1 is never seen.
        let original = [1.0, 1.0];
        let approximation = [0.9, -5.0];
        let hessian = [4.0, 0.0, 0.0, 0.0];
        let found = output_sqnr_db(
            MatrixRef::new(&original, 1, 2).unwrap(),
            MatrixRef::new(&approximation, 1, 2).unwrap(),
            MatrixRef::new(&hessian, 2, 2).unwrap(),
        );
        assert!((found.unwrap() - 20.0).abs() < 1e-4, "{found:?}");
    }

    #[test]
    fn an_exact_layer_has_no_ratio() {
        let values = [1.0, 2.0];
        let matrix = MatrixRef::new(&values, 1, 2).unwrap();
        let hessian = [1.0, 0.0, 0.0, 1.0];
        assert_eq!(
            output_sqnr_db(matrix, matrix, MatrixRef::new(&hessian, 2, 2).unwrap()),
            None
        );
    }
}
