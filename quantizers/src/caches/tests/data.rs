//! Made keys and values, and codecs fitted to them.

use crate::MatrixRef;
use crate::caches::random::{Gaussian, Purpose};
use crate::caches::{
    CACHES, CacheCodec, CacheError, CachePlan, CacheQuantizer, CacheSamples, CacheShape, Part, find,
};

/// A shape with heads of `dim`.
pub(in crate::caches) fn shape(kv_heads: usize, dim: usize) -> CacheShape {
    CacheShape {
        layer: 20,
        layers: 32,
        kv_heads,
        key_dim: dim,
        value_dim: dim,
    }
}

#[expect(clippy::cast_possible_truncation, reason = "made values")]
pub(in crate::caches) fn normal(count: usize, seed: u64) -> Vec<f32> {
    let mut gaussian = Gaussian::new(seed, Purpose::Rotation);
    (0..count).map(|_| gaussian.next() as f32).collect()
}

pub(in crate::caches) fn quantizer(name: &str, rule: &str) -> Box<dyn CacheQuantizer> {
    let cache = find(name).unwrap();
    cache.configure(&rule.parse().unwrap()).unwrap()
}

/// A codec of `name` with the parameters `rule`, fitted to the same tokens as keys and as values.
pub(in crate::caches) fn fitted(
    name: &str,
    rule: &str,
    shape: CacheShape,
    data: &[f32],
) -> Result<(CachePlan, Box<dyn CacheCodec>), CacheError> {
    let quantizer = quantizer(name, rule);
    let plan = quantizer.plan(shape)?;
    let width = shape.channels(Part::Keys);
    let tokens = [MatrixRef::new(data, data.len() / width, width).unwrap()];
    let samples = CacheSamples {
        keys: &tokens,
        values: &tokens,
        ..CacheSamples::default()
    };
    Ok((plan, quantizer.fit(shape, &samples)?))
}

pub(in crate::caches) fn round_trip(
    codec: &dyn CacheCodec,
    part: Part,
    data: &[f32],
    width: usize,
) -> Vec<f32> {
    let tokens = MatrixRef::new(data, data.len() / width, width).unwrap();
    let mut back = vec![f32::NAN; data.len()];
    codec.decode(part, &codec.encode(part, tokens), &mut back);
    back
}

/// `sum (a - b)^2 / sum a^2`.
pub(in crate::caches) fn relative_error(a: &[f32], b: &[f32]) -> f64 {
    let square = |x: f32| f64::from(x).powi(2);
    let error: f64 = a.iter().zip(b).map(|(a, b)| square(a - b)).sum();
    error / a.iter().map(|a| square(*a)).sum::<f64>()
}

/// Every entry with its defaults, and others with the parameters that lead other ways.
pub(in crate::caches) fn configurations() -> Vec<(&'static str, &'static str)> {
    // One has to be told what it chooses between.
    let with_defaults = CACHES.iter().filter(|cache| cache.name() != "mixed");
    let mut all: Vec<(&str, &str)> = with_defaults.map(|cache| (cache.name(), "")).collect();
    all.extend([
        (
            "mixed",
            "choices = [{ method = \"kivi\", bits = 4, layers = [20] }, { method = \"fp8\", layers = [3] }]",
        ),
        ("none", "type = \"f16\""),
        ("none", "type = \"bf16\""),
        ("fp8", "granularity = \"head\""),
        ("int8", "granularity = \"head\""),
        ("int4-token-head", "symmetric = false"),
        ("q8_0", "rotation = \"off\""),
        ("q4_0", "rotation = \"off\""),
        ("kivi", "bits = 3"),
        ("kivi", "bits = 4\ngroup = 16\nresidual = 64"),
        ("kvquant", "bits = 3"),
        ("kvquant", "bits = 2"),
        ("kvquant", "keys = \"token\"\nhook = \"after\"\nbits = 3"),
        ("kvquant", "datatype = \"uniform\"\noutlier_fraction = 0"),
        (
            "kvquant",
            "datatype = \"uniform\"\nkeys = \"token\"\noutlier_fraction = 0\nhook = \"after\"",
        ),
        ("kvquant", "cap_outliers = true"),
        ("qjl", "outlier_count = 0\ninitial_layers = 32"),
        ("qjl", "sketch = \"gaussian\"\nrows = 512"),
        ("polar", "rotation = \"hadamard\""),
        (
            "turbo",
            "bits = 3\nvalues = \"mse\"\nnorm_correction = false",
        ),
        (
            "turbo",
            "bits = 3\nkeys = \"prod\"\nvalues = \"prod\"\nrotation = \"qr\"",
        ),
        ("turbo", "bits = 2.5\nvalues = \"mse\"\ncentre_keys = true"),
        ("turbo", "keys = \"fp8\"\nvalue_bits = 4"),
        (
            "turbo",
            "key_bits = 1\nkeys = \"prod\"\nvalues = \"mse\"\nvalue_bits = 1",
        ),
    ]);
    all
}
