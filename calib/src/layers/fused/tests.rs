//! Fused against burn's own operations, outputs and gradients. A tape that recomputes is not fused,
//! so it is the reference.

use super::{
    End, activate, add_squared_products, gate, linear, norm, probe, rotate, round_inputs, sum,
};
use crate::layers::attention::{Scores, attend};
use crate::layers::weight::{DenseWeight, Weight};
use burn::tensor::{Device, Tensor, TensorData};
use quantizers::graph::{Activation, Pattern};
use quantizers::grid::InputQuantizer;
use quantizers::tensor::InputGrid;

/// `D`-dimensional, the same on every device.
fn wave<const D: usize>(shape: [usize; D], frequency: f32, device: &Device) -> Tensor<D> {
    let length = shape.iter().product::<usize>();
    let values: Vec<f32> = (0..length).map(|i| (i as f32 * frequency).sin()).collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// Values of a tensor.
fn read<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec::<f32>().unwrap()
}

/// Output of `layer` and the gradients of `inputs` for a fixed gradient of the output.
fn run<const D: usize, const E: usize, const N: usize>(
    device: &Device,
    shapes: [[usize; D]; N],
    layer: &dyn Fn([Tensor<D>; N]) -> Tensor<E>,
) -> Vec<Vec<f32>> {
    let mut frequency = 0.3;
    let inputs = shapes.map(|shape| {
        frequency += 0.41;
        wave(shape, frequency, device).require_grad()
    });
    let output = layer(inputs.clone());
    let gradient = wave(output.dims(), 1.7, device);
    let mut results = vec![read(output.clone())];
    let mut gradients = (output * gradient).sum().backward();
    results.extend(inputs.map(|input| read(input.grad_remove(&mut gradients).unwrap())));
    results
}

/// Compares the fused and the unfused run, both rounded to f32 at every step, and the fused forward pass without a tape.
fn compare<const D: usize, const E: usize, const N: usize>(
    what: &str,
    shapes: [[usize; D]; N],
    layer: impl Fn([Tensor<D>; N], &Device) -> Tensor<E>,
) {
    let tape = Device::flex().autodiff();
    let recomputing = tape.clone().gradient_checkpointing();
    let fused = run(&tape, shapes, &|inputs| layer(inputs, &tape));
    let unfused = run(&recomputing, shapes, &|inputs| layer(inputs, &recomputing));
    for (which, (fused, unfused)) in fused.iter().zip(&unfused).enumerate() {
        let squares = |x: &mut dyn Iterator<Item = f64>| x.map(|x| x * x).sum::<f64>().sqrt();
        let pairs = fused.iter().zip(unfused);
        let error = squares(&mut pairs.map(|(a, b)| f64::from(a - b)));
        let size = squares(&mut unfused.iter().map(|x| f64::from(*x)));
        assert!(
            error <= 3e-6 * size,
            "{what}, result {which}: {error:e} of {size:e}"
        );
    }
    let plain = Device::flex();
    let mut frequency = 0.3;
    let inputs = shapes.map(|shape| {
        frequency += 0.41;
        wave(shape, frequency, &plain)
    });
    assert_eq!(
        read(layer(inputs, &plain)),
        fused[0],
        "{what} without a tape"
    );
}

#[test]
fn linear_layers_with_and_without_rows_and_bias() {
    for (with_rows, with_bias) in [(false, false), (false, true), (true, false), (true, true)] {
        let (outputs, inputs) = (7, 5);
        compare("linear", [[2, 3, inputs]], |[x], device| {
            let columns = wave([inputs, outputs], 1.1, device);
            let rows = with_rows.then(|| columns.clone().transpose());
            let bias = wave([outputs], 2.3, device).into();
            let weight = Weight::Dense(Box::new(DenseWeight {
                columns,
                rows,
                keeps_rows_apart: false,
            }));
            linear(x, &weight, with_bias.then_some(&bias))
        });
    }
}

#[test]
fn norms_of_rows_and_of_heads() {
    for with_bias in [false, true] {
        compare("norm", [[2, 3, 20]], |[x], device| {
            let weight = wave([20], 0.9, device);
            let bias = wave([20], 2.3, device);
            norm(x, &weight, with_bias.then_some(&bias), 1e-5)
        });
        compare("norm of a view", [[2, 3, 4, 20]], |[x], device| {
            let weight = wave([20], 0.9, device);
            let bias = wave([20], 2.3, device);
            norm(x.swap_dims(1, 2), &weight, with_bias.then_some(&bias), 1e-5)
        });
    }
}

#[test]
fn sums() {
    compare("sum", [[2, 3, 11]; 2], |[a, b], _| sum(a * 3.0, b));
    compare("sum of views", [[4, 3, 11]; 2], |[a, b], _| {
        sum(
            a.narrow(0, 1, 2).swap_dims(0, 1),
            b.narrow(0, 2, 2).swap_dims(0, 1),
        )
    });
}

#[test]
fn activations_and_gates() {
    let all = [
        Activation::Silu,
        Activation::Gelu,
        Activation::GeluTanh,
        Activation::GeluQuick,
        Activation::Relu,
        Activation::Tanh,
    ];
    for activation in all {
        let what = format!("{activation:?}");
        compare(&what, [[2, 3, 11]], |[x], _| activate(activation, x * 3.0));
        compare(&what, [[2, 3, 11]; 2], |[a, b], _| gate(activation, a, b));
        // Views: only part of the storage, and not in its order.
        compare(&what, [[4, 3, 11]; 2], |[a, b], _| {
            gate(
                activation,
                a.narrow(0, 1, 2).swap_dims(0, 1),
                b.narrow(0, 2, 2).swap_dims(0, 1),
            )
        });
    }
}

#[test]
fn rotation_of_views_of_heads() {
    let (tokens, half) = (5, 3);
    compare("rotate", [[2, tokens, 4, 2 * half]], |[x], device| {
        let angles = wave([1, 1, 2 + tokens, half], 0.8, device);
        let angles = Tensor::cat(vec![angles.clone(), angles], 3).narrow(2, 2, tokens);
        rotate(x.swap_dims(1, 2), &angles.clone().cos(), &angles.sin())
    });
}

#[test]
fn attention_with_shared_keys_on_views() {
    let patterns = [
        Pattern::Full,
        Pattern::Causal,
        Pattern::Sliding { window: 4 },
    ];
    for pattern in patterns {
        let shapes = [[2, 70, 4, 6], [2, 70, 2, 6], [2, 70, 2, 6]];
        compare("attention", shapes, |inputs, _| {
            let [q, k, v] = inputs.map(|x| x.swap_dims(1, 2));
            attend(q, k, v, &Scores::plain(pattern, 0.4))
                .swap_dims(1, 2)
                .reshape([2, 70, 24])
        });
    }
    let shapes = [[1, 2, 1, 6], [1, 2, 9, 6], [1, 2, 9, 6]];
    compare("attention of the last token", shapes, |[q, k, v], _| {
        attend(q, k, v, &Scores::plain(Pattern::Full, 0.4))
    });
}

// Probed twice, once before a view: what arrives is the gradient of what was probed.
#[test]
fn probes_and_ends() {
    for device in [
        Device::flex().autodiff(),
        Device::flex().autodiff().gradient_checkpointing(),
    ] {
        let input = wave([2, 3, 4], 0.3, &device).require_grad();
        let (first, first_leaf) = probe(input.clone() * 2.0);
        let (second, second_leaf) = probe(first.swap_dims(1, 2) * 5.0);
        let gradient = wave([2, 4, 3], 0.7, &device.clone().inner());
        let mut gradients = End::of(second).back(gradient.clone());
        let mut found = |leaf: Tensor<3>| leaf.grad_remove(&mut gradients).unwrap();
        assert_eq!(read(found(second_leaf)), read(gradient.clone()));
        let expected = gradient.swap_dims(1, 2) * 5.0;
        assert_eq!(read(found(first_leaf)), read(expected.clone()));
        assert_eq!(read(found(input)), read(expected * 2.0));
    }
}

#[test]
fn squared_products_add_up() {
    let device = Device::flex();
    let pairs = [0.3, 0.9].map(|frequency: f32| {
        let left = wave([2, 5, 6], frequency, &device).narrow(2, 1, 4);
        [left, wave([2, 5, 3], 1.7 * frequency, &device)]
    });
    let expected = pairs
        .iter()
        .cloned()
        .fold(wave([4, 3], 0.1, &device), |sum, factors| {
            let [left, right] = factors.map(|factor| {
                let width = factor.dims()[2];
                factor.reshape([10, width])
            });
            sum + left.transpose().matmul(right).square()
        });
    let start = Some(wave([4, 3], 0.1, &device));
    let found = add_squared_products(start, pairs.to_vec()).unwrap();
    for (found, expected) in read(found).iter().zip(read(expected)) {
        assert!((found - expected).abs() < 1e-5 * expected.abs().max(1.0));
    }
    assert!(add_squared_products(None, Vec::new()).is_none());
}

#[test]
fn rounded_inputs_are_the_same_with_and_without_a_tape_and_pass_their_gradient() {
    let grid = InputGrid {
        bits: 8,
        symmetric: true,
        dynamic: true,
    };
    let quantizer = InputQuantizer::per_token(grid);
    compare("rounded inputs", [[2, 3, 40]], |[x], _| {
        round_inputs(quantizer, x)
    });
    let x = wave([2, 3, 40], 0.7, &Device::flex());
    let mut expected = read(x.clone());
    quantizer.round(&mut expected, 40);
    assert_eq!(read(round_inputs(quantizer, x.clone())), expected);
    assert_ne!(read(x), expected);
}
