//! Float bytes of a file as f32, and back.

use safetensors::Dtype;
use std::borrow::Cow;

/// `bytes` of `dtype` as f32, or nothing where `dtype` is not F32, F16 or BF16.
pub(crate) fn decode_floats(dtype: Dtype, bytes: &[u8]) -> Option<Cow<'_, [f32]>> {
    let pairs = || bytes.as_chunks::<2>().0.iter();
    match dtype {
        Dtype::F32
            if cfg!(target_endian = "little")
                && bytemuck::try_cast_slice::<u8, f32>(bytes).is_ok() =>
        {
            bytemuck::try_cast_slice(bytes).ok().map(Cow::Borrowed)
        }
        Dtype::F32 => {
            let words = bytes.as_chunks::<4>().0;
            Some(Cow::Owned(
                words.iter().map(|word| f32::from_le_bytes(*word)).collect(),
            ))
        }
        Dtype::F16 => Some(Cow::Owned(
            pairs()
                .map(|pair| half::f16::from_le_bytes(*pair).to_f32())
                .collect(),
        )),
        Dtype::BF16 => Some(Cow::Owned(
            pairs()
                .map(|pair| half::bf16::from_le_bytes(*pair).to_f32())
                .collect(),
        )),
        _ => None,
    }
}
