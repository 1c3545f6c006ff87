//! Integers over a scale that every head of every token has for itself, measured when the token is cached.
//!
//! A head is its scale as f32 and then the codes in whole bytes; asymmetric ones have two f16, the scale and the
//! minimum, in its place.

use super::artifact::{CacheTensor, Reader};
use super::cache::{CacheCodec, CachePlan, Encoded};
use super::error::CacheError;
use super::shape::{CacheShape, Part};
use super::{codes, groups};
use crate::MatrixRef;
use multiversion::multiversion;

/// Settings of `int8-token-head` and `int4-token-head`.
#[derive(Debug, Clone, Copy)]
pub(super) struct TokenHead {
    /// Bits of a code.
    pub(super) bits: u8,
    /// Whether codes are signed about zero.
    pub(super) symmetric: bool,
}

impl TokenHead {
    pub(super) fn plan(self, shape: CacheShape) -> CachePlan {
        let bits = |part| (8 * self.bytes(shape.dim(part))) as f64 / shape.dim(part) as f64;
        CachePlan::new(bits(Part::Keys), bits(Part::Values))
    }

    pub(super) fn restore(
        self,
        shape: CacheShape,
        tensors: &[CacheTensor],
    ) -> Result<Box<dyn CacheCodec>, CacheError> {
        Reader::new(tensors).finish()?;
        Ok(Box::new(TokenHeadCodec {
            shape,
            settings: self,
        }))
    }

    fn bytes(self, dim: usize) -> usize {
        4 + codes::bytes(dim, self.bits)
    }
}

struct TokenHeadCodec {
    shape: CacheShape,
    settings: TokenHead,
}

impl CacheCodec for TokenHeadCodec {
    fn encode(&self, part: Part, tokens: MatrixRef<'_>) -> Encoded {
        assert_eq!(
            tokens.cols(),
            self.shape.channels(part),
            "channels of {}",
            part.name()
        );
        let TokenHead { bits, symmetric } = self.settings;
        let dim = self.shape.dim(part);
        let mut bytes = vec![0; tokens.data().len() / dim * self.settings.bytes(dim)];
        if symmetric {
            let mut room = vec![0; dim];
            let heads = bytes.chunks_mut(self.settings.bytes(dim));
            for (out, values) in heads.zip(tokens.data().chunks(dim)) {
                let scale = round(values, f32::from(i8::MAX >> (8 - bits)), &mut room);
                out[..4].copy_from_slice(&scale.to_le_bytes());
                codes::pack(&room, bits, &mut out[4..]);
            }
        } else {
            groups::encode(tokens.data(), dim, bits, &mut bytes);
        }
        Encoded {
            tokens: tokens.rows(),
            bytes,
        }
    }

    fn decode(&self, part: Part, encoded: &Encoded, out: &mut [f32]) {
        let TokenHead { bits, symmetric } = self.settings;
        let dim = self.shape.dim(part);
        assert_eq!(out.len(), encoded.tokens * self.shape.channels(part));
        assert_eq!(
            encoded.bytes.len(),
            out.len() / dim * self.settings.bytes(dim)
        );
        if !symmetric {
            groups::decode(&encoded.bytes, dim, bits, out);
            return;
        }
        let offset = f32::from(i8::MAX >> (8 - bits));
        let mut room = vec![0; dim];
        let heads = encoded.bytes.chunks(self.settings.bytes(dim));
        for (bytes, out) in heads.zip(out.chunks_mut(dim)) {
            let (scale, packed) = bytes.split_at(4);
            let scale = f32::from_le_bytes([scale[0], scale[1], scale[2], scale[3]]);
            codes::unpack(packed, bits, &mut room);
            for (value, code) in out.iter_mut().zip(&room) {
                *value = scale * (f32::from(*code) - offset);
            }
        }
    }

    fn tensors(&self) -> Vec<CacheTensor> {
        Vec::new()
    }

    fn settings(&self) -> serde_json::Value {
        let TokenHead { bits, symmetric } = self.settings;
        serde_json::json!({ "bits": bits, "symmetric": symmetric })
    }
}

/// Codes `most + round(x / scale)` with `scale = max |x| / most`, which is returned.
#[multiversion(targets("x86_64+avx2"))]
fn round(values: &[f32], most: f32, codes: &mut [u8]) -> f32 {
    let largest = values
        .iter()
        .fold(0.0_f32, |largest, x| largest.max(x.abs()));
    let scale = largest / most;
    let inverse = if scale > 0.0 { scale.recip() } else { 0.0 };
    for (code, value) in codes.iter_mut().zip(values) {
        let steps = (value * inverse).round_ties_even().clamp(-most, most) + most;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "from 0 to twice 127"
        )]
        let narrow = steps as i32 as u8;
        *code = narrow;
    }
    scale
}
