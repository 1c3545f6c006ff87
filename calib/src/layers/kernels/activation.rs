//! Activation functions and gates, element by element.

use super::exponential::{erf, exp, logistic};
use multiversion::multiversion;
use quantizers::graph::Activation;
use std::f32::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};

/// Slope of the logistic function in [`Activation::GeluQuick`].
const QUICK: f32 = 1.702;
/// Weight of the cube in [`Activation::GeluTanh`].
const CUBIC: f32 = 0.044_715;
/// 2 √(2/π): `(1 + tanh u) / 2` is the logistic function of 2u.
const TANH: f32 = 2.0 * FRAC_2_SQRT_PI * FRAC_1_SQRT_2;

/// `out = f(x)`.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2"))]
pub fn activate(activation: Activation, x: &[f32], out: &mut [f32]) {
    by_kind(activation, Apply { x, out });
}

/// `out = f'(x) · gradient`.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2"))]
pub fn activate_gradient(activation: Activation, x: &[f32], gradient: &[f32], out: &mut [f32]) {
    by_kind(activation, ApplyGradient { x, gradient, out });
}

/// `out = f(gate) · up`.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2"))]
pub fn gate(activation: Activation, gate: &[f32], up: &[f32], out: &mut [f32]) {
    by_kind(
        activation,
        Gate {
            input: gate,
            up,
            out,
        },
    );
}

/// Gradients of [`gate`] with respect to both inputs.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2"))]
pub fn gate_gradient(
    activation: Activation,
    gate: &[f32],
    up: &[f32],
    gradient: &[f32],
    gate_out: &mut [f32],
    up_out: &mut [f32],
) {
    by_kind(
        activation,
        GateGradient {
            gate,
            up,
            gradient,
            gate_out,
            up_out,
        },
    );
}

/// A loop over elements, given the function as value and slope.
trait Loop {
    fn run(self, value: impl Fn(f32) -> f32, slope: impl Fn(f32) -> (f32, f32));
}

/// Chooses the function once, outside the loop.
#[inline(always)]
fn by_kind(activation: Activation, body: impl Loop) {
    match activation {
        Activation::Silu => body.run(|x| x * logistic(x), |x| swish_slope(x, x, 1.0)),
        Activation::GeluQuick => body.run(
            |x| x * logistic(QUICK * x),
            |x| swish_slope(x, QUICK * x, QUICK),
        ),
        Activation::GeluTanh => body.run(
            |x| x * logistic(TANH * (x + CUBIC * x * x * x)),
            |x| {
                let inner = TANH * (x + CUBIC * x * x * x);
                swish_slope(x, inner, TANH * (1.0 + 3.0 * CUBIC * x * x))
            },
        ),
        Activation::Gelu => body.run(
            |x| x * normal_cdf(x),
            |x| {
                let cdf = normal_cdf(x);
                let density = 0.5 * FRAC_2_SQRT_PI * FRAC_1_SQRT_2 * exp(-0.5 * x * x);
                (x * cdf, cdf + x * density)
            },
        ),
        Activation::Relu => body.run(relu, |x| (relu(x), if x > 0.0 { 1.0 } else { 0.0 })),
        Activation::ReluSquared => body.run(
            |x| relu(x) * relu(x),
            |x| (relu(x) * relu(x), 2.0 * relu(x)),
        ),
        Activation::Tanh => body.run(f32::tanh, |x| {
            let tanh = x.tanh();
            (tanh, 1.0 - tanh * tanh)
        }),
    }
}

/// Value and slope of `x · logistic(inner(x))`, given `inner` and its slope.
#[inline(always)]
fn swish_slope(x: f32, inner: f32, inner_slope: f32) -> (f32, f32) {
    // 1 - open would lose all digits where open is near 1.
    let decay = exp(-inner);
    let open = 1.0 / (1.0 + decay);
    let closed = decay * open;
    (x * open, open + x * open * closed * inner_slope)
}

#[inline(always)]
fn normal_cdf(x: f32) -> f32 {
    0.5 + 0.5 * erf(x * FRAC_1_SQRT_2)
}

/// NaN stays NaN.
#[inline(always)]
fn relu(x: f32) -> f32 {
    if x < 0.0 { 0.0 } else { x }
}

struct Apply<'a> {
    x: &'a [f32],
    out: &'a mut [f32],
}

impl Loop for Apply<'_> {
    #[inline(always)]
    fn run(self, value: impl Fn(f32) -> f32, _slope: impl Fn(f32) -> (f32, f32)) {
        for (out, x) in self.out.iter_mut().zip(self.x) {
            *out = value(*x);
        }
    }
}

struct ApplyGradient<'a> {
    x: &'a [f32],
    gradient: &'a [f32],
    out: &'a mut [f32],
}

impl Loop for ApplyGradient<'_> {
    #[inline(always)]
    fn run(self, _value: impl Fn(f32) -> f32, slope: impl Fn(f32) -> (f32, f32)) {
        for ((out, x), gradient) in self.out.iter_mut().zip(self.x).zip(self.gradient) {
            *out = slope(*x).1 * gradient;
        }
    }
}

struct Gate<'a> {
    input: &'a [f32],
    up: &'a [f32],
    out: &'a mut [f32],
}

impl Loop for Gate<'_> {
    #[inline(always)]
    fn run(self, value: impl Fn(f32) -> f32, _slope: impl Fn(f32) -> (f32, f32)) {
        for ((out, gate), up) in self.out.iter_mut().zip(self.input).zip(self.up) {
            *out = value(*gate) * up;
        }
    }
}

struct GateGradient<'a> {
    gate: &'a [f32],
    up: &'a [f32],
    gradient: &'a [f32],
    gate_out: &'a mut [f32],
    up_out: &'a mut [f32],
}

impl Loop for GateGradient<'_> {
    #[inline(always)]
    fn run(self, _value: impl Fn(f32) -> f32, slope: impl Fn(f32) -> (f32, f32)) {
        let inputs = self.gate.iter().zip(self.up).zip(self.gradient);
        let outputs = self.gate_out.iter_mut().zip(self.up_out);
        for (((gate, up), gradient), (gate_out, up_out)) in inputs.zip(outputs) {
            let (value, slope) = slope(*gate);
            *gate_out = slope * up * gradient;
            *up_out = value * gradient;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Activation; 6] = [
        Activation::Silu,
        Activation::Gelu,
        Activation::GeluTanh,
        Activation::GeluQuick,
        Activation::Relu,
        Activation::Tanh,
    ];

    fn grid() -> Vec<f32> {
        (-1200..1200)
            .map(|step| step as f32 * 0.01 + 0.005)
            .collect()
    }

    /// The definition in f64; erf as the integral of its density.
    fn reference(activation: Activation, x: f64) -> f64 {
        let logistic = |x: f64| 1.0 / (1.0 + (-x).exp());
        match activation {
            Activation::Silu => x * logistic(x),
            Activation::GeluQuick => x * logistic(1.702 * x),
            Activation::GeluTanh => {
                let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3));
                0.5 * x * (1.0 + inner.tanh())
            }
            Activation::Gelu => x * simpson(x),
            Activation::Relu => x.max(0.0),
            Activation::ReluSquared => x.max(0.0).powi(2),
            Activation::Tanh => x.tanh(),
        }
    }

    /// Normal distribution function by Simpson's rule from 0.
    fn simpson(x: f64) -> f64 {
        let density = |t: f64| (-0.5 * t * t).exp() / (2.0 * std::f64::consts::PI).sqrt();
        let steps = 400;
        let width = x / f64::from(steps);
        let sum: f64 = (0..=steps)
            .map(|i| {
                let weight = match i {
                    0 => 1.0,
                    i if i == steps => 1.0,
                    i if i % 2 == 1 => 4.0,
                    _ => 2.0,
                };
                weight * density(f64::from(i) * width)
            })
            .sum();
        0.5 + sum * width / 3.0
    }

    #[test]
    fn values_match_the_definitions() {
        let x = grid();
        let mut out = vec![0.0; x.len()];
        for activation in ALL {
            activate(activation, &x, &mut out);
            for (x, out) in x.iter().zip(&out) {
                let expected = reference(activation, f64::from(*x));
                let error = (f64::from(*out) - expected).abs();
                assert!(
                    error < 4e-7 * f64::from(x.abs().max(1.0)),
                    "{activation:?} {x}: {error:e}"
                );
            }
        }
    }

    #[test]
    fn slopes_match_differences_of_the_definitions() {
        let x = grid();
        let gradient = vec![2.0; x.len()];
        let mut out = vec![0.0; x.len()];
        for activation in ALL {
            activate_gradient(activation, &x, &gradient, &mut out);
            for (x, out) in x.iter().zip(&out) {
                let (x, step) = (f64::from(*x), 1e-4);
                let difference =
                    (reference(activation, x + step) - reference(activation, x - step)) / step;
                let error = (f64::from(*out) - difference).abs();
                assert!(error < 2e-6, "{activation:?} {x}: {error:e}");
            }
        }
    }

    #[test]
    fn a_gate_is_the_activation_times_the_other_branch() {
        let x = grid();
        let up: Vec<f32> = x.iter().rev().copied().collect();
        let gradient: Vec<f32> = x.iter().map(|x| x * 0.1 + 1.0).collect();
        let (mut value, mut slope) = (vec![0.0; x.len()], vec![0.0; x.len()]);
        let (mut out, mut gate_out, mut up_out) = (value.clone(), value.clone(), value.clone());
        for activation in ALL {
            activate(activation, &x, &mut value);
            activate_gradient(activation, &x, &up, &mut slope);
            gate(activation, &x, &up, &mut out);
            gate_gradient(activation, &x, &up, &gradient, &mut gate_out, &mut up_out);
            for i in 0..x.len() {
                let scale = 1e-5 * (1.0 + x[i].abs() * up[i].abs()) * (1.0 + gradient[i].abs());
                assert!((out[i] - value[i] * up[i]).abs() <= scale);
                assert!((gate_out[i] - slope[i] * gradient[i]).abs() <= scale);
                assert!((up_out[i] - value[i] * gradient[i]).abs() <= scale);
            }
        }
    }
}
