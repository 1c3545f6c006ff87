//! Weights in the forms of other programs: decoded to the values those programs give them
//! (`tests/golden/make_quantized_sources.py`), and refused where they are damaged.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot read its fixtures has to stop"
)]

mod damage;
mod golden;
mod values;

use quantizers::formats::{Dtype, TensorFolder};
use safetensors::tensor::{TensorView, serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Type, shape and bytes by name.
type Tensors = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

/// What another program stored, and the values it means.
struct Case {
    name: String,
    config: Value,
    stored: Tensors,
    expected: BTreeMap<String, Expected>,
}

/// The values a program decodes, in the type it computes them in.
struct Expected {
    shape: Vec<usize>,
    dtype: Dtype,
    values: Vec<f32>,
}

impl Expected {
    /// Compares `values`. In f32 one product or quotient may be rounded in another order; in bf16 every operation
    /// is rounded, two of them at most.
    fn check(&self, values: &[f32], what: &str) {
        assert_eq!(values.len(), self.values.len(), "{what}");
        let largest = |most: f32, value: &f32| most.max(value.abs());
        let most = self.values.iter().fold(0.0, largest);
        for (at, (value, expected)) in values.iter().zip(&self.values).enumerate() {
            let tolerance = match self.dtype {
                Dtype::BF16 => expected.abs() / 128.0,
                _ => 3e-7 * most,
            };
            let off = (value - expected).abs();
            assert!(off <= tolerance, "{what} at {at}: {value} for {expected}");
        }
    }
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn cases() -> Vec<Case> {
    let folder = TensorFolder::open(fixtures().join("sources.safetensors")).unwrap();
    let text = fs_err::read(fixtures().join("sources.json")).unwrap();
    let configs: BTreeMap<String, Value> = serde_json::from_slice(&text).unwrap();
    let cases = configs.into_iter().map(|(name, config)| {
        let prefix = format!("{name}/");
        let (mut stored, mut expected) = (Tensors::new(), BTreeMap::new());
        for tensor in folder.names_from(&prefix) {
            let (info, rest) = (folder.info(tensor).unwrap(), &tensor[prefix.len()..]);
            if let Some(of) = rest.strip_prefix("expected/") {
                let values = folder.floats(tensor).unwrap().into_owned();
                let (shape, dtype) = (info.shape.clone(), info.dtype);
                expected.insert(
                    of.to_owned(),
                    Expected {
                        shape,
                        dtype,
                        values,
                    },
                );
            } else {
                let bytes = folder.bytes(tensor).unwrap().to_vec();
                stored.insert(rest.to_owned(), (info.dtype, info.shape.clone(), bytes));
            }
        }
        Case {
            name,
            config,
            stored,
            expected,
        }
    });
    cases.collect()
}

fn case(name: &str) -> Case {
    cases().into_iter().find(|case| case.name == name).unwrap()
}

/// A folder with `stored` and `quantization_config`.
fn folder(stored: &Tensors, config: &Value) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let views = stored.iter().map(|(name, (dtype, shape, bytes))| {
        (name, TensorView::new(*dtype, shape.clone(), bytes).unwrap())
    });
    let file = dir.path().join("model.safetensors");
    fs_err::write(file, serialize(views, None).unwrap()).unwrap();
    let config = json!({ "torch_dtype": "float16", "quantization_config": config });
    fs_err::write(dir.path().join("config.json"), config.to_string()).unwrap();
    dir
}
