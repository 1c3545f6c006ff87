//! Stored floats that are no numbers, found without decoding the tensor.

use rayon::prelude::*;
use safetensors::Dtype;

/// Bytes one thread looks at in one go.
const PIECE: usize = 1 << 20;

/// Position and value of the first NaN or infinity among the floats in `bytes`; nothing for types that are no
/// floats. F64 is taken as the f32 it is read as, so that a value beyond f32 is found as well.
pub fn first_not_finite(dtype: Dtype, bytes: &[u8]) -> Option<(usize, f32)> {
    let size = match dtype {
        Dtype::F64 => 8,
        Dtype::F32 => 4,
        Dtype::F16 | Dtype::BF16 => 2,
        _ => return None,
    };
    let piece = bytes
        .par_chunks(PIECE)
        .position_first(|piece| in_piece(dtype, piece).is_some())?;
    let start = piece * PIECE;
    let end = bytes.len().min(start + PIECE);
    let (at, value) = in_piece(dtype, &bytes[start..end])?;
    Some((start / size + at, value))
}

/// Position and value of the first NaN or infinity among `values`.
pub fn first_not_finite_value(values: &[f32]) -> Option<(usize, f32)> {
    let at = values
        .par_iter()
        .position_first(|value| !value.is_finite())?;
    Some((at, values[at]))
}

fn in_piece(dtype: Dtype, bytes: &[u8]) -> Option<(usize, f32)> {
    // All bits of the exponent are set in what is no number, and in nothing else.
    let halves = |mask: u16| {
        let mut words = bytes.as_chunks::<2>().0.iter();
        words.position(|word| u16::from_le_bytes(*word) & mask == mask)
    };
    let at = match dtype {
        Dtype::F16 => halves(0x7c00)?,
        Dtype::BF16 => halves(0x7f80)?,
        Dtype::F64 => {
            let values = super::floats::decode_floats(dtype, bytes)?;
            values.iter().position(|value| !value.is_finite())?
        }
        _ => {
            let mut words = bytes.as_chunks::<4>().0.iter();
            words.position(|word| u32::from_le_bytes(*word) & 0x7f80_0000 == 0x7f80_0000)?
        }
    };
    let size = dtype.bitsize() / 8;
    let one = &bytes[at * size..(at + 1) * size];
    let value = super::floats::decode_floats(dtype, one)?.first().copied()?;
    Some((at, value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FloatType;
    use crate::formats::floats::encode_floats;

    #[test]
    fn the_first_value_that_is_no_number_is_found_in_every_type() {
        let mut values = vec![1.5_f32; PIECE];
        values[PIECE - 3] = f32::NEG_INFINITY;
        values[PIECE - 2] = f32::NAN;
        for (float_type, dtype) in [
            (FloatType::F32, Dtype::F32),
            (FloatType::F16, Dtype::F16),
            (FloatType::Bf16, Dtype::BF16),
        ] {
            let bytes = encode_floats(float_type, &values);
            assert_eq!(
                first_not_finite(dtype, &bytes),
                Some((PIECE - 3, f32::NEG_INFINITY))
            );
            assert_eq!(first_not_finite(dtype, &bytes[..PIECE]), None);
        }
        let doubles: Vec<u8> = [1.5, f64::from(f32::MAX), 1e39, f64::NAN]
            .iter()
            .flat_map(|value: &f64| value.to_le_bytes())
            .collect();
        assert_eq!(
            first_not_finite(Dtype::F64, &doubles),
            Some((2, f32::INFINITY))
        );
        assert_eq!(first_not_finite(Dtype::F64, &doubles[..16]), None);
        assert_eq!(
            first_not_finite_value(&values).map(|(at, _)| at),
            Some(PIECE - 3)
        );
        assert_eq!(first_not_finite(Dtype::I64, &[0xff; 16]), None);
    }
}
