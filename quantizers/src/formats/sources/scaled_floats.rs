//! 8-bit floats, with or without scales.

use super::scales::Scales;
use crate::formats::decoded::{DecodedTensor, Reading};
use crate::formats::minifloat::table_of;
use crate::formats::{Dtype, FormatError, TensorFolder};
use rayon::prelude::*;

/// Types that hold weights.
pub(super) const TYPES: [Dtype; 2] = [Dtype::F8_E4M3, Dtype::F8_E5M2];

#[derive(Debug)]
struct ScaledFloats {
    name: String,
    scales: Option<Scales>,
}

/// The tensor `name`, scaled by the tensor `scale`; `block` is what the configuration says of tiles.
///
/// # Errors
/// A tensor that is missing or is of another type, or scales that fit no way of sharing them.
pub(super) fn scaled(
    folder: &TensorFolder,
    name: &str,
    scale: Option<String>,
    block: Option<[usize; 2]>,
) -> Result<DecodedTensor, FormatError> {
    let info = folder.require(name)?;
    let kind = match info.dtype {
        Dtype::F8_E4M3 => "fp8 e4m3",
        Dtype::F8_E5M2 => "fp8 e5m2",
        found => {
            return Err(FormatError::TensorType {
                name: name.to_owned(),
                expected: "F8_E4M3 or F8_E5M2",
                found,
            });
        }
    };
    let mut parts = vec![name.to_owned()];
    parts.extend(scale.clone());
    let scales = scale.map(|scale| Scales::of(folder, scale, &info.shape, block));
    let scales = scales.transpose()?;
    let stored = match &scales {
        Some(scales) => format!("{kind}, {}", scales.describe()),
        None => kind.to_owned(),
    };
    Ok(DecodedTensor {
        shape: info.shape.clone(),
        stored,
        quantized: true,
        rounds_inputs: false,
        float_type: None,
        parts,
        reading: Box::new(ScaledFloats {
            name: name.to_owned(),
            scales,
        }),
    })
}

impl Reading for ScaledFloats {
    fn values(&self, folder: &TensorFolder) -> Result<Vec<f32>, FormatError> {
        let found = folder.require(&self.name)?.dtype;
        let table = table_of(found).ok_or_else(|| FormatError::TensorType {
            name: self.name.clone(),
            expected: "F8_E4M3 or F8_E5M2",
            found,
        })?;
        let bytes = folder.bytes(&self.name)?;
        let mut values: Vec<f32> = bytes
            .par_iter()
            .map(|byte| table[usize::from(*byte)])
            .collect();
        if let Some(scales) = &self.scales {
            scales.apply(folder, &mut values, 1.0)?;
        }
        Ok(values)
    }
}
