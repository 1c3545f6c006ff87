//! Distortions on random unit vectors, and what the parts of the method are for.

use crate::caches::Part;
use crate::caches::tests::data::{fitted, normal, quantizer, relative_error, round_trip, shape};
use std::f64::consts::FRAC_PI_2;

const DIM: usize = 128;
const VECTORS: usize = 4000;

fn unit_vectors(seed: u64) -> Vec<f32> {
    let mut data = normal(VECTORS * DIM, seed);
    for vector in data.chunks_mut(DIM) {
        let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
        for x in vector {
            *x /= length;
        }
    }
    data
}

fn decoded(rule: &str, part: Part, data: &[f32]) -> Vec<f32> {
    let (_, codec) = fitted("turbo", rule, shape(1, DIM), data).unwrap();
    round_trip(codec.as_ref(), part, data, DIM)
}

#[test]
fn mse_distortion_is_that_of_the_best_table() {
    let data = unit_vectors(31);
    for (bits, expected) in [(1, 0.3609), (2, 0.1160), (3, 0.03397), (4, 0.00931)] {
        for rotation in ["hadamard", "qr"] {
            let rule = format!(
                "bits = {bits}\nvalues = \"mse\"\nnorm_correction = false\nrotation = \"{rotation}\""
            );
            for part in Part::ALL {
                let found = relative_error(&data, &decoded(&rule, part, &data));
                assert!((found / expected - 1.0).abs() < 0.03, "{rule}: {found}");
            }
        }
    }
}

// The inner product with a fixed vector: unbiased, with a variance of pi / 2 times the distortion of one bit less,
// over the dimension. The paper prints 1.57, 0.56, 0.18 and 0.047 from rounded distortions.
#[test]
fn prod_estimates_inner_products_without_bias_and_with_the_known_variance() {
    let data = unit_vectors(32);
    let queries = unit_vectors(33);
    let product = |a: &[f32], b: &[f32]| -> f64 {
        a.iter()
            .zip(b)
            .map(|(a, b)| f64::from(*a) * f64::from(*b))
            .sum()
    };
    for (bits, below) in [(1, 1.0), (2, 0.3609), (3, 0.1160), (4, 0.03397)] {
        let rule = format!(
            "bits = {bits}\nkeys = \"prod\"\nvalues = \"mse\"\nsketch = \"gaussian\"\nrotation = \"qr\""
        );
        let (mut sum, mut squares) = (0.0, 0.0);
        let mut count = 0.0;
        // The matrices are drawn anew, as they are what the expectation is over.
        for seed in 0..40 {
            let own = &data[seed * 100 * DIM..][..100 * DIM];
            let back = decoded(&format!("{rule}\nseed = {seed}"), Part::Keys, own);
            for (key, back) in own.chunks(DIM).zip(back.chunks(DIM)) {
                for query in queries.chunks(DIM).take(100) {
                    let error = product(query, back) - product(query, key);
                    sum += error;
                    squares += error * error;
                    count += 1.0;
                }
            }
        }
        let (bias, variance) = (sum / count, squares / count);
        let expected = FRAC_PI_2 * below / DIM as f64;
        assert!(bias.abs() < 0.02 * expected.sqrt(), "{bits}: {bias}");
        assert!(
            (variance / expected - 1.0).abs() < 0.03,
            "{bits}: {variance} {expected}"
        );
    }
}

#[test]
fn norm_correction_gives_vectors_their_length_again() {
    let data: Vec<f32> = unit_vectors(34).iter().map(|x| 3.0 * x).collect();
    let length = |values: &[f32]| values.iter().map(|x| x * x).sum::<f32>().sqrt();
    for vector in decoded("bits = 2", Part::Keys, &data).chunks(DIM) {
        assert!((length(vector) - 3.0).abs() < 2e-3);
    }
    let short = decoded("bits = 2\nnorm_correction = false", Part::Keys, &data);
    let mean = short.chunks(DIM).map(length).sum::<f32>() / VECTORS as f32;
    // What a best table gives is shorter by the square root of 1 minus its distortion.
    assert!(
        (mean / 3.0 - (1.0_f32 - 0.1160).sqrt()).abs() < 2e-3,
        "{mean}"
    );
}

#[test]
#[expect(clippy::float_cmp, reason = "channel numbers are exact")]
fn channels_with_a_bit_more_are_the_largest_ones() {
    let mut data = unit_vectors(35);
    for vector in data.chunks_mut(DIM) {
        for (at, value) in vector.iter_mut().enumerate() {
            *value *= if at % 4 == 1 { 8.0 } else { 1.0 };
        }
    }
    let (plan, codec) = fitted(
        "turbo",
        "bits = 2.25\nvalues = \"mse\"",
        shape(1, DIM),
        &data,
    )
    .unwrap();
    // 32 channels of 3 bits, 96 of 2, and two lengths.
    assert!((plan.key_bits - 2.5).abs() < 1e-12);
    let tensors = codec.tensors();
    let crate::caches::CacheValues::F32(channels) = &tensors[0].values else {
        panic!("{tensors:?}")
    };
    assert_eq!(tensors[0].name, "k_wide_channels");
    assert!(
        channels
            .iter()
            .zip(0..)
            .all(|(channel, at)| *channel == (4 * at + 1) as f32)
    );
    let split = relative_error(&data, &round_trip(codec.as_ref(), Part::Keys, &data, DIM));
    let plain = relative_error(&data, &decoded("bits = 2", Part::Keys, &data));
    assert!(2.0 * split < plain, "{split} {plain}");
}

#[test]
fn bits_that_cannot_be_are_refused() {
    let error = |rule: &str| {
        let table: toml::Table = rule.parse().unwrap();
        crate::caches::find("turbo")
            .unwrap()
            .configure(&table)
            .err()
            .unwrap()
            .to_string()
    };
    assert_eq!(
        error("bits = 2.3\nvalues = \"mse\""),
        "`bits` of method `turbo`: expected a multiple of 0.25, found `2.3`"
    );
    assert_eq!(
        error("value_bits = 2.5"),
        "`value_bits` of method `turbo`: expected a whole number of at least 2 beside `values = \"uniform\"`, found `2.5`"
    );
    let plan = quantizer("turbo", "").plan(shape(1, 52)).unwrap();
    assert!(plan.randomised);
    let error = fitted("turbo", "", shape(1, 52), &normal(52, 1))
        .err()
        .unwrap();
    assert_eq!(
        error.to_string(),
        "`turbo`: found no Hadamard matrix of order 52 for the heads of the keys"
    );
    assert_eq!(error.hint().unwrap(), "set `rotation = \"qr\"`");
    fitted("turbo", "rotation = \"qr\"", shape(1, 52), &normal(52, 1)).unwrap();
}
