//! Schemes that configurations name instead of spelling out: `"config_groups": {"W4A16": [..]}`.
//!
//! Of schemes of small floats only the width and the tiles are told: the tensors tell the rest.

use super::arguments::Arguments;

/// The weights of preset `name`, or nothing for presets that are unknown.
pub(super) fn weights(name: &str) -> Option<(Arguments, Option<Arguments>)> {
    let name = name.to_ascii_uppercase();
    let group = |num_bits, symmetric| Arguments {
        symmetric,
        group_size: Some(128),
        strategy: Some("group".into()),
        ..Arguments::int(num_bits)
    };
    let tokens = |num_bits| Arguments {
        strategy: Some("token".into()),
        dynamic: true.into(),
        ..Arguments::int(num_bits)
    };
    match name.as_str() {
        "W4A16_ASYM" => return Some((group(4, false), None)),
        // Eight by eight is per channel, unlike its neighbours.
        "W8A8" | "INT8" => {
            let weights = Arguments {
                strategy: Some("channel".into()),
                ..Arguments::int(8)
            };
            return Some((weights, Some(tokens(8))));
        }
        "W4AFP8" => {
            let inputs = Arguments {
                kind: "float".into(),
                ..tokens(8)
            };
            return Some((group(4, true), Some(inputs)));
        }
        _ => {}
    }
    if let Some(float) = float(&name) {
        return Some(float);
    }
    let (weight_bits, input_bits) = name.strip_prefix('W')?.split_once('A')?;
    let (weight_bits, input_bits): (u8, u8) = (weight_bits.parse().ok()?, input_bits.parse().ok()?);
    let known = (2..=8).contains(&weight_bits)
        && [4, 8, 16].contains(&input_bits)
        && weight_bits <= input_bits;
    let inputs = (input_bits < 16).then(|| tokens(input_bits));
    known.then(|| (group(weight_bits, true), inputs))
}

/// The weights and inputs of a preset of small floats.
fn float(name: &str) -> Option<(Arguments, Option<Arguments>)> {
    let float = |num_bits| Arguments {
        kind: "float".into(),
        ..Arguments::int(num_bits)
    };
    let (name, weight_only) = match name.strip_suffix("A16") {
        Some(name) => (name, true),
        None => (name, false),
    };
    let weights = match name {
        "FP8" | "FP8_DYNAMIC" | "MXFP8" => float(8),
        "FP8_BLOCK" => Arguments {
            block_structure: serde_json::json!([128, 128]),
            ..float(8)
        },
        "NVFP4" | "MXFP4" => float(4),
        _ => return None,
    };
    let inputs = (!weight_only).then(|| float(weights.num_bits));
    Some((weights, inputs))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integer_presets_are_groups_of_128_and_w8a8_is_per_channel() {
        let (w3, inputs) = weights("w3a16").unwrap();
        assert_eq!(
            (w3.num_bits, w3.group_size, w3.symmetric),
            (3, Some(128), true)
        );
        assert!(inputs.is_none());
        let (w8, inputs) = weights("W8A8").unwrap();
        assert_eq!((w8.num_bits, w8.strategy.as_deref()), (8, Some("channel")));
        assert_eq!(inputs.unwrap().num_bits, 8);
        assert!(!weights("W4A16_ASYM").unwrap().0.symmetric);
        for (name, bits) in [("NVFP4", 4), ("fp8_dynamic", 8), ("MXFP4A16", 4)] {
            let (floats, inputs) = weights(name).unwrap();
            assert!(floats.is_float(), "{name}");
            assert_eq!(
                (floats.num_bits, inputs.is_none()),
                (bits, name.ends_with("A16"))
            );
        }
        for unknown in ["NVFP8", "FP8_STATIC", "W9A16", "W8A4", "W1A16", "WA", ""] {
            assert!(weights(unknown).is_none(), "{unknown}");
        }
    }
}
