//! Streams of trellis codes as an independent program in Python decodes them, `tests/golden/make_trellis.py`.

use half::f16;
use quantizers::tensor::{Encoding, QuantizedTensor, Trellis};
use quantizers::trellis::Code;
use safetensors::SafeTensors;
use std::collections::BTreeSet;

#[test]
fn every_code_decodes_to_the_bits_that_python_finds() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/fixtures/trellis.safetensors"
    );
    let bytes = std::fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let cases: BTreeSet<String> = file
        .names()
        .into_iter()
        .map(|name| name.split_once('/').unwrap().0.to_owned())
        .collect();
    assert!(cases.len() >= 8);
    for case in cases {
        let tensor = |name: &str| file.tensor(&format!("{case}/{name}")).unwrap();
        let words = |name: &str| -> Vec<u32> {
            let bytes = tensor(name).data().as_chunks::<4>().0;
            bytes.iter().map(|word| u32::from_le_bytes(*word)).collect()
        };
        let halves = |name: &str| -> Vec<f16> {
            let bytes = tensor(name).data().as_chunks::<2>().0;
            bytes.iter().map(|half| f16::from_le_bytes(*half)).collect()
        };
        let mut parts = case.split('-');
        let code = Code::find(parts.next().unwrap()).unwrap();
        let mut number = || parts.next().unwrap().parse().unwrap();
        let (bits, state_bits) = (number(), number());
        let [rows, cols] = *tensor("expected").shape() else {
            panic!("a matrix")
        };
        let quantized = QuantizedTensor {
            rows,
            cols,
            encoding: Encoding::Trellis(Trellis {
                bits,
                state_bits,
                code,
                streams: words("trellis"),
                input_scales: halves("suh"),
                output_scales: halves("svh"),
            }),
            outliers: None,
        };
        quantized.check().unwrap();
        let found: Vec<u32> = quantized.dequantize().iter().map(|v| v.to_bits()).collect();
        assert_eq!(found, words("expected"), "{case}");
    }
}
