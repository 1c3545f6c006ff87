//! Bytes per token of whole models.

use super::data::quantizer;
use crate::caches::CacheShape;

/// Bytes per token of all layers of a model with heads of 128.
fn bytes_per_token(name: &str, rule: &str, kv_heads: usize) -> f64 {
    let quantizer = quantizer(name, rule);
    let of_layer = |layer| {
        let shape = CacheShape {
            layer,
            layers: 32,
            kv_heads,
            key_dim: 128,
            value_dim: 128,
        };
        quantizer.plan(shape).unwrap().bytes_per_token(shape)
    };
    (0..32).map(of_layer).sum()
}

// Llama-3.1-8B (8 heads of keys and values) and LLaMA-7B (32).
#[test]
fn bytes_per_token_are_those_of_the_formulas() {
    let table = [
        ("none", "type = \"f16\"", 131_072.0, 524_288.0),
        ("fp8", "", 65_536.0, 262_144.0),
        ("int8", "granularity = \"head\"", 65_536.0, 262_144.0),
        ("int8-token-head", "", 67_584.0, 270_336.0),
        ("q8_0", "", 69_632.0, 278_528.0),
        ("q4_0", "", 36_864.0, 147_456.0),
        // The presets of vLLM: 196, 134, 118 and 102 bytes a head.
        (
            "turbo",
            "keys = \"fp8\"\nvalue_bits = 4",
            50_176.0,
            200_704.0,
        ),
        ("turbo", "bits = 4", 34_304.0, 137_216.0),
        ("turbo", "key_bits = 3\nvalue_bits = 4", 30_208.0, 120_832.0),
        ("turbo", "bits = 3", 26_112.0, 104_448.0),
        // The paper's, with two lengths for each head.
        ("turbo", "bits = 3.5\nvalues = \"mse\"", 30_720.0, 122_880.0),
        ("turbo", "bits = 2.5\nvalues = \"mse\"", 22_528.0, 90_112.0),
        ("polar", "", 31_744.0, 126_976.0),
        ("kivi", "bits = 4", 40_960.0, 163_840.0),
        ("kivi", "", 24_576.0, 98_304.0),
        ("qjl", "initial_layers = 0", 29_760.0, 119_040.0),
        ("qjl", "initial_layers = 32", 33_856.0, 135_424.0),
        // Keys: codes, a pointer, and 1 % of 32 bits. Values: 6 outliers on each side of 1024 channels, and 21 of
        // 4096; the paper counts 1 % (35773 and 141942).
        ("kvquant", "", 35_998.72, 142_074.88),
    ];
    for (name, rule, few, many) in table {
        let found = [8, 32].map(|kv_heads| bytes_per_token(name, rule, kv_heads));
        assert!((found[0] - few).abs() < 1e-6, "{name} {rule}: {found:?}");
        assert!((found[1] - many).abs() < 1e-6, "{name} {rule}: {found:?}");
    }
}
