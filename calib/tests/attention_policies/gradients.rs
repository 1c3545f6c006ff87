//! Loss gradients of keys and values, against the loss itself.

use super::{Decoder, decoders};
use burn::tensor::{Device, Tensor};
use calib::Forward;
use calib::attention_policy::{Attending, AttentionPolicy};
use calib::layers::attention::attend;
use calib::policy_error::PolicyError;
use calib::running::error::CollectError;
use calib::running::fisher::{AttentionGradients, KeyValueOptions, Sequence, walk_key_values};
use std::sync::Arc;

/// Exact attention to keys, not yet rotated, and values of one block that were moved along a direction.
#[derive(Debug)]
struct Moved {
    block: usize,
    step: f32,
    direction: [Tensor<4>; 2],
}

impl AttentionPolicy for Moved {
    fn attend(&self, input: Attending) -> Result<Tensor<4>, PolicyError> {
        if input.block != self.block {
            return Ok(attend(input.query, input.key, input.value, &input.scores));
        }
        let [key, value] = self.direction.clone().map(|x| x * self.step);
        let key = (input.rotate)(input.unrotated + key);
        Ok(attend(input.query, key, input.value + value, &input.scores))
    }
}

/// Mean next-token loss of the text of [`Decoder::logits`].
fn loss(decoder: &Decoder, policy: Option<Arc<dyn AttentionPolicy>>) -> f64 {
    let logits = decoder.logits(policy);
    let ids = decoder.ids();
    let rows = logits.chunks_exact(logits.len() / ids.len());
    let losses = rows.zip(&ids[1..]).map(|(row, target)| {
        let sum: f64 = row.iter().map(|logit| f64::from(*logit).exp()).sum();
        sum.ln() - f64::from(row[*target as usize])
    });
    losses.sum::<f64>() / (ids.len() - 1) as f64
}

// A step along the gradient changes the loss by the length of the gradient, to first order.
#[test]
fn gradients_of_keys_and_values_are_those_of_the_loss() {
    let (mut checked, mut off) = (0, Vec::new());
    for decoder in decoders() {
        let scratch = tempfile::tempdir().unwrap();
        let options = KeyValueOptions {
            seed: 0,
            memory_bytes: 0,
            scratch: scratch.path().to_owned(),
        };
        let device = Device::flex();
        let sequence = Sequence {
            input: decoder.input(&device),
            tokens: decoder.ids(),
        };
        let forward = Forward::new(decoder.model.as_ref(), &decoder.checkpoint, device);
        let mut blocks = Vec::new();
        walk_key_values::<CollectError>(
            &forward,
            &[sequence],
            &options,
            &mut |stage, mut sequences| {
                let AttentionGradients { key, value, .. } = sequences.remove(0);
                blocks.push((stage, [key, value]));
                Ok(())
            },
            &mut |_, _| {},
        )
        .unwrap();
        let stages: Vec<usize> = blocks.iter().map(|(stage, _)| *stage).collect();
        assert!(stages.is_sorted_by(|a, b| a > b), "{stages:?}");
        assert_eq!(stages.len(), decoder.blocks().len(), "{}", decoder.name);
        for ((_, gradients), block) in blocks.into_iter().rev().zip(0..) {
            for part in 0..2 {
                let mut direction = gradients.clone();
                direction[1 - part] = direction[1 - part].zeros_like();
                let length = direction[part].clone().powi_scalar(2).sum().sqrt();
                let length: f32 = length.into_scalar();
                if length < 3e-3 {
                    continue;
                }
                direction = direction.map(|x| x / length);
                let moved = |step| {
                    let direction = direction.clone();
                    loss(
                        &decoder,
                        Some(Arc::new(Moved {
                            block,
                            step,
                            direction,
                        })),
                    )
                };
                let slope = |step: f32| (moved(step) - moved(-step)) / (2.0 * f64::from(step));
                let expected = f64::from(length);
                // On a longer way a router may send a token to another expert, and the loss jumps.
                let slopes = [0.002, 0.0005, 0.0002].map(slope);
                let near = |slope: &f64| (slope / expected - 1.0).abs() < 0.05;
                if !slopes.iter().any(near) {
                    off.push(format!(
                        "{} block {block} part {part}: {slopes:?} {expected}",
                        decoder.name
                    ));
                }
                checked += 1;
            }
        }
    }
    assert!(off.is_empty(), "{off:#?}");
    assert!(checked >= 40, "{checked} gradients");
}
