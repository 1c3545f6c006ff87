//! Activation functions in burn's own operations, for any device.

use burn::tensor::{Tensor, activation};
use quantizers::graph::Activation;
use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};

/// Applies `kind` element by element.
pub(super) fn unfused<const D: usize>(kind: Activation, x: Tensor<D>) -> Tensor<D> {
    match kind {
        Activation::Silu => activation::silu(x),
        Activation::Gelu => activation::gelu(x),
        Activation::GeluTanh => {
            let cube = x.clone() * x.clone() * x.clone();
            let inner = (x.clone() + cube * 0.044_715) * (FRAC_2_SQRT_PI * FRAC_1_SQRT_2);
            x * 0.5 * (inner.tanh() + 1.0)
        }
        Activation::GeluQuick => x.clone() * activation::sigmoid(x * 1.702),
        Activation::Relu => activation::relu(x),
        Activation::ReluSquared => activation::relu(x).square(),
        Activation::Tanh => x.tanh(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::fused;
    use burn::tensor::Device;

    // Values of torch.nn.functional in float64 at -1.5 and 0.75.
    #[test]
    fn values_match_the_definitions() {
        let expected = [
            (Activation::Silu, [-0.273_638_3, 0.509_384]),
            (Activation::Gelu, [-0.100_210_8, 0.580_029_5]),
            (Activation::GeluTanh, [-0.100_428_42, 0.579_960_6]),
            (Activation::GeluQuick, [-0.108_337_8, 0.586_390_1]),
            (Activation::Relu, [0.0, 0.75]),
            (Activation::ReluSquared, [0.0, 0.5625]),
            (Activation::Tanh, [-0.905_148_25, 0.635_148_95]),
        ];
        for (activation, values) in expected {
            let x = Tensor::<1>::from_data([-1.5_f32, 0.75], &Device::flex());
            let out = fused::activate(activation, x);
            let out = out.into_data().try_to_vec::<f32>().unwrap();
            for (found, value) in out.iter().zip(values) {
                assert!(
                    (found - value).abs() < 2e-7,
                    "{activation:?}: {found}, expected {value}"
                );
            }
        }
    }
}
