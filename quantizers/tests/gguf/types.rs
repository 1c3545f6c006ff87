//! Values of every type, and the ways to name a file.

use super::fixtures;
use quantizers::formats::{ArtifactReader, Dtype, FormatError, TensorFolder};
use std::collections::BTreeSet;

#[test]
fn every_type_decodes_to_the_values_of_the_package() {
    let reader = ArtifactReader::open(fixtures().join("types.gguf")).unwrap();
    let expected = TensorFolder::open(fixtures().join("types.safetensors")).unwrap();
    assert!(
        reader
            .decoded()
            .keys()
            .map(String::as_str)
            .eq(expected.names())
    );
    let mut kinds = BTreeSet::new();
    for (name, decoded) in reader.decoded() {
        let kind = decoded.stored.as_str();
        kinds.insert(kind);
        assert_eq!(
            decoded.quantized,
            !["f32", "f16", "bf16"].contains(&kind),
            "{kind}"
        );
        assert_eq!(decoded.shape, expected.info(name).unwrap().shape, "{name}");
        let (values, expected) = (reader.values(name).unwrap(), expected.floats(name).unwrap());
        let most = expected
            .iter()
            .fold(0.0_f32, |most, value| most.max(value.abs()));
        for (at, (value, expected)) in values.iter().zip(expected.iter()).enumerate() {
            // A product of two scales may be rounded in another order.
            assert!(
                (value - expected).abs() <= 2e-7 * most,
                "{kind} at {at}: {value} for {expected}"
            );
        }
    }
    assert_eq!(kinds.len(), 16, "{kinds:?}");
    let told = reader.quantized_forms().unwrap();
    assert!(told.contains("q4_k (1 tensor), "), "{told}");
}

#[test]
fn kept_tensors_have_the_declared_type_and_whole_ones_their_own() {
    let reader = ArtifactReader::open(fixtures().join("types.gguf")).unwrap();
    assert_eq!(reader.quant_method(), Some("gguf"));
    assert_eq!(reader.config()["torch_dtype"], "bfloat16");
    assert!(!reader.original_config().contains_key("quantization_config"));
    let originals = reader.originals();
    let dtype = |name: &str| originals[name].dtype;
    assert_eq!(dtype("model.layers.0.self_attn.q_proj.weight"), Dtype::F32);
    assert_eq!(dtype("model.layers.0.self_attn.k_proj.weight"), Dtype::F16);
    assert_eq!(dtype("model.layers.2.self_attn.q_proj.weight"), Dtype::BF16);
    assert_eq!(dtype("model.norm.weight"), Dtype::F32);
}

#[test]
fn a_folder_with_one_file_is_that_file_and_with_two_it_is_none() {
    let dir = tempfile::tempdir().unwrap();
    fs_err::copy(fixtures().join("types.gguf"), dir.path().join("a.gguf")).unwrap();
    assert_eq!(
        ArtifactReader::open(dir.path()).unwrap().decoded().len(),
        18
    );
    fs_err::copy(fixtures().join("types.gguf"), dir.path().join("b.gguf")).unwrap();
    let error = TensorFolder::open(dir.path()).unwrap_err();
    assert!(matches!(error, FormatError::NoWeights { .. }));
    assert!(
        error.hint().unwrap().contains("name one of them"),
        "{:?}",
        error.hint()
    );
}
