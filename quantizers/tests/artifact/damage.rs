//! Damaged files: an error or another valid reading, never a panic.

use crate::layers::{one_of_each, options, uniform, write};
use proptest::prelude::*;
use proptest::sample::Index;
use quantizers::formats::{ArtifactReader, FormatError, verify};
use quantizers::{FloatType, Granularity};
use serde_json::Value;
use std::path::Path;
use std::sync::OnceLock;

/// Weights and configuration of an artifact, as bytes.
struct Files {
    weights: Vec<u8>,
    config: Vec<u8>,
}

impl Files {
    fn of(dir: &Path) -> Self {
        let read = |name: &str| fs_err::read(dir.join(name)).unwrap();
        Self {
            weights: read("model.safetensors"),
            config: read("config.json"),
        }
    }

    /// Where the header of the weight file ends.
    fn header_end(&self) -> usize {
        let length = u64::from_le_bytes(self.weights[..8].try_into().unwrap());
        8 + usize::try_from(length).unwrap()
    }
}

/// A layer of every kind in our own format, and a model of the compressed-tensors library.
fn originals() -> &'static [Files; 2] {
    static FILES: OnceLock<[Files; 2]> = OnceLock::new();
    FILES.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), options("quench"), &one_of_each());
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
        [
            Files::of(dir.path()),
            Files::of(&fixtures.join("tiny-llama-asym")),
        ]
    })
}

fn read_everything(dir: &Path) -> Result<(), FormatError> {
    let reader = ArtifactReader::open(dir)?;
    for name in reader.layers().keys() {
        if let Ok(tensor) = reader.layer(name) {
            tensor.dequantize();
        }
    }
    for name in reader.folder().names() {
        reader.raw(name)?;
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn changed_bytes_never_panic(
        artifact in 0usize..2,
        in_config: bool,
        in_header: bool,
        changes in proptest::collection::vec((any::<Index>(), any::<u8>()), 1..5),
        digits in proptest::collection::vec((any::<Index>(), b'0'..=b'9'), 0..4),
        cut in proptest::option::of(any::<Index>()),
    ) {
        let files = &originals()[artifact];
        let (mut weights, mut config) = (files.weights.clone(), files.config.clone());
        let reach = if in_header { files.header_end() } else { weights.len() };
        let (bytes, reach) =
            if in_config { (&mut config, files.config.len()) } else { (&mut weights, reach) };
        // Other digits give valid JSON with other numbers more often than random bytes do.
        let numbers: Vec<usize> = (8..reach).filter(|at| bytes[*at].is_ascii_digit()).collect();
        if digits.is_empty() {
            for (at, value) in &changes {
                bytes[at.index(reach)] = *value;
            }
        } else {
            for (at, digit) in &digits {
                bytes[*at.get(&numbers)] = *digit;
            }
        }
        if let Some(cut) = cut.filter(|_| changes.len() > 3) {
            bytes.truncate(cut.index(reach));
        }
        let dir = tempfile::tempdir().unwrap();
        fs_err::write(dir.path().join("model.safetensors"), weights).unwrap();
        fs_err::write(dir.path().join("config.json"), config).unwrap();
        let _ = read_everything(dir.path());
    }
}

#[test]
fn a_flipped_bit_fails_the_verification() {
    let dir = tempfile::tempdir().unwrap();
    let written = write(dir.path(), options("quench"), &one_of_each());
    let path = dir.path().join("model.safetensors");
    let clean = fs_err::read(&path).unwrap();
    let data = originals()[0].header_end();
    for at in [data, data + 333, clean.len() - 1] {
        let mut bytes = clean.clone();
        bytes[at] ^= 1;
        fs_err::write(&path, bytes).unwrap();
        let error = verify(dir.path(), &written.expected).unwrap_err();
        assert!(matches!(error, FormatError::Mismatch { .. }), "{error}");
    }
    fs_err::write(&path, clean).unwrap();
    verify(dir.path(), &written.expected).unwrap();
}

#[test]
fn a_changed_configuration_fails_the_verification() {
    let dir = tempfile::tempdir().unwrap();
    let written = write(dir.path(), options("quench"), &one_of_each());
    let path = dir.path().join("config.json");
    let text = fs_err::read_to_string(&path).unwrap();
    for (from, to) in [
        ("\"block.0.a\"", "\"block.9.a\""),
        ("\"bits\": 3", "\"bits\": 9"),
        ("\"version\": 1", "\"version\": 2"),
        ("\"group\": 32", "\"group\": 0"),
        (
            "\"quant_method\": \"quench\"",
            "\"quant_method\": \"squash\"",
        ),
    ] {
        assert!(text.contains(from), "{from}");
        fs_err::write(&path, text.replacen(from, to, 1)).unwrap();
        let error = verify(dir.path(), &written.expected).unwrap_err();
        assert!(!error.to_string().is_empty());
    }
    // A row of groups that is read as a channel needs other scales.
    let mut config: Value = serde_json::from_str(&text).unwrap();
    config["quantization_config"]["layers"]["block.0.a"]["granularity"] = "channel".into();
    fs_err::write(&path, config.to_string()).unwrap();
    let error = verify(dir.path(), &written.expected).unwrap_err();
    assert!(matches!(error, FormatError::TensorShape { .. }), "{error}");
}

#[test]
fn shapes_that_no_matrix_has_are_refused_before_anything_is_allocated() {
    let layer = uniform((4, 8), 4, Granularity::Channel, true, FloatType::F32, 1);
    for shape in [
        [-1i64, 8],
        [i64::MAX, i64::MAX],
        [1 << 50, 0],
        [1 << 30, 1 << 30],
        [4, 9],
    ] {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), options("quench"), &[("l", layer.clone())]);
        let path = dir.path().join("model.safetensors");
        let bytes = fs_err::read(&path).unwrap();
        // `weight_shape` is the only 64-bit tensor, hence the first.
        let header = usize::try_from(u64::from_le_bytes(bytes[..8].try_into().unwrap())).unwrap();
        let mut bytes = bytes;
        let sizes: Vec<u8> = shape.iter().flat_map(|size| size.to_le_bytes()).collect();
        bytes[8 + header..8 + header + 16].copy_from_slice(&sizes);
        fs_err::write(&path, bytes).unwrap();
        let opened = ArtifactReader::open(dir.path());
        let result = opened.and_then(|reader| reader.layer("l"));
        if shape == [4, 9] {
            // 9 inputs need another word: 36 bits.
            assert!(matches!(result, Err(FormatError::TensorShape { .. })));
        } else {
            assert!(
                matches!(result, Err(FormatError::BadMatrix { .. })),
                "{shape:?}"
            );
        }
    }
}
