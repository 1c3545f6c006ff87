//! All golden files of the formats, as their libraries decode them.

use super::{Expected, folder};
use quantizers::formats::{ArtifactReader, TensorFolder};
use serde_json::{Value, json};
use std::path::PathBuf;

fn golden() -> PathBuf {
    PathBuf::from(std::env::var("QUENCH_ASSETS").unwrap()).join("../golden/formats")
}

fn stored(folder: &TensorFolder, prefix: &str, skip: &str) -> super::Tensors {
    let names = folder
        .names_from(prefix)
        .filter(|name| !name.ends_with(skip));
    names
        .map(|name| {
            let info = folder.info(name).unwrap();
            let bytes = folder.bytes(name).unwrap().to_vec();
            (
                format!("l.{}", &name[prefix.len()..]),
                (info.dtype, info.shape.clone(), bytes),
            )
        })
        .collect()
}

#[test]
#[ignore = "needs QUENCH_ASSETS"]
fn every_case_of_compressed_tensors_decodes_to_what_the_library_says() {
    let index = fs_err::read(golden().join("index.json")).unwrap();
    let index: Value = serde_json::from_slice(&index).unwrap();
    let mut compared = 0;
    for (name, entry) in index.as_object().unwrap() {
        let tensors = TensorFolder::open(golden().join(format!("{name}.safetensors"))).unwrap();
        let config = json!({ "quant_method": "compressed-tensors", "config_groups": { "g": entry["scheme"] } });
        let dir = folder(&stored(&tensors, "out.", "dequantized"), &config);
        let reader = ArtifactReader::open(dir.path()).unwrap();
        let values = match reader.layers().get("l") {
            Some(_) => reader.layer("l").unwrap().dequantize(),
            None => reader.values("l.weight").unwrap(),
        };
        let info = tensors.info("out.dequantized").unwrap();
        let expected = Expected {
            shape: info.shape.clone(),
            dtype: info.dtype,
            values: tensors.floats("out.dequantized").unwrap().into_owned(),
        };
        expected.check(&values, name);
        compared += 1;
    }
    assert_eq!(compared, 36);
}

#[test]
#[ignore = "needs QUENCH_ASSETS"]
fn gptq_and_awq_files_decode_to_their_reference() {
    let tensors = TensorFolder::open(golden().join("gptq-awq.safetensors")).unwrap();
    let expected = tensors.floats("ref.dequantized").unwrap();
    for (prefix, config) in [
        (
            "gptq_v1.",
            json!({ "quant_method": "gptq", "bits": 4, "group_size": 32, "checkpoint_format": "gptq" }),
        ),
        (
            "gptq_v2.",
            json!({ "quant_method": "gptq", "bits": 4, "group_size": 32, "checkpoint_format": "gptq_v2" }),
        ),
        (
            "awq_gemm.",
            json!({ "quant_method": "awq", "bits": 4, "group_size": 32, "version": "gemm" }),
        ),
    ] {
        let dir = folder(&stored(&tensors, prefix, "dequantized"), &config);
        let reader = ArtifactReader::open(dir.path()).unwrap();
        assert_eq!(reader.values("l.weight").unwrap(), *expected, "{prefix}");
    }
}
