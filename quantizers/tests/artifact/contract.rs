//! What holds for every format.

use crate::layers::{Layer, any_layer, one_of_each, options, scattered, uniform, write};
use proptest::prelude::*;
use quantizers::formats::{ArtifactReader, FORMATS, verify};
use quantizers::{Encoding, FloatType, Granularity};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn what_is_written_is_read_back_and_has_the_promised_size(layer in any_layer()) {
        for format in FORMATS {
            let (tensor, scheme) = (&layer.tensor, &layer.scheme);
            if format.accepts(scheme, tensor.rows, tensor.cols).is_err() {
                continue;
            }
            let dir = tempfile::tempdir().unwrap();
            let written = write(dir.path(), options(format.name()), &[("l", layer.clone())]);
            let verified = verify(dir.path(), &written.expected).unwrap();

            let entries = format.encode(tensor, scheme).unwrap();
            let bytes: usize = entries.iter().map(|entry| entry.bytes.len()).sum();
            prop_assert_eq!(written.layers["l"].bits, 8 * bytes as u64);
            let scale_type = match &tensor.encoding {
                Encoding::Uniform(grid) => grid.scale_type,
                Encoding::Codebook(_) | Encoding::Trellis(_) => FloatType::F32,
            };
            let sparse = tensor.outliers.as_ref().map_or(0, |sparse| sparse.values.len());
            let planned = format.planned_bits(scheme, tensor.rows, tensor.cols, scale_type, sparse);
            prop_assert_eq!(planned, 8 * bytes as u64, "{}", format.name());
            prop_assert!(tensor.matches(scheme));

            let reader = ArtifactReader::open(dir.path()).unwrap();
            prop_assert_eq!(reader.names(), ["embed.weight", "l.weight", "norm.bias"]);
            if format.decoder().is_some() {
                prop_assert_eq!(verified.layers, 1);
                prop_assert_eq!(&reader.layer("l").unwrap(), tensor);
                prop_assert_eq!(reader.layer("l").unwrap().digest(), tensor.digest());
            } else {
                prop_assert!(reader.layers().is_empty());
            }
            if format.name() == "quench" {
                prop_assert_eq!(tensor.storage_bits(), 8 * bytes as u64);
                prop_assert_eq!(&reader.layers()["l"].scheme, scheme);
            }
        }
    }

    #[test]
    fn equal_digests_mean_equal_layers(a in any_layer(), b in any_layer()) {
        prop_assert_eq!(a.tensor == b.tensor, a.tensor.digest() == b.tensor.digest());
    }
}

#[test]
fn names_are_unique_and_quench_holds_every_layer() {
    for (i, format) in FORMATS.iter().enumerate() {
        assert!(
            FORMATS[..i]
                .iter()
                .all(|other| other.name() != format.name())
        );
        assert!(!format.summary().is_empty());
    }
    for (name, Layer { tensor, scheme }) in one_of_each() {
        let fits = |format: &str| {
            quantizers::formats::find(format)
                .unwrap()
                .accepts(&scheme, tensor.rows, tensor.cols)
        };
        assert!(fits("quench").is_ok(), "{name}");
        assert!(fits("dense").is_ok(), "{name}");
        assert_eq!(
            fits("compressed-tensors").is_ok(),
            name == "block.0.a",
            "{name}"
        );
    }
}

#[test]
fn dense_is_what_the_layers_decode_to_in_the_layout_of_the_checkpoint() {
    let layers = one_of_each();
    for (format, float_type) in [
        ("dense", FloatType::F32),
        ("dense-bf16", FloatType::Bf16),
        ("dense-f16", FloatType::F16),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let written = write(dir.path(), options(format), &layers);
        verify(dir.path(), &written.expected).unwrap();
        let reader = ArtifactReader::open(dir.path()).unwrap();
        assert_eq!(reader.quant_method(), None);
        for (name, Layer { tensor, scheme }) in &layers {
            let name = format!("{name}.weight");
            let (_, shape, _) = reader.raw(&name).unwrap();
            let values = reader.folder().floats(&name).unwrap();
            let (rows, cols) = (tensor.rows, tensor.cols);
            let decoded = tensor.dequantize();
            for row in 0..rows {
                for col in 0..cols {
                    let at = if scheme.transposed {
                        col * rows + row
                    } else {
                        row * cols + col
                    };
                    let expected = float_type.round(decoded[row * cols + col]);
                    assert_eq!(values[at].to_bits(), expected.to_bits(), "{name}");
                }
            }
            assert_eq!(
                shape,
                if scheme.transposed {
                    [cols, rows]
                } else {
                    [rows, cols]
                }
            );
        }
        // Other floats follow, and the configuration says so.
        assert!(
            reader
                .folder()
                .floats("norm.bias")
                .unwrap()
                .iter()
                .eq(&[1.5])
        );
        assert_eq!(
            reader.raw("norm.bias").unwrap().0,
            reader.raw("block.0.a.weight").unwrap().0
        );
        let type_name = match float_type {
            FloatType::F32 => "float32",
            FloatType::F16 => "float16",
            FloatType::Bf16 => "bfloat16",
        };
        assert_eq!(reader.config()["torch_dtype"], type_name);
    }
}

#[test]
fn plain_int8_has_a_byte_for_every_weight() {
    let layer = uniform((6, 30), 8, Granularity::Channel, true, FloatType::Bf16, 1);
    let dir = tempfile::tempdir().unwrap();
    let written = write(
        dir.path(),
        options("compressed-tensors-int8"),
        &[("l", layer.clone())],
    );
    verify(dir.path(), &written.expected).unwrap();
    let reader = ArtifactReader::open(dir.path()).unwrap();
    assert_eq!(reader.raw("l.weight").unwrap().1, [6, 30]);
    assert_eq!(reader.layer("l").unwrap(), layer.tensor);
    assert_eq!(written.layers["l"].bits, 8 * 6 * 30 + 6 * 16);
    let group = &reader.config()["quantization_config"]["config_groups"]["group_0"];
    assert_eq!(group["format"], "naive-quantized");
}

#[test]
fn scattered_groups_list_their_columns_and_other_engines_are_told() {
    let layer = scattered(uniform(
        (6, 64),
        4,
        Granularity::Group(16),
        true,
        FloatType::F16,
        8,
    ));
    for format in ["quench", "compressed-tensors"] {
        let dir = tempfile::tempdir().unwrap();
        let written = write(dir.path(), options(format), &[("l", layer.clone())]);
        verify(dir.path(), &written.expected).unwrap();
        let reader = ArtifactReader::open(dir.path()).unwrap();
        assert_eq!(reader.raw("l.weight_g_idx").unwrap().1, [64]);
        assert_eq!(reader.layer("l").unwrap(), layer.tensor);
        // Codes, scales, groups of columns, the shape.
        let bits = 6 * 64 * 4 + 6 * 4 * 16 + 64 * 32 + 128;
        assert_eq!(written.layers["l"].bits, bits);
        if format == "compressed-tensors" {
            let group = &reader.config()["quantization_config"]["config_groups"]["group_0"];
            assert_eq!(group["weights"]["actorder"], "group");
        }
    }
    // A column further left decodes with the scale its group says.
    let decoded = layer.tensor.dequantize();
    let Encoding::Uniform(grid) = &layer.tensor.encoding else {
        panic!("a uniform grid")
    };
    let groups = grid.column_groups.as_ref().unwrap();
    for col in 0..64 {
        let expected = grid.scales[groups[col] as usize] * f32::from(grid.codes[col]);
        assert_eq!(decoded[col].to_bits(), expected.to_bits());
    }
}
