//! Inner products of whole keys, outlier channels, and parameters.

use crate::caches::tests::data::{fitted, normal, quantizer, round_trip, shape};
use crate::caches::{CacheShape, Part, find};

const DIM: usize = 128;

/// Root mean square of the error of inner products with normal queries, relative to that of `|k| |q| / sqrt(dim)`.
fn spread(rule: &str, keys: &[f32]) -> f64 {
    let queries = normal(200 * DIM, 50);
    let (mut error, mut scale) = (0.0, 0.0);
    let square = |values: &[f32]| values.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>();
    for seed in 0..8 {
        let rule = format!("{rule}\nseed = {seed}");
        let (_, codec) = fitted("qjl", &rule, shape(1, DIM), keys).unwrap();
        let back = round_trip(codec.as_ref(), Part::Keys, keys, DIM);
        for (key, back) in keys.chunks(DIM).zip(back.chunks(DIM)) {
            for query in queries.chunks(DIM) {
                let difference = key.iter().zip(back).zip(query);
                let difference: f64 = difference.map(|((k, b), q)| f64::from((b - k) * q)).sum();
                error += difference * difference;
                scale += square(key) * square(query) / DIM as f64;
            }
        }
    }
    (error / scale).sqrt()
}

// Independent rows: the variance of an estimate is (pi / 2 |q|^2 |k|^2 - <q, k>^2) / rows, and <q, k>^2 is
// |q|^2 |k|^2 / dim on average.
#[test]
fn the_spread_of_inner_products_is_that_of_the_formula() {
    let keys = normal(64 * DIM, 51);
    for rows in [128, 256, 512] {
        let rule = format!("rows = {rows}\noutlier_count = 0\nsketch = \"gaussian\"");
        let found = spread(&rule, &keys);
        let dim = DIM as f64;
        let expected = ((std::f64::consts::FRAC_PI_2 - 1.0 / dim) * dim / f64::from(rows)).sqrt();
        assert!(
            (found / expected - 1.0).abs() < 0.03,
            "{rows}: {found} {expected}"
        );
        let orthogonal = spread(&format!("rows = {rows}\noutlier_count = 0"), &keys);
        assert!(orthogonal < 0.9 * found, "{rows}: {orthogonal} {found}");
    }
}

#[test]
fn large_channels_are_projected_apart() {
    let mut keys = normal(64 * DIM, 52);
    for key in keys.chunks_mut(DIM) {
        for channel in [3, 60, 61, 127] {
            key[channel] *= 10.0;
        }
    }
    let (apart, together) = (spread("", &keys), spread("outlier_count = 0", &keys));
    assert!(apart < 0.9 * together, "{apart} {together}");
}

#[test]
fn first_layers_have_more_projections() {
    let quantizer = quantizer("qjl", "");
    let bits = |layer| {
        let shape = CacheShape {
            layer,
            ..shape(8, DIM)
        };
        quantizer.plan(shape).unwrap().key_bits
    };
    assert!((bits(14) - 5.265_625).abs() < 1e-12);
    assert!((bits(15) - 4.265_625).abs() < 1e-12);
}

#[test]
fn parameters_that_do_not_go_together_are_refused() {
    let error = |rule: &str| {
        let table: toml::Table = rule.parse().unwrap();
        find("qjl")
            .unwrap()
            .configure(&table)
            .err()
            .unwrap()
            .to_string()
    };
    assert_eq!(
        error("rows = 100"),
        "`rows` of method `qjl`: expected a multiple of 8, found `100`"
    );
    assert_eq!(
        error("rows = 64\noutlier_rows = 128"),
        "`outlier_rows` of method `qjl`: expected at most 64 rows, found `128`"
    );
    assert_eq!(
        error("buffer = 100"),
        "`buffer` of method `qjl`: expected a multiple of the group 32, found `100`"
    );
    let error = quantizer("qjl", "").plan(shape(1, 512)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`qjl`: expected a head dimension of keys from 9 to 256, found 512"
    );
}
