//! The types of GGUF tensors: how many values a block has, how many bytes it takes, and how it is decoded.
//!
//! The layouts are those of `ggml-common.h`; every one is compared with the `gguf` package in the tests.
//! Adding a type is a function here or in a file beside, and a row of [`TYPES`].

mod fixed_tables;
mod k_quants;
mod simple;

use safetensors::Dtype;

/// A type of tensors.
#[derive(Debug)]
pub(crate) struct BlockType {
    /// Number in the file.
    pub(crate) id: u32,
    pub(crate) name: &'static str,
    /// Values of a block.
    pub(crate) values: usize,
    /// Bytes of a block.
    pub(crate) bytes: usize,
    pub(crate) form: Form,
}

/// How values are stored.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Form {
    /// One by one, in a type that safetensors has as well.
    Plain(Dtype),
    /// In blocks. The function takes the bytes of one and fills its values.
    Blocks(fn(&[u8], &mut [f32])),
}

/// Every type that is read.
pub(crate) static TYPES: &[BlockType] = &[
    plain(0, "f32", 4, Dtype::F32),
    plain(1, "f16", 2, Dtype::F16),
    blocks(2, "q4_0", 32, 18, simple::q4_0),
    blocks(3, "q4_1", 32, 20, simple::q4_1),
    blocks(6, "q5_0", 32, 22, simple::q5_0),
    blocks(7, "q5_1", 32, 24, simple::q5_1),
    blocks(8, "q8_0", 32, 34, simple::q8_0),
    blocks(10, "q2_k", 256, 84, k_quants::q2_k),
    blocks(11, "q3_k", 256, 110, k_quants::q3_k),
    blocks(12, "q4_k", 256, 144, k_quants::q4_k),
    blocks(13, "q5_k", 256, 176, k_quants::q5_k),
    blocks(14, "q6_k", 256, 210, k_quants::q6_k),
    blocks(20, "iq4_nl", 32, 18, fixed_tables::iq4_nl),
    blocks(23, "iq4_xs", 256, 136, fixed_tables::iq4_xs),
    plain(24, "i8", 1, Dtype::I8),
    plain(25, "i16", 2, Dtype::I16),
    plain(26, "i32", 4, Dtype::I32),
    plain(27, "i64", 8, Dtype::I64),
    plain(28, "f64", 8, Dtype::F64),
    plain(30, "bf16", 2, Dtype::BF16),
    blocks(39, "mxfp4", 32, 17, fixed_tables::mxfp4),
];

const fn plain(id: u32, name: &'static str, bytes: usize, dtype: Dtype) -> BlockType {
    BlockType {
        id,
        name,
        values: 1,
        bytes,
        form: Form::Plain(dtype),
    }
}

const fn blocks(
    id: u32,
    name: &'static str,
    values: usize,
    bytes: usize,
    decode: fn(&[u8], &mut [f32]),
) -> BlockType {
    BlockType {
        id,
        name,
        values,
        bytes,
        form: Form::Blocks(decode),
    }
}

/// The type with the number `id`.
pub(crate) fn find(id: u32) -> Option<&'static BlockType> {
    TYPES.iter().find(|known| known.id == id)
}

/// A half-precision float at the front of `bytes`.
fn half(bytes: &[u8]) -> f32 {
    half::f16::from_le_bytes([bytes[0], bytes[1]]).to_f32()
}

/// Fills `values` with the low halves of `bytes`, then with the high ones, each through `value`.
fn halves(bytes: &[u8], values: &mut [f32], value: impl Fn(usize, u8) -> f32) {
    let (low, high) = values.split_at_mut(bytes.len());
    for (at, byte) in bytes.iter().enumerate() {
        low[at] = value(at, byte & 15);
        high[at] = value(at + bytes.len(), byte >> 4);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_unique_and_blocks_decode_without_reading_past_their_end() {
        for (index, kind) in TYPES.iter().enumerate() {
            let others = &TYPES[..index];
            assert!(
                others
                    .iter()
                    .all(|other| other.id < kind.id && other.name != kind.name)
            );
            if let Form::Blocks(decode) = kind.form {
                let mut values = vec![f32::NAN; kind.values];
                decode(&vec![0; kind.bytes], &mut values);
                assert!(
                    values.iter().all(|value| value.is_finite()),
                    "{}",
                    kind.name
                );
            }
        }
    }
}
