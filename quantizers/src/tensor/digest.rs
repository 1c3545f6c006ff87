//! A fingerprint of a quantized matrix, to compare what was made with what was read back.

use super::{Csr, Encoding, FloatType, Granularity, QuantizedTensor};
use bytemuck::cast_slice;

/// BLAKE3 of everything a value consists of.
pub type Digest = [u8; 32];

impl QuantizedTensor {
    /// Equal for equal matrices: shape, codes, scales, tables and the sparse part, bit for bit.
    pub fn digest(&self) -> Digest {
        let mut parts = Parts(blake3::Hasher::new());
        parts.sizes("shape", &[self.rows, self.cols]);
        match &self.encoding {
            Encoding::Uniform(uniform) => {
                parts.sizes("uniform", &granularity(uniform.granularity));
                parts.add(
                    "scale type",
                    &[float_type(uniform.scale_type), uniform.bits],
                );
                parts.add("codes", cast_slice(&uniform.codes));
                parts.add("scales", cast_slice(&uniform.scales));
                if let Some(zero_points) = &uniform.zero_points {
                    parts.add("zero points", cast_slice(zero_points));
                }
            }
            Encoding::Codebook(codebook) => {
                parts.add("codebook", &[codebook.bits]);
                parts.add("indices", &codebook.indices);
                parts.add("tables", cast_slice(&codebook.tables));
                if let Some(scales) = &codebook.row_scales {
                    parts.add("row scales", cast_slice(scales));
                }
            }
            Encoding::Float {
                float_type: stored,
                values,
            } => {
                parts.add("float", &[float_type(*stored)]);
                parts.add("values", cast_slice(values));
            }
        }
        if let Some(Csr {
            row_pointers,
            columns,
            values,
        }) = &self.outliers
        {
            parts.add("row pointers", cast_slice(row_pointers));
            parts.add("columns", cast_slice(columns));
            parts.add("sparse values", cast_slice(values));
        }
        *parts.0.finalize().as_bytes()
    }
}

/// Parts with their names and lengths, so that no two lists of parts look alike.
struct Parts(blake3::Hasher);

impl Parts {
    fn add(&mut self, name: &str, bytes: &[u8]) {
        self.0
            .update(name.as_bytes())
            .update(&(bytes.len() as u64).to_le_bytes())
            .update(bytes);
    }

    fn sizes(&mut self, name: &str, sizes: &[usize]) {
        let bytes: Vec<u8> = sizes
            .iter()
            .flat_map(|size| (*size as u64).to_le_bytes())
            .collect();
        self.add(name, &bytes);
    }
}

fn granularity(granularity: Granularity) -> [usize; 2] {
    match granularity {
        Granularity::Tensor => [0, 0],
        Granularity::Channel => [1, 0],
        Granularity::Group(size) => [2, size],
    }
}

fn float_type(float_type: FloatType) -> u8 {
    match float_type {
        FloatType::F32 => 0,
        FloatType::F16 => 1,
        FloatType::Bf16 => 2,
    }
}
