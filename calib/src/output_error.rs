//! How much of a layer's output survives: the error seen through the inputs it meets.

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

#[cfg(test)]
mod tests {
    use super::*;

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
