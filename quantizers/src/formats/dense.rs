//! Plain float weights: what any engine loads, and what quantization errors are measured on.

use super::entry::{Entry, WEIGHT};
use super::floats::{dtype_of, is_float};
use super::{Dtype, Format, StoredLayer, Unsupported};
use crate::pack::transpose;
use crate::tensor::{FloatType, QuantizedTensor, Scheme};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// A registry entry: decoded weights and all other floats in one type.
pub(super) struct Dense {
    pub(super) name: &'static str,
    pub(super) float_type: FloatType,
}

impl Dense {
    /// As transformers spells the type.
    fn type_name(&self) -> &'static str {
        match self.float_type {
            FloatType::F32 => "float32",
            FloatType::F16 => "float16",
            FloatType::Bf16 => "bfloat16",
        }
    }
}

impl Format for Dense {
    fn name(&self) -> &'static str {
        self.name
    }

    fn summary(&self) -> &'static str {
        match self.float_type {
            FloatType::F32 => "decoded weights as f32, exact; loads anywhere",
            FloatType::F16 => "decoded weights as f16; loads anywhere",
            FloatType::Bf16 => "decoded weights as bf16; loads anywhere",
        }
    }

    fn accepts(&self, _: &Scheme, _rows: usize, _cols: usize) -> Result<(), Unsupported> {
        Ok(())
    }

    fn encode(&self, tensor: &QuantizedTensor, scheme: &Scheme) -> Result<Vec<Entry>, Unsupported> {
        let (rows, cols) = (tensor.rows, tensor.cols);
        let weights = tensor.dequantize();
        let (shape, weights) = if scheme.transposed {
            (vec![cols, rows], transpose(&weights, rows, cols))
        } else {
            (vec![rows, cols], weights)
        };
        Ok(vec![Entry::floats(
            WEIGHT,
            shape,
            self.float_type,
            &weights,
        )])
    }

    fn planned_bits(
        &self,
        _: &Scheme,
        rows: usize,
        cols: usize,
        _: FloatType,
        _outliers: usize,
    ) -> u64 {
        (rows * cols) as u64 * self.float_type.bits()
    }

    fn kept_type(&self, dtype: Dtype) -> Dtype {
        if is_float(dtype) {
            dtype_of(self.float_type)
        } else {
            dtype
        }
    }

    fn configure(
        &self,
        config: &mut Map<String, Value>,
        _layers: &BTreeMap<String, StoredLayer>,
        _kept: &BTreeSet<String>,
    ) {
        config.remove("quantization_config");
        // transformers 5 writes `dtype`, transformers 4 `torch_dtype`.
        let key = if config.contains_key("torch_dtype") {
            "torch_dtype"
        } else {
            "dtype"
        };
        config.insert(key.to_owned(), Value::from(self.type_name()));
    }
}
