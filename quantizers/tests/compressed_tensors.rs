//! Our arithmetic, packing and reading against files of the compressed-tensors library itself
//! (`fixtures/make.py`).
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot read its fixtures has to stop"
)]

use quantizers::formats::{self, ArtifactReader, Dtype, Entry, TensorFolder};
use quantizers::{Encoding, FloatType, LayerStats, METHODS, MatrixRef, QuantizedTensor};
use safetensors::SafeTensors;
use safetensors::tensor::{TensorView, serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// A weight, how the library quantized it, and what it wrote.
struct Case {
    name: String,
    scheme: Value,
    weight: Vec<f32>,
    float_type: FloatType,
    /// Suffix to type, shape, bytes.
    stored: BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>,
    dequantized: Option<Vec<f32>>,
}

impl Case {
    fn symmetric(&self) -> bool {
        self.scheme["weights"]["symmetric"] == true
    }

    /// The same scheme as a recipe rule for `rtn`.
    fn quantize(&self) -> (QuantizedTensor, quantizers::Scheme) {
        let weights = &self.scheme["weights"];
        let mut rule = toml::Table::new();
        rule.insert("bits".into(), weights["num_bits"].as_i64().unwrap().into());
        rule.insert("symmetric".into(), self.symmetric().into());
        match weights["strategy"].as_str().unwrap() {
            "group" => rule.insert(
                "group_size".into(),
                weights["group_size"].as_i64().unwrap().into(),
            ),
            other => rule.insert("granularity".into(), other.into()),
        };
        let rtn = METHODS
            .iter()
            .find(|method| method.name() == "rtn")
            .unwrap();
        let quantizer = rtn.configure(&rule).unwrap();
        let weight = MatrixRef::new(&self.weight, 64, 128).unwrap();
        let plan = quantizer.plan(64, 128, self.float_type).unwrap();
        let mut scheme = plan.scheme.clone();
        if self.scheme["format"] == "int-quantized" {
            let inputs = &self.scheme["input_activations"];
            scheme.inputs = Some(quantizers::tensor::InputGrid {
                bits: 8,
                symmetric: inputs["symmetric"] == true,
                dynamic: inputs["dynamic"] == true,
            });
        }
        let quantized = quantizer.quantize(weight, &plan, &LayerStats::default());
        (quantized.unwrap().tensor, scheme)
    }
}

fn cases() -> Vec<Case> {
    let folder = TensorFolder::open(fixtures().join("compressed-tensors.safetensors")).unwrap();
    let file = fs_err::read(folder.origin()).unwrap();
    let (_, metadata) = SafeTensors::read_metadata(&file).unwrap();
    let schemes = metadata.metadata().clone().unwrap();
    let mut cases: Vec<Case> = schemes
        .iter()
        .filter(|(name, _)| *name != "format")
        .map(|(name, scheme)| {
            let (_, float) = name.rsplit_once("__").unwrap();
            let prefix = format!("{name}/");
            let stored = folder.names_from(&prefix).map(|tensor| {
                let info = folder.info(tensor).unwrap();
                let bytes = folder.bytes(tensor).unwrap().to_vec();
                (
                    tensor[prefix.len()..].to_owned(),
                    (info.dtype, info.shape.clone(), bytes),
                )
            });
            let mut stored: BTreeMap<_, _> = stored.collect();
            stored.remove("dequantized");
            let dequantized = folder.floats(&format!("{name}/dequantized")).ok();
            Case {
                name: name.clone(),
                scheme: serde_json::from_str(scheme).unwrap(),
                weight: folder
                    .floats(&format!("weight__{float}"))
                    .unwrap()
                    .into_owned(),
                float_type: if float == "f32" {
                    FloatType::F32
                } else {
                    FloatType::Bf16
                },
                stored,
                dequantized: dequantized.map(std::borrow::Cow::into_owned),
            }
        })
        .collect();
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    assert_eq!(cases.len(), 22);
    cases
}

/// A folder with one layer `l` as the library would have written it.
fn artifact(case: &Case) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let views = case.stored.iter().map(|(suffix, (dtype, shape, bytes))| {
        (
            format!("l.{suffix}"),
            TensorView::new(*dtype, shape.clone(), bytes).unwrap(),
        )
    });
    fs_err::write(
        dir.path().join("model.safetensors"),
        serialize(views, None).unwrap(),
    )
    .unwrap();
    let config = json!({ "quantization_config": {
        "quant_method": "compressed-tensors",
        "config_groups": { "group_0": case.scheme },
    }});
    fs_err::write(dir.path().join("config.json"), config.to_string()).unwrap();
    dir
}

fn by_suffix(entries: Vec<Entry>) -> BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)> {
    let parts = |entry: Entry| {
        (
            entry.suffix.to_owned(),
            (entry.dtype, entry.shape, entry.bytes),
        )
    };
    entries.into_iter().map(parts).collect()
}

#[test]
fn symmetric_layers_are_the_bytes_of_the_library() {
    let format = formats::find("compressed-tensors").unwrap();
    let mut compared = 0;
    for case in cases().iter().filter(|case| case.symmetric()) {
        let (tensor, scheme) = case.quantize();
        // A fixed scale for the inputs would have to be stored, and nothing here measures one.
        let fixed = scheme.inputs.is_some_and(|inputs| !inputs.dynamic);
        assert_eq!(
            format.accepts(&scheme, 64, 128).is_err(),
            fixed,
            "{}",
            case.name
        );
        let written = by_suffix(format.encode(&tensor, &scheme).unwrap());
        assert!(written == case.stored, "{}", case.name);
        compared += 1;
    }
    assert_eq!(compared, 16);
}

#[test]
fn asymmetric_layers_are_the_bytes_of_the_library_too() {
    // Only as part of our own format: transformers does not load zero points.
    let format = formats::find("quench").unwrap();
    for case in cases().iter().filter(|case| !case.symmetric()) {
        let (tensor, scheme) = case.quantize();
        let written = by_suffix(format.encode(&tensor, &scheme).unwrap());
        assert!(written == case.stored, "{}", case.name);
        assert!(
            formats::find("compressed-tensors")
                .unwrap()
                .accepts(&scheme, 64, 128)
                .is_err()
        );
    }
}

#[test]
fn files_of_the_library_decode_to_what_it_decodes_itself() {
    for case in cases() {
        let dir = artifact(&case);
        let reader = ArtifactReader::open(dir.path()).unwrap();
        assert_eq!(reader.names(), ["l.weight"], "{}", case.name);
        let decoded = reader.layer("l").unwrap();
        assert!(decoded == case.quantize().0, "{}", case.name);
        if let Some(dequantized) = case.dequantized {
            // The library multiplies in the type of the scales.
            let rounded = decoded
                .dequantize()
                .into_iter()
                .map(|w| case.float_type.round(w));
            assert!(rounded.eq(dequantized), "{}", case.name);
        }
    }
}

#[test]
fn models_of_the_library_open_with_patterns_classes_and_mixed_formats() {
    for (folder, symmetric) in [("tiny-llama-sym", true), ("tiny-llama-asym", false)] {
        let reader = ArtifactReader::open(fixtures().join(folder)).unwrap();
        assert_eq!(reader.quant_method(), Some("compressed-tensors"));
        assert_eq!(reader.layers().len(), 14);
        let query = &reader.layers()["model.layers.1.self_attn.q_proj"];
        assert_eq!((query.rows, query.cols, query.scheme.bits), (64, 64, 4));
        assert_eq!(query.scheme.symmetric, symmetric);
        let down = &reader.layers()["model.layers.0.mlp.down_proj"];
        assert_eq!((down.rows, down.cols, down.scheme.bits), (64, 128, 8));
        assert!(down.scheme.inputs.is_some_and(|inputs| inputs.dynamic));
        assert!(
            reader
                .names()
                .contains(&"model.embed_tokens.weight".to_owned())
        );
        assert!(
            !reader
                .names()
                .iter()
                .any(|name| name.contains("packed") || name.contains("scale"))
        );

        // Encoding what was decoded gives the stored bytes.
        let name = if symmetric {
            "compressed-tensors"
        } else {
            "quench"
        };
        let format = formats::find(name).unwrap();
        for (layer, stored) in reader.layers() {
            let tensor = reader.layer(layer).unwrap();
            assert!(matches!(tensor.encoding, Encoding::Uniform(_)));
            if stored.scheme.inputs.is_some() && !symmetric {
                continue;
            }
            for entry in format.encode(&tensor, &stored.scheme).unwrap() {
                let (dtype, shape, bytes) =
                    reader.raw(&format!("{layer}.{}", entry.suffix)).unwrap();
                assert_eq!((dtype, shape), (entry.dtype, &entry.shape[..]), "{layer}");
                assert!(bytes == entry.bytes, "{layer}.{}", entry.suffix);
            }
        }
    }
}

/// The config of `case` with `change` applied to its only group.
fn opened(case: &Case, change: impl Fn(&mut Value)) -> Result<QuantizedTensor, String> {
    let dir = artifact(case);
    let path = dir.path().join("config.json");
    let mut config: Value = serde_json::from_slice(&fs_err::read(&path).unwrap()).unwrap();
    change(&mut config["quantization_config"]);
    fs_err::write(&path, config.to_string()).unwrap();
    let reader = ArtifactReader::open(dir.path()).map_err(|error| chain(&error))?;
    reader.layer("l").map_err(|error| chain(&error))
}

fn chain(error: &dyn std::error::Error) -> String {
    let cause = error.source().map(chain);
    cause.map_or(error.to_string(), |cause| format!("{error}: {cause}"))
}

#[test]
fn targets_are_resolved_by_name_then_pattern_then_class() {
    let cases = cases();
    let case = cases
        .iter()
        .find(|case| case.name == "int4_g32_sym__f32")
        .unwrap();
    let with = |groups: Value| opened(case, move |config| config["config_groups"] = groups.clone());
    let group = |targets: Value, bits: u8| {
        let mut group = case.scheme.clone();
        group["targets"] = targets;
        group["weights"]["num_bits"] = bits.into();
        group
    };
    let right = |targets| group(json!([targets]), 4);
    let wrong = |targets| group(json!([targets]), 3);
    // The wrong width fails on the packed shape.
    assert!(with(json!({"a": right("l"), "b": wrong("re:.*"), "c": wrong("Linear")})).is_ok());
    assert!(with(json!({"c": wrong("Linear"), "b": right("re:l$")})).is_ok());
    assert!(
        with(json!({"a": wrong("re:z"), "b": right("re:^(?!q).*")})).is_ok(),
        "look-around"
    );
    // Patterns are tried in the order of their text, not of the file.
    assert!(with(json!({"b": wrong("re:l.*"), "a": right("re:l$")})).is_ok());
    assert!(with(json!({"a": wrong("Embedding"), "b": right("Linear")})).is_ok());
    let error = with(json!({"a": wrong("Linear")})).unwrap_err();
    assert_eq!(
        error,
        "tensor `l.weight_packed`: expected shape [64, 12], found [64, 16]"
    );
    let error = with(json!({"a": right("re:x")})).unwrap_err();
    assert!(
        error.contains("`l` is in the weight files but not in the targets"),
        "{error}"
    );
    let error = with(json!({"a": right("re:(")})).unwrap_err();
    assert!(
        error.contains("config_groups.a.targets: expected a regular expression"),
        "{error}"
    );
    let error = with(json!({"NVFP9": ["Linear"]})).unwrap_err();
    assert!(error.contains("expected a preset of weights"), "{error}");
    let error = with(json!({"NVFP4": ["Linear"]})).unwrap_err();
    assert_eq!(error, "tensor `l.weight_packed`: expected U8, found I32");
    // W4A16 means groups of 128, which these scales are not.
    let error = with(json!({"W4A16": ["Linear"]})).unwrap_err();
    assert_eq!(
        error,
        "tensor `l.weight_scale`: expected shape [64, 1], found [64, 4]"
    );
}

#[test]
fn what_is_not_read_is_refused_with_the_reason() {
    let cases = cases();
    let case = cases
        .iter()
        .find(|case| case.name == "int3_g32_sym__bf16")
        .unwrap();
    let error = opened(case, |config| {
        config["config_groups"]["group_0"]["weights"]["type"] = "float".into();
    });
    assert!(error.unwrap_err().contains("3-bit float weights"));
    let error = opened(case, |config| {
        config["config_groups"]["group_0"]["weights"]["strategy"] = "block".into();
    });
    assert!(error.unwrap_err().contains("strategy `block`"));
    let error = opened(case, |config| config["quant_method"] = "gptq".into()).unwrap_err();
    assert!(
        error.contains("expected tensors stored as `gptq`, found none"),
        "{error}"
    );
}

#[test]
#[ignore = "needs QUENCH_ASSETS"]
fn every_integer_case_of_the_golden_folder_is_reproduced() {
    let assets = PathBuf::from(std::env::var("QUENCH_ASSETS").unwrap());
    let golden = assets.join("../golden/formats");
    let index: Value =
        serde_json::from_slice(&fs_err::read(golden.join("index.json")).unwrap()).unwrap();
    let mut compared = (0, 0);
    for (name, entry) in index.as_object().unwrap() {
        if entry["scheme"]["weights"]["type"] != "int" {
            continue;
        }
        let folder = TensorFolder::open(golden.join(format!("{name}.safetensors"))).unwrap();
        let stored = folder.names_from("out.weight").map(|tensor| {
            let info = folder.info(tensor).unwrap();
            let bytes = folder.bytes(tensor).unwrap().to_vec();
            (
                tensor["out.".len()..].to_owned(),
                (info.dtype, info.shape.clone(), bytes),
            )
        });
        let float_type = if name.ends_with("f32") {
            FloatType::F32
        } else {
            FloatType::Bf16
        };
        let case = Case {
            name: name.clone(),
            scheme: entry["scheme"].clone(),
            weight: folder.floats("in.weight").unwrap().into_owned(),
            float_type,
            stored: stored.collect(),
            dequantized: None,
        };
        let (tensor, scheme) = case.quantize();
        if case.symmetric() {
            let format = formats::find("compressed-tensors").unwrap();
            assert!(
                by_suffix(format.encode(&tensor, &scheme).unwrap()) == case.stored,
                "{name}"
            );
            compared.0 += 1;
        }
        let decoded = ArtifactReader::open(artifact(&case).path())
            .unwrap()
            .layer("l")
            .unwrap();
        let rounded = decoded
            .dequantize()
            .into_iter()
            .map(|w| float_type.round(w));
        assert!(
            rounded.eq(folder.floats("out.dequantized").unwrap().iter().copied()),
            "{name}"
        );
        compared.1 += 1;
    }
    assert_eq!(compared, (18, 24));
}
