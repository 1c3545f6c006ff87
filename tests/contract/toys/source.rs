//! A form of stored weights: signs in bits, one magnitude for all.

use quantizers::formats::{
    DecodedTensor, Dtype, FormatError, Reading, Source, SourceFiles, TensorFolder,
};
use safetensors::tensor::{TensorView, serialize};
use std::collections::BTreeMap;

struct Signs;

#[derive(Debug)]
struct SignsOf(String);

impl Source for Signs {
    fn quant_method(&self) -> &'static str {
        "signs"
    }

    fn summary(&self) -> &'static str {
        "one bit a weight"
    }

    fn tensors(
        &self,
        files: &SourceFiles<'_>,
    ) -> Result<BTreeMap<String, DecodedTensor>, FormatError> {
        let names = files.folder.names();
        let layers = names.filter_map(|name| name.strip_suffix(".signs"));
        let decoded = layers.map(|layer| {
            let part = format!("{layer}.signs");
            let info = files.folder.require(&part)?;
            let tensor = DecodedTensor {
                shape: vec![info.bytes, 8],
                stored: "signs".to_owned(),
                quantized: true,
                rounds_inputs: false,
                float_type: None,
                parts: vec![part.clone()],
                reading: Box::new(SignsOf(part)),
            };
            Ok((format!("{layer}.weight"), tensor))
        });
        decoded.collect()
    }
}

impl Reading for SignsOf {
    fn values(&self, folder: &TensorFolder) -> Result<Vec<f32>, FormatError> {
        let bytes = folder.bytes(&self.0)?;
        let bits = bytes
            .iter()
            .flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1));
        Ok(bits.map(|bit| if bit == 1 { -1.0 } else { 1.0 }).collect())
    }
}

#[test]
fn a_form_names_its_tensors_and_reads_their_values() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("model.safetensors");
    let view = TensorView::new(Dtype::U8, vec![1], &[0b101]).unwrap();
    fs_err::write(&file, serialize([("l.signs", view)], None).unwrap()).unwrap();
    let folder = TensorFolder::open(&file).unwrap();
    let config = serde_json::Value::Null;
    let files = SourceFiles {
        file: &file,
        config: &config,
        folder: &folder,
    };
    let found = Signs.tensors(&files).unwrap();
    let tensor = &found["l.weight"];
    assert_eq!(tensor.shape, [1, 8]);
    assert_eq!(tensor.values(&folder).unwrap()[..4], [-1.0, 1.0, -1.0, 1.0]);
}
