//! A toy format: decoded weights as text, one tensor for each layer.

use super::method::quantized;
use quantizers::formats::{Dtype, Entry, Format, StoredLayer, Unsupported};
use quantizers::{QuantizedTensor, Scheme};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

struct Text;

impl Format for Text {
    fn name(&self) -> &'static str {
        "text"
    }

    fn summary(&self) -> &'static str {
        "weights in decimal, separated by spaces"
    }

    fn accepts(&self, _: &Scheme, _rows: usize, _cols: usize) -> Result<(), Unsupported> {
        Ok(())
    }

    fn encode(&self, tensor: &QuantizedTensor, _: &Scheme) -> Result<Vec<Entry>, Unsupported> {
        let words: Vec<String> = tensor.dequantize().iter().map(f32::to_string).collect();
        let bytes = words.join(" ").into_bytes();
        Ok(vec![Entry {
            suffix: "weight_text",
            dtype: Dtype::U8,
            shape: vec![bytes.len()],
            bytes,
        }])
    }

    fn configure(
        &self,
        config: &mut Map<String, Value>,
        layers: &BTreeMap<String, StoredLayer>,
        _kept: &BTreeSet<String>,
    ) {
        config.insert("quantization_config".to_owned(), layers.len().into());
    }
}

#[test]
fn a_format_is_one_file() {
    let (tensor, plan) = quantized();
    let format: &dyn Format = &Text;
    format.accepts(&plan.scheme, 2, 4).unwrap();
    let entries = format.encode(&tensor, &plan.scheme).unwrap();
    assert_eq!(entries[0].bytes, b"2 -2 2 -2 0.5 0.5 0.5 -0.5");
    assert!(format.decoder().is_none());
}
