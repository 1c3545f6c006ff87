//! `q8_0`: blocks of 32 signed bytes over an f16 scale, as llama.cpp caches them (34 bytes a block).

use super::blocks::{BLOCK, BlockKind, BlockQuantizer, PARAMETERS};
use super::cache::{Cache, CacheQuantizer};
use super::halves;
use crate::methods::ParamError;

/// The registry entry.
pub(super) struct Q80;

static KIND: BlockKind = BlockKind {
    name: "q8_0",
    bytes: 2 + BLOCK,
    encode,
    decode,
};

impl Cache for Q80 {
    fn name(&self) -> &'static str {
        KIND.name
    }

    fn summary(&self) -> &'static str {
        "llama.cpp's blocks of 32 elements with a scale each, 8 bits"
    }

    fn parameters(&self) -> &'static [(&'static str, &'static str)] {
        &PARAMETERS
    }

    fn engines(&self) -> Option<&'static str> {
        Some("llama.cpp -ctk q8_0 -ctv q8_0")
    }

    fn configure(&self, table: &toml::Table) -> Result<Box<dyn CacheQuantizer>, ParamError> {
        Ok(Box::new(BlockQuantizer::configure(&KIND, table)?))
    }
}

/// `d = max |x| / 127`, codes `round(x / d)`; the division is by `d` before it is rounded to f16.
fn encode(values: &[f32; BLOCK], out: &mut [u8]) {
    let largest = values.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
    let scale = largest / 127.0;
    let inverse = if scale > 0.0 { scale.recip() } else { 0.0 };
    halves::put(scale, out);
    for (byte, value) in out[2..].iter_mut().zip(values) {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "at most 127 by the choice of the scale"
        )]
        let code = (value * inverse).round() as i8;
        *byte = code.cast_unsigned();
    }
}

fn decode(bytes: &[u8], values: &mut [f32; BLOCK]) {
    let scale = halves::get(bytes);
    for (value, byte) in values.iter_mut().zip(&bytes[2..]) {
        *value = scale * f32::from(byte.cast_signed());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_worked_by_hand() {
        let mut values = [0.0; BLOCK];
        values[..3].copy_from_slice(&[-254.0, 3.0, 100.0]);
        let mut out = [0; 34];
        encode(&values, &mut out);
        // The scale is 2; 1.5 rounds away from zero.
        assert_eq!(out[..6], [0x00, 0x40, 129, 2, 50, 0]);
        let mut back = [1.0; BLOCK];
        decode(&out, &mut back);
        assert_eq!(back[..4], [-254.0, 4.0, 100.0, 0.0]);
    }
}
