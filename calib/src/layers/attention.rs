//! Scaled dot-product attention: `softmax(Q Kᵀ · scale) V` under a visibility pattern.

use super::fused;
use burn::tensor::ops::AttentionModuleOptions;
use burn::tensor::{Bool, Device, Tensor, module};
use quantizers::graph::Pattern;

/// Attention of `[batch, heads, tokens, head_dim]`; `key` and `value` may have fewer heads, each
/// of which then serves `heads / kv_heads` consecutive query heads.
pub fn attend(
    query: Tensor<4>,
    key: Tensor<4>,
    value: Tensor<4>,
    pattern: Pattern,
    scale: f64,
) -> Tensor<4> {
    if let Some(attended) = fused::attend([&query, &key, &value], pattern, scale) {
        return attended;
    }
    let [_, heads, tokens, _] = query.dims();
    let groups = heads / key.dims()[1];
    let device = query.device();
    let (is_causal, mask) = match pattern {
        Pattern::Full => (false, None),
        Pattern::Sliding { window } if window < tokens => {
            (false, Some(outside_window(tokens, window, &device)))
        }
        Pattern::Causal | Pattern::Sliding { .. } => (true, None),
    };
    module::attention(
        query,
        repeat_heads(key, groups),
        repeat_heads(value, groups),
        mask,
        None,
        AttentionModuleOptions {
            scale: Some(scale),
            softcap: None,
            is_causal,
        },
    )
}

/// `[1, 1, tokens, tokens]`, true where the key lies after the query or outside its window.
fn outside_window(tokens: usize, window: usize, device: &Device) -> Tensor<4, Bool> {
    let mut hidden = vec![true; tokens * tokens];
    for query in 0..tokens {
        let first = (query + 1).saturating_sub(window);
        hidden[query * tokens + first..=query * tokens + query].fill(false);
    }
    Tensor::from_data(
        burn::tensor::TensorData::new(hidden, [1, 1, tokens, tokens]),
        device,
    )
}

/// Repeats each head `groups` times in place: `[a, b]` becomes `[a, a, b, b]`.
fn repeat_heads(x: Tensor<4>, groups: usize) -> Tensor<4> {
    if groups == 1 {
        return x;
    }
    let [batch, heads, tokens, width] = x.dims();
    x.reshape([batch, heads, 1, tokens, width])
        .expand([batch, heads, groups, tokens, width])
        .reshape([batch, heads * groups, tokens, width])
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Distribution;

    fn random(shape: [usize; 4], device: &Device) -> Tensor<4> {
        Tensor::random(shape, Distribution::Normal(0.0, 1.0), device)
    }

    /// The definition in f64, one query at a time.
    fn naive(
        q: &Tensor<4>,
        k: &Tensor<4>,
        v: &Tensor<4>,
        pattern: Pattern,
        scale: f64,
    ) -> Vec<f64> {
        let [batch, heads, tokens, width] = q.dims();
        let kv_heads = k.dims()[1];
        let read = |x: &Tensor<4>| x.clone().into_data().try_to_vec::<f32>().unwrap();
        let (q, k, v) = (read(q), read(k), read(v));
        let mut out = Vec::new();
        for b in 0..batch {
            for h in 0..heads {
                let q0 = (b * heads + h) * tokens * width;
                let k0 = (b * kv_heads + h * kv_heads / heads) * tokens * width;
                for i in 0..tokens {
                    let (from, to) = match pattern {
                        Pattern::Full => (0, tokens),
                        Pattern::Causal => (0, i + 1),
                        Pattern::Sliding { window } => ((i + 1).saturating_sub(window), i + 1),
                    };
                    let weights: Vec<f64> = (from..to)
                        .map(|j| {
                            let dot: f64 = (0..width)
                                .map(|d| {
                                    f64::from(q[q0 + i * width + d])
                                        * f64::from(k[k0 + j * width + d])
                                })
                                .sum();
                            (dot * scale).exp()
                        })
                        .collect();
                    let total: f64 = weights.iter().sum();
                    for d in 0..width {
                        let sum: f64 = weights
                            .iter()
                            .zip(from..to)
                            .map(|(w, j)| w * f64::from(v[k0 + j * width + d]))
                            .sum();
                        out.push(sum / total);
                    }
                }
            }
        }
        out
    }

    #[test]
    fn every_pattern_equals_the_definition_on_both_devices() {
        for device in [Device::flex(), Device::flex().autodiff()] {
            device.seed(7);
            let q = random([2, 4, 9, 6], &device);
            let k = random([2, 2, 9, 6], &device);
            let v = random([2, 2, 9, 6], &device);
            let patterns = [
                Pattern::Full,
                Pattern::Causal,
                Pattern::Sliding { window: 1 },
                Pattern::Sliding { window: 4 },
                Pattern::Sliding { window: 9 },
            ];
            for pattern in patterns {
                let expected = naive(&q, &k, &v, pattern, 0.3);
                let found = attend(q.clone(), k.clone(), v.clone(), pattern, 0.3);
                let found = found.into_data().try_to_vec::<f32>().unwrap();
                for (a, b) in found.iter().zip(&expected) {
                    assert!((f64::from(*a) - b).abs() < 2e-6, "{pattern:?}: {a} {b}");
                }
            }
        }
    }
}
