//! Every entry with every kind of parameters: lengths, errors, artifacts, and refusals.

use super::data::{configurations, fitted, normal, quantizer, relative_error, round_trip, shape};
use crate::MatrixRef;
use crate::caches::{CACHES, CacheError, CacheSamples, CacheValues, Part};
use proptest::prelude::*;

#[test]
fn names_are_unique_and_every_parameter_has_help() {
    for (at, cache) in CACHES.iter().enumerate() {
        assert!(
            CACHES[..at]
                .iter()
                .all(|other| other.name() != cache.name())
        );
        assert!(!cache.summary().is_empty() && !cache.summary().ends_with('.'));
        for (name, help) in cache.parameters() {
            assert!(!help.is_empty(), "`{name}` of `{}`", cache.name());
        }
        let typo: toml::Table = "bitz = 3".parse().unwrap();
        let error = cache.configure(&typo).err().unwrap();
        assert_eq!(
            error.to_string(),
            format!("unknown key `bitz` for method `{}`", cache.name())
        );
    }
}

#[test]
fn bytes_are_exactly_what_the_plan_claims() {
    for (name, rule) in configurations() {
        for (kv_heads, dim) in [(1, 64), (3, 64), (2, 96), (2, 128), (1, 256), (5, 80)] {
            let shape = shape(kv_heads, dim);
            let width = kv_heads * dim;
            let data = normal(256 * width, 3);
            let (plan, codec) = match fitted(name, rule, shape, &data) {
                Ok(found) => found,
                Err(CacheError::Block { block, found, .. }) => {
                    assert!(
                        found == dim && !dim.is_multiple_of(block),
                        "{name} {rule} {dim}"
                    );
                    continue;
                }
                Err(error) => panic!("{name} {rule} {dim}: {error}"),
            };
            for part in Part::ALL {
                let tokens = MatrixRef::new(&data, 256, width).unwrap();
                let encoded = codec.encode(part, tokens);
                let claimed = plan.bits(part);
                let found = encoded.bits_per_element(width);
                if plan.is_estimate && part == Part::Keys {
                    // One percent of 256 tokens of a channel is two or three of them.
                    assert!(
                        (found - claimed).abs() < 0.25,
                        "{name} {rule}: {found} {claimed}"
                    );
                } else {
                    assert!(
                        (found - claimed).abs() < 1e-12,
                        "{name} {rule}: {found} {claimed}"
                    );
                }
            }
        }
    }
}

#[test]
fn artifacts_restore_the_codec_and_broken_ones_are_refused() {
    let shape = shape(2, 64);
    let data = normal(200 * 128, 4);
    let tokens = MatrixRef::new(&data, 200, 128).unwrap();
    for (name, rule) in configurations() {
        let (_, codec) = fitted(name, rule, shape, &data).unwrap();
        let quantizer = quantizer(name, rule);
        let tensors = codec.tensors();
        let restored = quantizer.restore(shape, &tensors).unwrap();
        for part in Part::ALL {
            let encoded = codec.encode(part, tokens);
            assert_eq!(restored.encode(part, tokens), encoded, "{name} {rule}");
            let (mut first, mut second) = (vec![0.0; data.len()], vec![0.0; data.len()]);
            codec.decode(part, &encoded, &mut first);
            restored.decode(part, &encoded, &mut second);
            assert!(
                first
                    .iter()
                    .zip(&second)
                    .all(|(a, b)| a.to_bits() == b.to_bits())
            );
        }
        for at in 0..tensors.len() {
            let mut broken = tensors.clone();
            let gone = broken.remove(at);
            let error = quantizer.restore(shape, &broken).err().unwrap();
            assert_eq!(error, CacheError::MissingTensor(gone.name));

            let mut broken = tensors.clone();
            match &mut broken[at].values {
                CacheValues::F16(values) => values[0] = half::f16::NAN,
                CacheValues::F32(values) => values[0] = f32::NAN,
            }
            let error = quantizer.restore(shape, &broken).err().unwrap();
            assert!(
                matches!(error, CacheError::TensorValue { at: 0, .. }),
                "{name}: {error}"
            );

            let mut broken = tensors.clone();
            broken[at].shape.push(1);
            let error = quantizer.restore(shape, &broken).err().unwrap();
            assert!(
                matches!(error, CacheError::TensorForm { .. }),
                "{name}: {error}"
            );
        }
        let mut more = tensors;
        more.push(crate::caches::CacheTensor::f32("stray", vec![1], vec![1.0]));
        let error = quantizer.restore(shape, &more).err().unwrap();
        assert_eq!(error, CacheError::UnknownTensor("stray".to_owned()));
    }
}

#[test]
fn samples_that_are_not_finite_or_of_another_width_are_refused() {
    let shape = shape(2, 64);
    for (name, rule) in configurations() {
        let mut data = normal(40 * 128, 5);
        data[3 * 128 + 17] = f32::INFINITY;
        let error = fitted(name, rule, shape, &data).err().unwrap();
        assert_eq!(
            error.to_string(),
            "keys at sequence 0, token 3, channel 17 are inf, expected a finite number",
            "{name}"
        );
        let fine = normal(40 * 128, 5);
        let wide = [MatrixRef::new(&fine, 20, 256).unwrap()];
        let samples = CacheSamples {
            values: &wide,
            ..CacheSamples::default()
        };
        let error = quantizer(name, rule).fit(shape, &samples).err().unwrap();
        assert_eq!(
            error.to_string(),
            "expected 128 channels of values in sequence 0, found 256"
        );
    }
}

#[test]
fn methods_that_need_samples_say_so_and_the_others_do_without() {
    for (name, rule) in configurations() {
        let quantizer = quantizer(name, rule);
        let shape = shape(2, 64);
        let plan = quantizer.plan(shape).unwrap();
        match quantizer.fit(shape, &CacheSamples::default()) {
            Ok(_) => assert!(!plan.needs_samples, "{name} {rule}"),
            Err(error) => {
                assert!(plan.needs_samples, "{name} {rule}");
                assert_eq!(
                    error,
                    CacheError::NoSamples {
                        part: Part::Keys,
                        first: plan.first
                    }
                );
            }
        }
    }
}

#[test]
fn gradients_of_another_shape_are_refused() {
    let data = normal(6 * 128, 6);
    let (long, short) = (
        [MatrixRef::new(&data, 6, 128).unwrap()],
        [MatrixRef::new(&data[..4 * 128], 4, 128).unwrap()],
    );
    let error = |gradients: &[MatrixRef<'_>]| {
        let samples = CacheSamples {
            keys: &long,
            values: &long,
            key_gradients: Some(gradients),
            value_gradients: None,
        };
        samples.check(shape(2, 64)).unwrap_err().to_string()
    };
    assert_eq!(
        error(&short),
        "expected gradients of 6 tokens of keys in sequence 0, found 4"
    );
    assert_eq!(
        error(&[]),
        "expected gradients of 1 sequences of keys, found 0"
    );
}

#[test]
fn heads_that_blocks_do_not_divide_are_refused_with_what_does() {
    let error = quantizer("q4_0", "").plan(shape(2, 80)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`q4_0` stores blocks of 32 elements: expected a head dimension of keys that is a multiple of 32, found 80"
    );
    assert_eq!(
        error.hint().unwrap(),
        "`int8-token-head`, `kvquant` and `kivi` with a `group` that divides the head take it"
    );
    for dim in [64, 80, 96, 128] {
        for (name, rule) in [
            ("int8-token-head", ""),
            ("kvquant", ""),
            ("kivi", "group = 16"),
        ] {
            quantizer(name, rule).plan(shape(2, dim)).unwrap();
        }
    }
}

/// Relative squared error on normal values above which something is wrong: what the bits allow, and a bit more.
fn limit(name: &str, rule: &str) -> f64 {
    match (name, rule) {
        ("none", "") => 0.0,
        ("none", _) => 1e-5,
        ("fp8" | "int8", _) => 2e-3,
        ("int8-token-head" | "q8_0", _) => 3e-4,
        ("int4-token-head", _) => 0.04,
        ("kivi", "") => 0.35,
        ("kivi", "bits = 3") => 0.08,
        ("q4_0" | "kivi" | "mixed", _) => 0.02,
        ("kvquant", "bits = 2") => 0.15,
        ("kvquant", rule) if rule.contains("bits = 3") => 0.05,
        ("kvquant", _) => 0.03,
        // Signs of 256 projections of heads of up to 160 elements.
        ("qjl", _) => 1.0,
        ("polar", _) => 0.05,
        ("turbo", rule) if rule.contains("prod") => 1.5,
        ("turbo", _) => 0.25,
        other => panic!("no limit for {other:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn any_tokens_come_back_and_each_token_stands_for_itself(
        which in 0..configurations().len(),
        kv_heads in 1usize..4,
        dim in prop_oneof![Just(64usize), Just(80), Just(96), Just(128), 16usize..160],
        tokens in 1usize..70,
        seed in any::<u64>(),
        scale in -8i32..8,
    ) {
        let (name, rule) = configurations()[which];
        let (shape, width) = (shape(kv_heads, dim), kv_heads * dim);
        let factor = (scale as f32).exp2();
        let all: Vec<f32> = normal(tokens.max(8) * width, seed).iter().map(|x| x * factor).collect();
        let codec = match fitted(name, rule, shape, &all) {
            Ok((_, codec)) => codec,
            Err(CacheError::Block { block, found, .. }) => {
                prop_assert!(found == dim && !dim.is_multiple_of(block));
                return Ok(());
            }
            Err(CacheError::NoHadamard { order, .. }) => {
                prop_assert!(crate::linalg::hadamard::Hadamard::of_order(order).is_none());
                return Ok(());
            }
            Err(error) => return Err(TestCaseError::fail(format!("{name} {rule} {dim}: {error}"))),
        };
        let data = &all[..tokens * width];
        for part in Part::ALL {
            let back = round_trip(codec.as_ref(), part, data, width);
            prop_assert!(back.iter().all(|value| value.is_finite()), "{} {}", name, rule);
            if name == "none" && rule.is_empty() {
                prop_assert!(back.iter().zip(data).all(|(a, b)| a.to_bits() == b.to_bits()));
            }
            let is_alone = quantizer(name, rule).plan(shape).unwrap().chunk == 1 || part == Part::Values;
            // A token that stands for itself is the same among more: limits, which are means, are held against all of them.
            let (judged, found) = if is_alone {
                let found = round_trip(codec.as_ref(), part, &all, width);
                prop_assert!(back.iter().zip(&found).all(|(a, b)| a.to_bits() == b.to_bits()), "{} {}", name, rule);
                (&all[..], found)
            } else {
                (data, back.clone())
            };
            let error = relative_error(judged, &found);
            // The mean over a token or two of small heads is far from the mean over many.
            let spread = if judged.len() < 512 { 8.0 / (judged.len() as f64).sqrt() } else { 0.0 };
            let most = limit(name, rule) * (1.0 + spread);
            prop_assert!(error <= most, "{} {} {}: {}", name, rule, dim, error);
            if is_alone {
                let last = &data[(tokens - 1) * width..];
                let alone = round_trip(codec.as_ref(), part, last, width);
                prop_assert!(back[(tokens - 1) * width..].iter().zip(&alone).all(|(a, b)| a.to_bits() == b.to_bits()));
            }
        }
    }

    #[test]
    fn zeros_come_back_as_zeros_wherever_steps_have_a_zero(which in 0..configurations().len()) {
        let (name, rule) = configurations()[which];
        let shape = shape(2, 64);
        let data = normal(64 * 128, 9);
        let (_, codec) = fitted(name, rule, shape, &data).unwrap();
        for part in Part::ALL {
            let back = round_trip(codec.as_ref(), part, &[0.0; 256], 128);
            prop_assert!(back.iter().all(|value| value.is_finite()));
            let is_token_wise = !matches!(name, "kvquant") && !rule.contains("centre_keys");
            if is_token_wise {
                prop_assert!(back.iter().all(|value| *value == 0.0), "{} {}", name, rule);
            }
        }
    }
}
