//! Float bytes of a file as f32, and back.

use crate::FloatType;
use half::slice::{HalfBitsSliceExt, HalfFloatSliceExt};
use half::{bf16, f16};
use safetensors::Dtype;
use std::borrow::Cow;

/// Values converted at once, so that no copy of a whole tensor stands beside the result.
const AT_ONCE: usize = 4096;

/// The type of the file that stores a [`FloatType`].
pub(crate) fn dtype_of(float_type: FloatType) -> Dtype {
    match float_type {
        FloatType::F32 => Dtype::F32,
        FloatType::F16 => Dtype::F16,
        FloatType::Bf16 => Dtype::BF16,
    }
}

/// The [`FloatType`] a file's type stores, or nothing for other types.
pub(crate) fn float_type_of(dtype: Dtype) -> Option<FloatType> {
    match dtype {
        Dtype::F32 => Some(FloatType::F32),
        Dtype::F16 => Some(FloatType::F16),
        Dtype::BF16 => Some(FloatType::Bf16),
        _ => None,
    }
}

/// Whether values of `dtype` are read as floats.
pub fn is_float(dtype: Dtype) -> bool {
    dtype == Dtype::F64 || float_type_of(dtype).is_some()
}

/// `bytes` of `dtype` as f32, borrowed where they already are and rounded to nearest where they are
/// F64; nothing where `dtype` is no float ([`is_float`]).
pub(crate) fn decode_floats(dtype: Dtype, bytes: &[u8]) -> Option<Cow<'_, [f32]>> {
    let bits = || {
        bytes
            .as_chunks::<2>()
            .0
            .iter()
            .map(|pair| u16::from_le_bytes(*pair))
    };
    match dtype {
        Dtype::F64 => {
            let words = bytes.as_chunks::<8>().0.iter();
            #[expect(
                clippy::cast_possible_truncation,
                reason = "rounds to nearest, as meant"
            )]
            let values = words.map(|word| f64::from_le_bytes(*word) as f32);
            Some(Cow::Owned(values.collect()))
        }
        Dtype::F32 => Some(if let Ok(aligned) = bytemuck::try_cast_slice(bytes) {
            Cow::Borrowed(aligned)
        } else {
            let words = bytes.as_chunks::<4>().0.iter();
            Cow::Owned(words.map(|word| f32::from_le_bytes(*word)).collect())
        }),
        Dtype::F16 => {
            let pairs = bytes.as_chunks::<2>().0;
            let mut values = vec![0.0; pairs.len()];
            let mut bits = [0; AT_ONCE];
            for (values, pairs) in values.chunks_mut(AT_ONCE).zip(pairs.chunks(AT_ONCE)) {
                let bits = &mut bits[..pairs.len()];
                for (bits, pair) in bits.iter_mut().zip(pairs) {
                    *bits = u16::from_le_bytes(*pair);
                }
                bits.reinterpret_cast::<f16>().convert_to_f32_slice(values);
            }
            Some(Cow::Owned(values))
        }
        Dtype::BF16 => Some(Cow::Owned(
            bits().map(|b| bf16::from_bits(b).to_f32()).collect(),
        )),
        _ => None,
    }
}

/// `bytes` of the float type `from` in the type `to`; nothing where one of them is no float ([`is_float`]).
pub(crate) fn recode(from: Dtype, bytes: &[u8], to: Dtype) -> Option<Vec<u8>> {
    let mut recoded = Vec::with_capacity(bytes.len() / from.bitsize() * to.bitsize());
    for part in bytes.chunks(AT_ONCE * from.bitsize() / 8) {
        recoded.extend(encode_as(to, &decode_floats(from, part)?)?);
    }
    Some(recoded)
}

/// `values` as a file stores them in `dtype`; nothing where that is no float ([`is_float`]).
pub(crate) fn encode_as(dtype: Dtype, values: &[f32]) -> Option<Vec<u8>> {
    if dtype == Dtype::F64 {
        let wide = values.iter().map(|value| f64::from(*value));
        return Some(wide.flat_map(f64::to_le_bytes).collect());
    }
    float_type_of(dtype).map(|float_type| encode_floats(float_type, values))
}

/// `values` as a file stores them in `float_type` (round to nearest even).
pub(crate) fn encode_floats(float_type: FloatType, values: &[f32]) -> Vec<u8> {
    match float_type {
        FloatType::F32 => bytemuck::cast_slice(values).to_vec(),
        FloatType::F16 => {
            let mut narrow = vec![f16::ZERO; values.len()];
            narrow.convert_from_f32_slice(values);
            bytemuck::cast_slice(&narrow).to_vec()
        }
        FloatType::Bf16 => {
            let narrow: Vec<bf16> = values.iter().map(|value| bf16::from_f32(*value)).collect();
            bytemuck::cast_slice(&narrow).to_vec()
        }
    }
}
