//! The writer: shards, order, names, what a crash leaves, what is refused.

use crate::layers::{config, one_of_each, options, uniform, with_outliers, write};
use quantizers::formats::marker::MARKER_FILE;
use quantizers::formats::{
    self, ArtifactReader, ArtifactWriter, Dtype, FormatError, TensorFolder, WriterOptions, verify,
};
use quantizers::tensor::Encoding;
use quantizers::{FloatType, Granularity};
use safetensors::SafeTensors;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// Every file of a folder with its content.
fn content(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs_err::read_dir(dir).unwrap().map(|entry| {
        let entry = entry.unwrap();
        (
            entry.file_name().into_string().unwrap(),
            fs_err::read(entry.path()).unwrap(),
        )
    });
    entries.filter(|(name, _)| name != MARKER_FILE).collect()
}

#[test]
fn shards_hold_whole_layers_and_are_aligned_and_deterministic() {
    let layers = one_of_each();
    let small = WriterOptions {
        shard_bytes: 500,
        ..options("quench")
    };
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let written = write(one.path(), small, &layers);
    verify(one.path(), &written.expected).unwrap();
    write(two.path(), small, &layers);
    assert!(
        content(one.path()) == content(two.path()),
        "equal runs, equal bytes"
    );

    let files = content(one.path());
    assert!(
        files.contains_key("model-00001-of-00007.safetensors"),
        "{:?}",
        files.keys()
    );
    let index: Value = serde_json::from_slice(&files["model.safetensors.index.json"]).unwrap();
    let mut total = 0;
    for (name, file) in files
        .iter()
        .filter(|(name, _)| name.ends_with(".safetensors"))
    {
        let (header, metadata) = SafeTensors::read_metadata(file).unwrap();
        assert!(!metadata.tensors().is_empty(), "{name} is empty");
        assert_eq!(metadata.metadata().as_ref().unwrap()["format"], "pt");
        for (tensor, info) in metadata.tensors().into_iter().collect::<BTreeMap<_, _>>() {
            assert_eq!(index["weight_map"][&tensor], **name);
            let start = 8 + header + info.data_offsets.0;
            assert!(
                (start * 8).is_multiple_of(info.dtype.bitsize()),
                "{tensor} is not aligned"
            );
            total += info.data_offsets.1 - info.data_offsets.0;
            if let Some((layer, _)) = tensor.rsplit_once(".weight_") {
                let parts = index["weight_map"].as_object().unwrap().iter();
                let mut parts = parts.filter(|(part, _)| part.starts_with(&format!("{layer}.")));
                assert!(
                    parts.all(|(_, file)| *file == **name),
                    "{layer} is in two shards"
                );
            }
        }
    }
    assert_eq!(index["metadata"]["total_size"], total);
    let sizes: u64 = written.files.values().sum();
    assert_eq!(
        sizes,
        files.values().map(|file| file.len() as u64).sum::<u64>()
    );
    assert_eq!(written.bytes(), sizes);
}

#[test]
fn a_single_file_is_what_the_safetensors_library_writes() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), options("quench"), &one_of_each());
    let path = dir.path().join("model.safetensors");
    let file = fs_err::read(&path).unwrap();
    let parsed = SafeTensors::deserialize(&file).unwrap();
    let metadata = Some([("format".to_owned(), "pt".to_owned())].into());
    assert!(safetensors::tensor::serialize(parsed.tensors(), metadata).unwrap() == file);
}

#[test]
fn nothing_looks_finished_before_finish_and_leftovers_are_removed() {
    let dir = tempfile::tempdir().unwrap();
    let (name, layer) = one_of_each().remove(0);
    {
        let mut writer = ArtifactWriter::create(dir.path(), options("quench")).unwrap();
        writer.layer(name, &layer.tensor, &layer.scheme).unwrap();
        writer.file("notes/readme.txt", b"hello").unwrap();
    }
    assert!(
        content_names(dir.path())
            .iter()
            .all(|name| name.ends_with(".partial"))
    );
    let error = TensorFolder::open(dir.path()).unwrap_err();
    assert!(matches!(&error, FormatError::NoWeights { others, .. } if !others.is_empty()));
    let written = write(dir.path(), options("quench"), &[(name, layer)]);
    verify(dir.path(), &written.expected).unwrap();
    assert_eq!(
        content_names(dir.path()),
        ["config.json", "model.safetensors"]
    );
}

fn content_names(dir: &Path) -> Vec<String> {
    let entries = fs_err::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    let files = entries.filter(|entry| entry.path().is_file());
    let mut names: Vec<String> = files
        .map(|entry| entry.file_name().into_string().unwrap())
        .filter(|name| name != MARKER_FILE)
        .collect();
    names.sort();
    names
}

#[test]
fn an_artifact_is_replaced_only_when_asked_and_then_completely() {
    let dir = tempfile::tempdir().unwrap();
    let layers = one_of_each();
    write(
        dir.path(),
        WriterOptions {
            shard_bytes: 500,
            ..options("quench")
        },
        &layers,
    );
    let error = ArtifactWriter::create(dir.path(), options("quench"))
        .err()
        .unwrap();
    assert!(matches!(error, FormatError::Exists { .. }));
    assert!(error.hint().unwrap().contains("--force"));
    let again = WriterOptions {
        overwrite: true,
        ..options("quench")
    };
    let written = write(dir.path(), again, &layers[..1]);
    verify(dir.path(), &written.expected).unwrap();
    assert_eq!(
        content_names(dir.path()),
        ["config.json", "model.safetensors"]
    );
}

#[test]
fn side_files_and_other_files_are_copied() {
    let checkpoint = tempfile::tempdir().unwrap();
    fs_err::create_dir(checkpoint.path().join("1_Pooling")).unwrap();
    fs_err::write(checkpoint.path().join("1_Pooling/config.json"), b"{}").unwrap();
    fs_err::write(checkpoint.path().join("tokenizer.json"), b"[]").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mut writer = ArtifactWriter::create(dir.path(), options("quench")).unwrap();
    assert_eq!(writer.side_files(checkpoint.path()).unwrap().len(), 2);
    writer.file("integer_program.json", b"{}\n").unwrap();
    let written = writer.finish(&config(), &[]).unwrap();
    let files: Vec<_> = written
        .files
        .keys()
        .map(|path| path.to_str().unwrap())
        .collect();
    let expected = [
        "1_Pooling/config.json",
        "config.json",
        "integer_program.json",
        "model.safetensors",
        "tokenizer.json",
    ];
    assert_eq!(files, expected);
    assert_eq!(
        fs_err::read(dir.path().join("1_Pooling/config.json")).unwrap(),
        b"{}"
    );
    verify(dir.path(), &written.expected).unwrap();
}

#[test]
fn layers_that_do_not_fit_are_refused_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = ArtifactWriter::create(dir.path(), options("compressed-tensors")).unwrap();
    let mut refused = Vec::new();
    for (name, layer) in &one_of_each()[1..] {
        let error = writer
            .layer(name, &layer.tensor, &layer.scheme)
            .unwrap_err();
        let FormatError::Unsupported { source, .. } = error else {
            panic!("{error}")
        };
        refused.push(source.to_string());
    }
    let starts = [
        "zero points: it stores symmetric grids",
        "zero points: it stores symmetric grids",
        "a 3-bit lookup table: it stores uniform grids only",
        "a 2-bit lookup table: it stores uniform grids only",
        "a 4-bit lookup table: it stores uniform grids only",
        "a sparse part: it stores uniform grids only",
        "a 3-bit trellis code: it stores uniform grids only",
    ];
    for (message, start) in refused.iter().zip(starts) {
        let start = format!("format `compressed-tensors` cannot hold {start}");
        assert!(message.starts_with(&start), "{message}");
    }
    let mut conv = uniform((4, 64), 4, Granularity::Group(32), true, FloatType::F32, 1);
    conv.scheme.transposed = true;
    let error = writer
        .layer("conv", &conv.tensor, &conv.scheme)
        .unwrap_err();
    assert!(error.hint().unwrap().contains("quench"), "{error}");
    let tail = uniform((4, 44), 4, Granularity::Group(32), true, FloatType::F32, 1);
    assert!(writer.layer("tail", &tail.tensor, &tail.scheme).is_err());
}

#[test]
fn wrong_schemes_wrong_parts_and_names_given_twice_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = ArtifactWriter::create(dir.path(), options("quench")).unwrap();
    let layer = uniform((4, 8), 4, Granularity::Channel, true, FloatType::F32, 1);
    let mut scheme = layer.scheme.clone();
    scheme.bits = 3;
    let error = writer.layer("l", &layer.tensor, &scheme).unwrap_err();
    assert!(matches!(error, FormatError::Scheme { .. }));
    let mut broken = layer.tensor.clone();
    let Encoding::Uniform(grid) = &mut broken.encoding else {
        panic!("a grid")
    };
    grid.codes[5] = 8;
    let error = writer.layer("l", &broken, &layer.scheme).unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(cause, "expected codes of 4 bits, found 8 at position 5");
    writer.layer("l", &layer.tensor, &layer.scheme).unwrap();
    assert!(matches!(
        writer.layer("l", &layer.tensor, &layer.scheme),
        Err(FormatError::Duplicate { .. })
    ));
    assert!(
        writer
            .passthrough("l.weight_shape", Dtype::U8, &[0], &[])
            .is_err()
    );
}

#[test]
fn one_scheme_targets_the_class_and_several_target_names() {
    let four = uniform((4, 64), 4, Granularity::Group(32), true, FloatType::Bf16, 1);
    let eight = uniform((4, 64), 8, Granularity::Channel, true, FloatType::Bf16, 2);
    let configuration = |layers: &[(&str, _)]| {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = ArtifactWriter::create(dir.path(), options("compressed-tensors")).unwrap();
        for (name, layer) in layers {
            let layer: &crate::layers::Layer = layer;
            writer.layer(name, &layer.tensor, &layer.scheme).unwrap();
        }
        writer
            .passthrough("model.embed_tokens.weight", Dtype::U8, &[1, 1], &[0])
            .unwrap();
        writer
            .passthrough("model.norm.weight", Dtype::U8, &[1], &[0])
            .unwrap();
        writer
            .passthrough("llama.score.weight", Dtype::U8, &[1, 1], &[0])
            .unwrap();
        let linear: Vec<String> = ["a", "b", "kept"].map(str::to_owned).to_vec();
        writer.finish(&config(), &linear).unwrap();
        ArtifactReader::open(dir.path()).unwrap().config()["quantization_config"].clone()
    };
    let one = configuration(&[("a", four.clone()), ("b", four.clone())]);
    assert_eq!(
        one["config_groups"]["group_0"]["targets"],
        json!(["Linear"])
    );
    assert_eq!(one["format"], "pack-quantized");
    // Heads are linear layers also where they are tied, and so are matrices nobody knows.
    assert_eq!(
        one["ignore"],
        json!(["kept", "llama.score", "lm_head", "score"])
    );
    let two = configuration(&[("a", four), ("b", eight)]);
    assert_eq!(two["config_groups"]["group_0"]["targets"], json!(["a"]));
    assert_eq!(two["config_groups"]["group_1"]["targets"], json!(["b"]));
    assert_eq!(two["config_groups"]["group_1"]["weights"]["num_bits"], 8);
    assert_eq!(two["format"], "pack-quantized");
    let keys: Vec<_> = two.as_object().unwrap().keys().collect();
    assert!(keys.is_sorted());
}

#[test]
fn auto_is_compressed_tensors_where_everything_fits() {
    let layers = one_of_each();
    let auto = |layers: &[(&str, crate::layers::Layer)]| {
        let plans = layers
            .iter()
            .map(|(_, l)| (&l.scheme, l.tensor.rows, l.tensor.cols));
        formats::auto(plans).name()
    };
    assert_eq!(auto(&layers[..1]), "compressed-tensors");
    assert_eq!(auto(&layers), "quench");
    let outliers = with_outliers(layers[0].1.clone(), 5, 1);
    assert_eq!(auto(&[("a", outliers)]), "quench");
}

#[test]
fn a_sum_that_leaves_the_type_of_a_dense_weight_is_refused_with_its_place() {
    let mut layer = with_outliers(
        uniform((3, 40), 8, Granularity::Channel, true, FloatType::F16, 1),
        4,
        1,
    );
    // The values of the grid are added to these, and half of them are positive.
    let sparse = layer.tensor.outliers.as_mut().unwrap();
    sparse.values.fill(half::f16::MAX);
    let values = layer.tensor.dequantize();
    let first = values.iter().position(|value| *value >= 65520.0).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mut writer = ArtifactWriter::create(dir.path(), options("dense-f16")).unwrap();
    let refused = writer.layer("l", &layer.tensor, &layer.scheme).unwrap_err();
    assert!(
        matches!(&refused, FormatError::Range { name, position, .. } if name == "l.weight" && *position == first),
        "{refused:?}"
    );
}
