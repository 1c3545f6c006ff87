//! Ranges, outliers and tables against what the paper says of them.

use super::settings::Settings;
use crate::MatrixRef;
use crate::caches::tests::data::{fitted, normal, quantizer, relative_error, round_trip, shape};
use crate::caches::{
    CacheCodec, CacheError, CacheSamples, CacheTensor, CacheValues, Encoded, Part,
};
use crate::codebook::{Row, Solver};

const WIDTH: usize = 128;

fn matrix(data: &[f32]) -> MatrixRef<'_> {
    MatrixRef::new(data, data.len() / WIDTH, WIDTH).unwrap()
}

fn codec(rule: &str, data: &[f32]) -> Box<dyn CacheCodec> {
    fitted("kvquant", rule, shape(2, WIDTH / 2), data)
        .unwrap()
        .1
}

/// A codec whose keys, and values, have gradients.
fn with_gradients(rule: &str, data: &[f32], gradients: &[f32]) -> Box<dyn CacheCodec> {
    let (data, gradients) = ([matrix(data)], [matrix(gradients)]);
    let samples = CacheSamples {
        keys: &data,
        values: &data,
        key_gradients: Some(&gradients),
        value_gradients: Some(&gradients),
    };
    let fitted = quantizer("kvquant", rule).fit(shape(2, WIDTH / 2), &samples);
    fitted.unwrap()
}

fn f32_tensor(codec: &dyn CacheCodec, name: &str) -> Vec<f32> {
    let tensors = codec.tensors();
    let found = tensors.iter().find(|tensor| tensor.name == name).unwrap();
    match &found.values {
        CacheValues::F32(values) => values.clone(),
        CacheValues::F16(values) => values.iter().map(|value| value.to_f32()).collect(),
    }
}

/// Outliers of an encoded part: what lies behind the fixed bytes.
fn outliers(rule: &str, part: Part, encoded: &Encoded) -> Vec<(usize, f32)> {
    let settings = Settings::read(&rule.parse().unwrap()).unwrap();
    let fixed = encoded.tokens * settings.bytes_per_token(part, WIDTH);
    let (entries, rest) = encoded.bytes[fixed..].as_chunks::<4>();
    assert!(rest.is_empty());
    entries
        .iter()
        .map(|[a, b, c, d]| {
            let channel = usize::from(u16::from_le_bytes([*a, *b]));
            (channel, half::f16::from_le_bytes([*c, *d]).to_f32())
        })
        .collect()
}

#[test]
fn one_percent_of_the_calibration_data_are_outliers() {
    let data = normal(8192 * WIDTH, 11);
    let codec = codec("sinks = 0", &data);
    let encoded = codec.encode(Part::Keys, matrix(&data));
    let share = outliers("", Part::Keys, &encoded).len() as f64 / data.len() as f64;
    assert!((share - 0.01).abs() < 0.0005, "{share}");
    // Values: one on each side of 128 channels, ceil(0.64).
    let encoded = codec.encode(Part::Values, matrix(&data));
    assert_eq!(outliers("", Part::Values, &encoded).len(), 2 * 8192);
}

#[test]
#[expect(clippy::float_cmp, reason = "f16 values come back exactly")]
fn outliers_come_back_as_f16_and_the_others_within_the_range_of_their_vector() {
    let data = normal(2000 * WIDTH, 12);
    let codec = codec("", &data);
    for part in Part::ALL {
        let encoded = codec.encode(part, matrix(&data));
        let mut back = vec![0.0; data.len()];
        codec.decode(part, &encoded, &mut back);
        let stored = outliers("", part, &encoded);
        let exact = data.iter().zip(&back);
        let exact = exact.filter(|(x, y)| half::f16::from_f32(**x).to_f32() == **y);
        assert!(exact.count() >= stored.len());
        assert!(relative_error(&data, &back) < 0.012, "{part:?}");
    }
}

#[test]
fn sinks_are_no_calibration_data_and_do_not_cross_sequences() {
    let mut data = normal(400 * WIDTH, 13);
    let plain = codec("sinks = 2", &data).tensors();
    // Two sequences of 200 tokens; the first two tokens of each are enormous.
    for token in [0, 1, 200, 201] {
        data[token * WIDTH..][..WIDTH].fill(4000.0);
    }
    let two = [matrix(&data[..200 * WIDTH]), matrix(&data[200 * WIDTH..])];
    let samples = CacheSamples {
        keys: &two,
        values: &two,
        ..CacheSamples::default()
    };
    let quantizer = quantizer("kvquant", "sinks = 2");
    let shape = shape(2, WIDTH / 2);
    assert_eq!(quantizer.plan(shape).unwrap().first, 2);
    let found = quantizer.fit(shape, &samples).unwrap();
    let high = f32_tensor(found.as_ref(), "k_hi");
    assert!(high.iter().all(|high| *high < 4.0));
    assert_ne!(plain, found.tensors());
    let short = [matrix(&data[..2 * WIDTH])];
    let samples = CacheSamples {
        keys: &short,
        values: &short,
        ..CacheSamples::default()
    };
    let error = quantizer.fit(shape, &samples).err().unwrap();
    assert_eq!(
        error.to_string(),
        "needs samples of keys with more than 2 tokens, found none"
    );
}

// With q = clip(round(a s - o)), s = (2^b - 1) / (high - low), o = low s, read back as (q + o) / s.
#[test]
fn a_uniform_table_is_integer_quantization() {
    let data = normal(500 * WIDTH, 14);
    let rule = "datatype = \"uniform\"\noutlier_fraction = 0\nbits = 3\nsinks = 0";
    let codec = codec(rule, &data);
    let back = round_trip(codec.as_ref(), Part::Keys, &data, WIDTH);
    let (low, high) = (
        f32_tensor(codec.as_ref(), "k_lo"),
        f32_tensor(codec.as_ref(), "k_hi"),
    );
    for (row, back) in data.chunks(WIDTH).zip(back.chunks(WIDTH)) {
        for (channel, (value, back)) in row.iter().zip(back).enumerate() {
            let [value, low, high] = [*value, low[channel], high[channel]].map(f64::from);
            let steps = 7.0 / (high - low);
            let offset = low * steps;
            let exact = value * steps - offset;
            // Half-way between two codes rounding decides, and either is right.
            let code = if (exact.fract() - 0.5).abs() < 1e-4 {
                ((f64::from(*back) - low) * steps).round()
            } else {
                exact.round()
            };
            let expected = (code.clamp(0.0, 7.0) + offset) / steps;
            assert!(
                (expected - f64::from(*back)).abs() < 1e-5,
                "{expected} {back}"
            );
        }
    }
}

#[test]
fn the_table_is_the_weighted_k_means_of_the_scaled_inliers() {
    let data = normal(60 * WIDTH, 15);
    let gradients: Vec<f32> = normal(60 * WIDTH, 16).iter().map(|g| g * 1e-6).collect();
    for (rule, power, uses_gradients) in [
        ("weights = \"fisher-range\"", 2, true),
        ("weights = \"fisher\"", 0, true),
        ("weights = \"range\"", 2, false),
        ("weights = \"none\"", 0, false),
    ] {
        let rule = format!("{rule}\nbits = 2\nsinks = 0\nq_norm = false\noutlier_fraction = 0");
        let codec = with_gradients(&rule, &data, &gradients);
        let (low, high) = (
            f32_tensor(codec.as_ref(), "k_lo"),
            f32_tensor(codec.as_ref(), "k_hi"),
        );
        let (mut values, mut weights) = (Vec::new(), Vec::new());
        for (at, value) in data.iter().enumerate() {
            let channel = at % WIDTH;
            let range = 0.5 * (high[channel] - low[channel]);
            values.push(((value - low[channel]) / range - 1.0).clamp(-1.0, 1.0));
            let fisher = if uses_gradients {
                (gradients[at] * 1e6).powi(2)
            } else {
                1.0
            };
            weights.push(fisher * range.powi(power));
        }
        let row = Row {
            values: &values,
            weights: Some(&weights),
            removed: None,
        };
        let mut solver = Solver::default();
        let expected = solver.solve(row, 4).centroids;
        let found = f32_tensor(codec.as_ref(), "k_lut");
        for (found, expected) in found.iter().zip(expected) {
            assert!(
                (f64::from(*found) - expected).abs() < 1e-4,
                "{rule}: {found} {expected}"
            );
        }
    }
}

#[test]
fn without_gradients_the_range_alone_counts() {
    let data = normal(60 * WIDTH, 17);
    let fallback = codec("bits = 3", &data);
    let range = codec("bits = 3\nweights = \"range\"", &data);
    assert_eq!(fallback.tensors(), range.tensors());
    assert_eq!(fallback.settings()["weights"], "range");
    let zero = vec![0.0; data.len()];
    // No gradient anywhere: everything counts alike.
    let nothing = with_gradients("bits = 3", &data, &zero);
    let equal = codec("bits = 3\nweights = \"none\"", &data);
    assert_eq!(nothing.tensors(), equal.tensors());
}

#[test]
fn a_fitted_table_beats_equal_steps_and_outliers_beat_none() {
    // Heavy tails: the cubes of normal values.
    let data: Vec<f32> = normal(2000 * WIDTH, 18).iter().map(|x| x.powi(3)).collect();
    for part in Part::ALL {
        let error = |rule: &str| {
            let codec = codec(rule, &data);
            relative_error(&data, &round_trip(codec.as_ref(), part, &data, WIDTH))
        };
        let ladder = [
            error("bits = 3\ndatatype = \"uniform\"\noutlier_fraction = 0"),
            error("bits = 3\noutlier_fraction = 0"),
            error("bits = 3"),
        ];
        assert!(ladder.is_sorted_by(|a, b| a > b), "{part:?}: {ladder:?}");
    }
}

#[test]
fn channels_of_one_sign_are_better_served_per_channel() {
    let mut data = normal(1000 * WIDTH, 19);
    for (at, value) in data.iter_mut().enumerate() {
        *value += if at % 16 == 3 { 20.0 } else { 0.0 };
    }
    let error = |rule: &str| {
        let codec = codec(rule, &data);
        let back = round_trip(codec.as_ref(), Part::Keys, &data, WIDTH);
        data.iter()
            .zip(&back)
            .map(|(a, b)| f64::from(a - b).powi(2))
            .sum::<f64>()
    };
    let (channel, token) = (error("bits = 3"), error("bits = 3\nkeys = \"token\""));
    assert!(2.0 * channel < token, "{channel} {token}");
}

#[test]
fn q_norm_gives_inliers_their_mean_and_deviation_again() {
    let data: Vec<f32> = normal(1000 * WIDTH, 20)
        .iter()
        .map(|x| x + 0.2 * x * x)
        .collect();
    let rule = "bits = 2\noutlier_fraction = 0\nsinks = 0\nweights = \"none\"";
    let codec = codec(rule, &data);
    let back = round_trip(codec.as_ref(), Part::Keys, &data, WIDTH);
    let (low, high) = (
        f32_tensor(codec.as_ref(), "k_lo"),
        f32_tensor(codec.as_ref(), "k_hi"),
    );
    let moments = |values: &[f32]| {
        let scaled = values.iter().enumerate().map(|(at, value)| {
            let (low, high) = (low[at % WIDTH], high[at % WIDTH]);
            f64::from((value - low) / (high - low))
        });
        let (sum, squares) = scaled.fold((0.0, 0.0), |(s, q), x| (s + x, q + x * x));
        let mean = sum / values.len() as f64;
        (mean, squares / values.len() as f64 - mean * mean)
    };
    let (before, after) = (moments(&data), moments(&back));
    assert!((before.0 - after.0).abs() < 1e-4, "{before:?} {after:?}");
    assert!(
        (before.1 / after.1 - 1.0).abs() < 1e-3,
        "{before:?} {after:?}"
    );
}

#[test]
fn a_cap_bounds_the_outliers_of_each_token() {
    let mut data = normal(1000 * WIDTH, 21);
    // A few tokens that are far out in every channel.
    for token in [100, 500, 900] {
        for value in &mut data[token * WIDTH..][..WIDTH] {
            *value *= 8.0;
        }
    }
    let rule = "cap_outliers = true\nsinks = 0";
    let capped = codec(rule, &data);
    for (token, row) in data.chunks(WIDTH).enumerate() {
        let encoded = capped.encode(Part::Keys, matrix(row));
        let found = outliers(rule, Part::Keys, &encoded);
        assert!(found.len() <= 2, "{token}: {found:?}");
        assert!(found.iter().filter(|(_, value)| *value > 0.0).count() <= 1);
    }
    let free = codec("sinks = 0", &data);
    let encoded = free.encode(Part::Keys, matrix(&data[100 * WIDTH..101 * WIDTH]));
    assert!(outliers("", Part::Keys, &encoded).len() > 40);
}

#[test]
fn constant_channels_have_a_range_all_the_same() {
    let mut data = normal(100 * WIDTH, 22);
    for row in data.chunks_mut(WIDTH) {
        row[7] = 0.75;
        row[9] = 0.0;
    }
    let codec = codec("", &data);
    let back = round_trip(codec.as_ref(), Part::Keys, &data, WIDTH);
    for row in back.chunks(WIDTH) {
        assert!((row[7] - 0.75).abs() < 1e-3 && row[9].abs() < 1e-6);
    }
    quantizer("kvquant", "")
        .restore(shape(2, WIDTH / 2), &codec.tensors())
        .unwrap();
}

#[test]
fn tables_out_of_order_and_ends_the_wrong_way_round_are_refused() {
    let data = normal(100 * WIDTH, 23);
    let codec = codec("bits = 2", &data);
    let restore = |change: &dyn Fn(&mut CacheTensor)| {
        let mut tensors = codec.tensors();
        tensors.iter_mut().for_each(change);
        let restored = quantizer("kvquant", "bits = 2").restore(shape(2, WIDTH / 2), &tensors);
        restored.err().unwrap().to_string()
    };
    let error = restore(&|tensor| match &mut tensor.values {
        CacheValues::F32(values) if tensor.name == "v_lut" => {
            values.copy_from_slice(&[0.0, 0.5, 0.25, 1.0]);
        }
        _ => {}
    });
    assert_eq!(
        error,
        "tensor `v_lut`, value 2: expected no less than the value before, found 0.25"
    );
    let error = restore(&|tensor| match &mut tensor.values {
        CacheValues::F16(values) if tensor.name == "k_hi" => values[5] = half::f16::from_f32(-9.0),
        _ => {}
    });
    assert_eq!(
        error,
        "tensor `k_hi`, value 5: expected more than the low end of the channel, found -9"
    );
}

#[test]
fn more_channels_than_16_bits_can_name_are_refused_with_outliers_only() {
    let shape = shape(1024, 128);
    let error = quantizer("kvquant", "").plan(shape).unwrap_err();
    assert_eq!(
        error,
        CacheError::TooManyChannels {
            part: Part::Keys,
            found: 1 << 17
        }
    );
    assert_eq!(error.hint().unwrap(), "set `outlier_fraction = 0`");
    quantizer("kvquant", "outlier_fraction = 0")
        .plan(shape)
        .unwrap();
}
