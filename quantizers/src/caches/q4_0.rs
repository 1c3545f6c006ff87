//! `q4_0`: blocks of 32 codes of 4 bits over an f16 scale, as llama.cpp caches them (18 bytes a block).

use super::blocks::{BLOCK, BlockKind, BlockQuantizer, PARAMETERS};
use super::cache::{Cache, CacheQuantizer};
use super::halves;
use crate::methods::ParamError;

/// The registry entry.
pub(super) struct Q40;

static KIND: BlockKind = BlockKind {
    name: "q4_0",
    bytes: 2 + BLOCK / 2,
    encode,
    decode,
};

impl Cache for Q40 {
    fn name(&self) -> &'static str {
        KIND.name
    }

    fn summary(&self) -> &'static str {
        "llama.cpp's blocks of 32 elements with a scale each, 4 bits"
    }

    fn parameters(&self) -> &'static [(&'static str, &'static str)] {
        &PARAMETERS
    }

    fn engines(&self) -> Option<&'static str> {
        Some("llama.cpp -ctk q4_0 -ctv q4_0")
    }

    fn configure(&self, table: &toml::Table) -> Result<Box<dyn CacheQuantizer>, ParamError> {
        Ok(Box::new(BlockQuantizer::configure(&KIND, table)?))
    }
}

/// `d = m / -8` with the value `m` of the largest magnitude, codes `floor(x / d + 8.5)` from 0 to 15: `m` itself is
/// exact. The lower halves of the bytes are the first 16 codes.
fn encode(values: &[f32; BLOCK], out: &mut [u8]) {
    let mut largest = 0.0_f32;
    for value in values {
        if value.abs() > largest.abs() {
            largest = *value;
        }
    }
    let scale = largest / -8.0;
    let inverse = if scale == 0.0 { 0.0 } else { scale.recip() };
    halves::put(scale, out);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "from 0.5 to 16.5 by the choice of the scale"
    )]
    let code = |value: f32| ((value * inverse + 8.5) as u8).min(15);
    let (low, high) = values.split_at(BLOCK / 2);
    for (byte, (low, high)) in out[2..].iter_mut().zip(low.iter().zip(high)) {
        *byte = code(*low) | code(*high) << 4;
    }
}

fn decode(bytes: &[u8], values: &mut [f32; BLOCK]) {
    let scale = halves::get(bytes);
    let (low, high) = values.split_at_mut(BLOCK / 2);
    for ((low, high), byte) in low.iter_mut().zip(high).zip(&bytes[2..]) {
        *low = scale * (f32::from(byte & 15) - 8.0);
        *high = scale * (f32::from(byte >> 4) - 8.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_worked_by_hand() {
        let mut values = [0.0; BLOCK];
        values[..3].copy_from_slice(&[-8.0, 7.6, 2.4]);
        values[16] = -1.5;
        let mut out = [0; 18];
        encode(&values, &mut out);
        // The scale is 1. 7.6 would be 16 and saturates; -1.5 is half-way and goes up.
        assert_eq!(out[..6], [0x00, 0x3c, 0x70, 0x8f, 0x8a, 0x88]);
        let mut back = [1.0; BLOCK];
        decode(&out, &mut back);
        assert_eq!(back[..4], [-8.0, 7.0, 2.0, 0.0]);
        assert_eq!(back[16..18], [-1.0, 0.0]);
    }
}
