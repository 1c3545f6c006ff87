//! Files that contradict themselves are refused before anything is allocated for them.

use super::{Case, case, cases, folder};
use quantizers::formats::{ArtifactReader, Dtype, FormatError};
use serde_json::json;

/// The error of opening or decoding, with its causes.
fn refusal(case: &Case) -> String {
    let dir = folder(&case.stored, &case.config);
    let decoded = ArtifactReader::open(dir.path()).and_then(|reader| {
        let mut names = reader.decoded().keys();
        names.try_for_each(|name| reader.values(name).map(drop))
    });
    chain(&decoded.unwrap_err())
}

fn chain(error: &FormatError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[test]
fn every_form_needs_each_of_its_parts() {
    for name in [
        "gptq_v1_4_order",
        "awq",
        "bitsandbytes_nf4",
        "bitsandbytes_nf4_nested",
        "fp8_tiles",
        "compressed_mxfp4",
    ] {
        let whole = case(name);
        let parts: Vec<String> = {
            let dir = folder(&whole.stored, &whole.config);
            let reader = ArtifactReader::open(dir.path()).unwrap();
            reader
                .decoded()
                .values()
                .flat_map(|tensor| tensor.parts.clone())
                .collect()
        };
        for part in parts {
            // Without its list of groups a layer is one whose groups are neighbours; without the scales of its
            // scales these are of another type; without any of what names a layer there is none.
            let names_the_layer = ["qweight", "weight_packed", "weight_scale"];
            let optional = part.ends_with("g_idx")
                || part.contains("quant_state")
                || (name.starts_with("fp8") && part.ends_with("weight"))
                || names_the_layer
                    .iter()
                    .any(|end| part.ends_with(end) && !name.starts_with("comp"))
                || (name.starts_with("comp") && part.ends_with("weight_packed"));
            if optional {
                continue;
            }
            let mut damaged = case(name);
            damaged.stored.remove(&part);
            let text = refusal(&damaged);
            assert!(text.contains("tensor `"), "{name} without {part}: {text}");
        }
    }
}

#[test]
fn shapes_that_disagree_are_refused_with_the_tensor() {
    for (name, part, shape) in [
        ("gptq_v1_4_order", "l.scales", vec![4, 16]),
        ("gptq_v1_4_order", "l.qzeros", vec![8, 1]),
        ("gptq_v1_4_order", "l.g_idx", vec![8, 8]),
        ("awq", "l.qzeros", vec![8, 1]),
        ("awq", "l.scales", vec![64]),
        ("bitsandbytes_nf4", "l.weight.absmax", vec![2, 12]),
        ("bitsandbytes_nf4", "l.weight.quant_map", vec![4, 4]),
        ("bitsandbytes_int8", "l.weight", vec![1536]),
        ("fp8_tiles", "l.weight_scale_inv", vec![2, 3]),
        ("mxfp4", "e.gate_up_proj_scales", vec![2, 2, 6]),
    ] {
        let mut case = case(name);
        let (_, found, _) = case.stored.get_mut(part).unwrap();
        assert_eq!(
            found.iter().product::<usize>(),
            shape.iter().product::<usize>(),
            "{name} {part}"
        );
        *found = shape;
        let text = refusal(&case);
        assert!(text.contains(part), "{name} {part}: {text}");
    }
}

#[test]
fn hostile_numbers_in_a_layer_are_refused() {
    let mut case = case("gptq_v1_4_order");
    case.stored.get_mut("l.g_idx").unwrap().2[..4].copy_from_slice(&[255; 4]);
    let text = refusal(&case);
    assert!(text.contains("expected groups below 2"), "{text}");

    for state in [
        json!({ "shape": [1_u64 << 40, 1_u64 << 40], "blocksize": 64 }),
        json!({ "shape": [12, 128], "blocksize": 0 }),
        json!({ "shape": [u64::MAX, 2], "blocksize": 64 }),
        json!({ "shape": "many", "blocksize": 64 }),
        json!([]),
    ] {
        let mut case = super::case("bitsandbytes_nf4");
        let name = "l.weight.quant_state.bitsandbytes__nf4";
        let text = state.to_string().into_bytes();
        case.stored
            .insert(name.to_owned(), (Dtype::U8, vec![text.len()], text));
        let text = refusal(&case);
        assert!(text.contains(name), "{state}: {text}");
    }
}

#[test]
fn configurations_that_mean_something_else_are_refused() {
    for (name, key, value, expected) in [
        (
            "gptq_v1_4_order",
            "checkpoint_format",
            json!("marlin"),
            "`gptq` or `gptq_v2`",
        ),
        ("gptq_v1_4_order", "bits", json!("four"), "a whole number"),
        ("awq", "version", json!("gemv"), "`gemm`"),
        ("awq", "bits", json!(3), "4"),
        (
            "fp8_tiles",
            "weight_block_size",
            json!([1, 2, 3]),
            "two sides",
        ),
        ("mxfp4", "quant_method", json!("aqlm"), "`gptq` or `awq`"),
    ] {
        let mut case = case(name);
        case.config[key] = value;
        let text = refusal(&case);
        assert!(text.contains(expected), "{name} {key}: {text}");
    }
}

#[test]
fn small_floats_beside_scales_that_nothing_explains_are_refused() {
    let mut case = case("fp8_tiles");
    case.config = json!(null);
    let text = refusal(&case);
    assert!(text.contains("what `l.weight_scale_inv` is"), "{text}");
}

#[test]
fn truncated_parts_never_panic() {
    for whole in cases() {
        for part in whole.stored.keys() {
            let mut damaged = case(&whole.name);
            let (_, shape, bytes) = damaged.stored.get_mut(part).unwrap();
            if shape.is_empty() || shape[0] == 0 {
                continue;
            }
            let row = bytes.len() / shape[0];
            shape[0] -= 1;
            bytes.truncate(row * shape[0]);
            let dir = folder(&damaged.stored, &damaged.config);
            // Either is fine: some parts are as long as they like.
            if let Ok(reader) = ArtifactReader::open(dir.path()) {
                for name in reader.decoded().keys() {
                    drop(reader.values(name));
                }
            }
        }
    }
}
