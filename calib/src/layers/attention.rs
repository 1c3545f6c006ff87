//! Scaled dot-product attention: `softmax(Q Kᵀ · scale) V` under a visibility pattern.

use super::alibi::Alibi;
use super::fused;
use burn::tensor::ops::AttentionModuleOptions;
use burn::tensor::{Bool, Device, Tensor, activation, module};
use quantizers::graph::Pattern;

/// How scores are made and who sees whom.
#[derive(Debug, Clone)]
pub struct Scores {
    /// Which keys a query sees.
    pub pattern: Pattern,
    /// Factor on `Q Kᵀ`.
    pub scale: f64,
    /// Scores become `cap · tanh(score / cap)`.
    pub softcap: Option<f64>,
    /// What the distance of a key takes from its score.
    pub alibi: Option<Alibi>,
    /// `[heads]`: scores without a value.
    pub sinks: Option<Tensor<1>>,
    /// Added to scores: `[n, heads, tokens, keys]`, or 1 in place of `heads`. Entry `i` of the batch gets
    /// that of `i mod n`.
    pub bias: Option<Tensor<4>>,
}

impl Scores {
    /// `Q Kᵀ · scale` under `pattern`, nothing else.
    pub fn plain(pattern: Pattern, scale: f64) -> Self {
        Self {
            pattern,
            scale,
            softcap: None,
            alibi: None,
            sinks: None,
            bias: None,
        }
    }

    /// Whether scores are products and nothing else.
    pub(super) fn is_plain(&self) -> bool {
        self.softcap.is_none()
            && self.alibi.is_none()
            && self.sinks.is_none()
            && self.bias.is_none()
    }

    /// The same for the last position alone, which sees all keys there are.
    #[must_use]
    pub fn of_last(&self) -> Self {
        Self {
            pattern: Pattern::Full,
            ..self.clone()
        }
    }
}

/// Attention of `[batch, heads, tokens, head_dim]`; `key` and `value` may have fewer heads, each
/// of which then serves `heads / kv_heads` consecutive query heads.
pub fn attend(query: Tensor<4>, key: Tensor<4>, value: Tensor<4>, scores: &Scores) -> Tensor<4> {
    attend_with(query, key, value, scores, None)
}

/// The same with `[1 or batch, heads, tokens, keys]` added to the scores.
pub fn attend_with(
    query: Tensor<4>,
    key: Tensor<4>,
    value: Tensor<4>,
    scores: &Scores,
    added: Option<Tensor<4>>,
) -> Tensor<4> {
    let Scores { pattern, scale, .. } = *scores;
    if !scores.is_plain() || added.is_some() {
        return composed(query, key, value, scores, added, 0);
    }
    if let Some(attended) = fused::attend([&query, &key, &value], pattern, scale) {
        return attended;
    }
    let [_, heads, tokens, _] = query.dims();
    let groups = heads / key.dims()[1];
    let device = query.device();
    let (is_causal, mask) = match pattern {
        Pattern::Full => (false, None),
        Pattern::Sliding { window } if window < tokens => {
            (false, Some(hidden(pattern, 0, [tokens, tokens], &device)))
        }
        Pattern::Local { .. } => (false, Some(hidden(pattern, 0, [tokens, tokens], &device))),
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

/// Attention of queries at positions `start` and after to all keys up to the last of them.
pub fn attend_from(
    start: usize,
    query: Tensor<4>,
    key: Tensor<4>,
    value: Tensor<4>,
    scores: &Scores,
) -> Tensor<4> {
    let Scores { pattern, scale, .. } = *scores;
    if scores.is_plain()
        && let Some(attended) = fused::attend_from([&query, &key, &value], start, pattern, scale)
    {
        return attended;
    }
    composed(query, key, value, scores, None, start)
}

/// What share of its attention each query at position `start` and after gives to each key,
/// `[batch, heads, tokens, keys]`.
pub fn shares_from(start: usize, query: Tensor<4>, key: Tensor<4>, scores: &Scores) -> Tensor<4> {
    let Scores { pattern, scale, .. } = *scores;
    if scores.is_plain()
        && let Some(shares) = fused::shares_from([&query, &key], start, pattern, scale)
    {
        return shares;
    }
    shares(query, key, scores, None, start)
}

/// Attention in single steps, for scores that are more than a product; the first query is at position `start`.
fn composed(
    query: Tensor<4>,
    key: Tensor<4>,
    value: Tensor<4>,
    how: &Scores,
    added: Option<Tensor<4>>,
    start: usize,
) -> Tensor<4> {
    let shares = shares(query, key, how, added, start);
    attended(shares, value)
}

/// Values summed by `shares` of them.
pub fn attended(shares: Tensor<4>, value: Tensor<4>) -> Tensor<4> {
    let groups = shares.dims()[1] / value.dims()[1];
    shares.matmul(repeat_heads(value, groups))
}

fn shares(
    query: Tensor<4>,
    key: Tensor<4>,
    how: &Scores,
    added: Option<Tensor<4>>,
    start: usize,
) -> Tensor<4> {
    let [batch, heads, tokens, _] = query.dims();
    let groups = heads / key.dims()[1];
    let keys = key.dims()[2];
    let device = query.device();
    let key = repeat_heads(key, groups);
    let mut scores = query.matmul(key.swap_dims(2, 3)) * how.scale;
    if let Some(cap) = how.softcap {
        scores = (scores / cap).tanh() * cap;
    }
    if let Some(added) = added {
        scores = scores + added;
    }
    if let Some(alibi) = &how.alibi {
        scores = scores + alibi.bias(keys, &device);
    }
    if let Some(bias) = &how.bias {
        let [count, ..] = bias.dims();
        scores = (scores.reshape([batch / count, count, heads, tokens, keys])
            + bias.clone().unsqueeze::<5>())
        .reshape([batch, heads, tokens, keys]);
    }
    if how.pattern != Pattern::Full {
        scores = scores.mask_fill(
            hidden(how.pattern, start, [tokens, keys], &device),
            f32::NEG_INFINITY,
        );
    }
    if let Some(sinks) = &how.sinks {
        let sinks = sinks.clone().reshape([1, heads, 1, 1]);
        scores = Tensor::cat(vec![scores, sinks.expand([batch, heads, tokens, 1])], 3);
    }
    activation::softmax(scores, 3).narrow(3, 0, keys)
}

/// `[1, 1, tokens, keys]`, true where `pattern` lets the query not see the key; the first query is at `start`.
fn hidden(
    pattern: Pattern,
    start: usize,
    [tokens, keys]: [usize; 2],
    device: &Device,
) -> Tensor<4, Bool> {
    let mut hidden = vec![true; tokens * keys];
    for (query, row) in hidden.chunks_exact_mut(keys).enumerate() {
        row[pattern.visible(start + query, keys)].fill(false);
    }
    let data = burn::tensor::TensorData::new(hidden, [1, 1, tokens, keys]);
    Tensor::from_data(data, device)
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

    #[test]
    fn single_steps_equal_the_fused_ones() {
        let device = Device::flex();
        device.seed(8);
        let q = random([2, 4, 9, 6], &device);
        let k = random([2, 2, 9, 6], &device);
        let v = random([2, 2, 9, 5], &device);
        for pattern in [
            Pattern::Causal,
            Pattern::Sliding { window: 3 },
            Pattern::Full,
        ] {
            let plain = Scores::plain(pattern, 0.3);
            // A cap far above the scores and sinks far below them change nothing.
            let wide = Scores {
                softcap: Some(1e4),
                sinks: Some(Tensor::full([4], -1e4, &device)),
                ..plain.clone()
            };
            let read = |x: Tensor<4>| x.into_data().try_to_vec::<f32>().unwrap();
            let expected = read(attend(q.clone(), k.clone(), v.clone(), &plain));
            let found = read(attend(q.clone(), k.clone(), v.clone(), &wide));
            for (a, b) in found.iter().zip(&expected) {
                assert!((a - b).abs() < 1e-5, "{pattern:?}: {a} {b}");
            }
        }
    }

    // One query, two keys with scores 0 and ln 3, a sink with score ln 4: shares 1/8, 3/8, 4/8.
    #[test]
    fn a_sink_takes_its_share() {
        let device = Device::flex();
        let of = |values: [f32; 2]| Tensor::<4>::from_data([[[[values[0]], [values[1]]]]], &device);
        let query = Tensor::<4>::from_data([[[[1.0_f32]]]], &device);
        let scores = Scores {
            sinks: Some(Tensor::from_data([4.0_f32.ln()], &device)),
            ..Scores::plain(Pattern::Full, 1.0)
        };
        let out = attend(query, of([0.0, 3.0_f32.ln()]), of([8.0, 16.0]), &scores);
        let out = out.into_data().try_to_vec::<f32>().unwrap();
        assert!((out[0] - 7.0).abs() < 1e-6, "{out:?}");
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
                        Pattern::Local { reach } => {
                            (i.saturating_sub(reach), (i + reach + 1).min(tokens))
                        }
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
                Pattern::Local { reach: 0 },
                Pattern::Local { reach: 3 },
            ];
            for pattern in patterns {
                let expected = naive(&q, &k, &v, pattern, 0.3);
                let scores = Scores::plain(pattern, 0.3);
                let found = attend(q.clone(), k.clone(), v.clone(), &scores);
                let found = found.into_data().try_to_vec::<f32>().unwrap();
                for (a, b) in found.iter().zip(&expected) {
                    assert!((f64::from(*a) - b).abs() < 2e-6, "{pattern:?}: {a} {b}");
                }
            }
        }
    }
}
