//! The values of every form are those of the program it comes from.

use super::{case, cases, folder};
use quantizers::formats::ArtifactReader;
use serde_json::Value;

#[test]
fn every_form_decodes_to_the_values_of_its_program() {
    let cases = cases();
    assert_eq!(cases.len(), 23);
    for case in cases {
        let dir = folder(&case.stored, &case.config);
        let reader = ArtifactReader::open(dir.path()).unwrap();
        let name = &case.name;
        if name == "plain_f64" {
            // Read as it is stored, like other floats.
            for (tensor, expected) in &case.expected {
                expected.check(&reader.folder().floats(tensor).unwrap(), name);
            }
            continue;
        }
        assert!(reader.decoded().keys().eq(case.expected.keys()), "{name}");
        for (tensor, expected) in &case.expected {
            let decoded = &reader.decoded()[tensor];
            assert_eq!(decoded.shape, expected.shape, "{name}");
            assert!(decoded.quantized, "{name}");
            expected.check(&reader.values(tensor).unwrap(), name);
        }
        // What is stored of a decoded tensor is no tensor of the model, everything else is.
        let names = reader.names();
        for stored in case.stored.keys() {
            let is_listed = names.contains(stored);
            let is_own = reader.is_part(stored) && !reader.decoded().contains_key(stored);
            assert_eq!(is_listed, !is_own, "{name}: {stored}");
        }
    }
}

#[test]
fn what_is_stored_is_told_in_words() {
    let told = |name: &str| {
        let case = case(name);
        let dir = folder(&case.stored, &case.config);
        let reader = ArtifactReader::open(dir.path()).unwrap();
        let decoded = reader.decoded().values().next().unwrap();
        decoded.stored.clone()
    };
    for (name, expected) in [
        ("gptq_v1_3_order", "gptq 3 bit, group 32"),
        ("awq", "awq 4 bit, group 32"),
        ("bitsandbytes_nf4_nested", "bitsandbytes nf4, group 64"),
        ("bitsandbytes_int8", "bitsandbytes int8, channel"),
        ("compressed_nvfp4", "nvfp4, group 16"),
        ("compressed_mxfp4", "mxfp4, group 32"),
        ("compressed_fp8_block", "fp8 e4m3, block 16x32"),
        ("fp8_one", "fp8 e4m3, one scale"),
        ("plain_e5m2", "fp8 e5m2"),
        ("mxfp4", "mxfp4, group 32"),
    ] {
        assert_eq!(told(name), expected);
    }
}

#[test]
fn a_configuration_in_a_file_of_its_own_is_found() {
    for (name, file) in [
        ("gptq_v1_4_order", "quantize_config.json"),
        ("awq", "quant_config.json"),
    ] {
        let case = case(name);
        let dir = folder(&case.stored, &Value::Null);
        let mut config = case.config.clone();
        config.as_object_mut().unwrap().remove("quant_method");
        fs_err::write(dir.path().join(file), config.to_string()).unwrap();
        let reader = ArtifactReader::open(dir.path()).unwrap();
        assert_eq!(reader.decoded().len(), 1, "{name}");
    }
}
