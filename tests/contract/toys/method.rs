//! A toy method: the sign of each weight times the mean magnitude of its row.

use half::f16;
use quantizers::methods::{LayerPlan, Method, ParamError, QuantizeError, Quantized, Quantizer};
use quantizers::statistics::LayerStats;
use quantizers::tensor::{Codebook, Encoding};
use quantizers::{FloatType, MatrixRef, QuantizedTensor};
use serde_json::json;

struct Sign;

impl Method for Sign {
    fn name(&self) -> &'static str {
        "sign"
    }

    fn summary(&self) -> &'static str {
        "one bit: the sign of a weight times the mean magnitude of its row"
    }

    fn parameters(&self) -> &'static [(&'static str, &'static str)] {
        &[]
    }

    fn configure(&self, _table: &toml::Table) -> Result<Box<dyn Quantizer>, ParamError> {
        Ok(Box::new(Self))
    }
}

impl Quantizer for Sign {
    fn plan(
        &self,
        rows: usize,
        cols: usize,
        stored: FloatType,
    ) -> Result<LayerPlan, QuantizeError> {
        // What is not named here is as it is for any method.
        let scheme = serde_json::from_value(json!({
            "method": self.name(), "kind": "codebook", "bits": 1, "granularity": "channel",
            "symmetric": true, "outliers": false,
        }))
        .unwrap();
        Ok(LayerPlan::new(scheme, stored, rows * cols, 1e9))
    }

    fn quantize(
        &self,
        weight: MatrixRef<'_>,
        _plan: &LayerPlan,
        _stats: &LayerStats<'_>,
    ) -> Result<Quantized, QuantizeError> {
        let (rows, cols) = (weight.rows(), weight.cols());
        let row_tables = weight.data().chunks_exact(cols).flat_map(|row| {
            let mean = row.iter().map(|w| w.abs()).sum::<f32>() / cols as f32;
            [f16::from_f32(-mean), f16::from_f32(mean)]
        });
        let codebook = Codebook {
            bits: 1,
            indices: weight.data().iter().map(|w| u8::from(*w > 0.0)).collect(),
            tables: row_tables.collect(),
            scales: None,
        };
        let tensor = QuantizedTensor {
            rows,
            cols,
            encoding: Encoding::Codebook(codebook),
            outliers: None,
        };
        Ok(tensor.into())
    }
}

/// A layer quantized by the toy, and its plan.
pub(super) fn quantized() -> (QuantizedTensor, LayerPlan) {
    let quantizer = Sign.configure(&toml::Table::new()).unwrap();
    let weight = [1.0, -3.0, 2.0, -2.0, 0.5, 0.5, 0.5, -0.5];
    let weight = MatrixRef::new(&weight, 2, 4).unwrap();
    let plan = quantizer.plan(2, 4, FloatType::F32).unwrap();
    let done = quantizer.quantize(weight, &plan, &LayerStats::default());
    (done.unwrap().tensor, plan)
}

#[test]
fn a_method_is_one_file() {
    let (tensor, plan) = quantized();
    tensor.check().unwrap();
    assert_eq!(
        tensor.dequantize(),
        [2.0, -2.0, 2.0, -2.0, 0.5, 0.5, 0.5, -0.5]
    );
    let planned = plan.scheme.storage_bits(2, 4, plan.scale_type, 0);
    assert_eq!(planned, tensor.storage_bits());
    // A format that was written without knowing the method holds what it makes.
    let format = quantizers::formats::find("quench").unwrap();
    format.accepts(&plan.scheme, 2, 4).unwrap();
    let entries = format.encode(&tensor, &plan.scheme).unwrap();
    assert!(
        entries
            .iter()
            .any(|entry| entry.suffix == "weight_codebook")
    );
}
