//! Blocks of 32 elements along a head, as llama.cpp caches them, with its rotation.
//!
//! Since pull request 21038 (April 2026) llama.cpp rotates a quantized cache where the head dimension is a multiple
//! of 64: keys, and queries with them, by the orthonormal Hadamard matrix of the largest power of two that divides
//! it, values by that of 64. What it rotates back after attention is rotated back here when values are read.

use super::artifact::{CacheTensor, Reader};
use super::cache::{CacheCodec, CachePlan, CacheQuantizer, Encoded};
use super::error::CacheError;
use super::hadamard;
use super::shape::{CacheShape, Part};
use crate::MatrixRef;
use crate::methods::ParamError;
use crate::methods::parameters::Parameters;

/// Elements of a block.
pub(super) const BLOCK: usize = 32;

/// One kind of blocks.
pub(super) struct BlockKind {
    /// Name in recipes and in llama.cpp.
    pub(super) name: &'static str,
    /// Bytes of a block.
    pub(super) bytes: usize,
    /// Packs 32 values.
    pub(super) encode: fn(&[f32; BLOCK], &mut [u8]),
    /// Reads them back.
    pub(super) decode: fn(&[u8], &mut [f32; BLOCK]),
}

pub(super) const PARAMETERS: [(&str, &str); 1] = [(
    "rotation",
    "`auto` (default): rotate heads whose dimension is a multiple of 64, as llama.cpp does since April 2026; `off`: as with LLAMA_ATTN_ROT_DISABLE=1",
)];

/// A configured kind of blocks.
pub(super) struct BlockQuantizer {
    pub(super) kind: &'static BlockKind,
    rotates: bool,
}

impl BlockQuantizer {
    pub(super) fn configure(
        kind: &'static BlockKind,
        table: &toml::Table,
    ) -> Result<Self, ParamError> {
        let parameters = Parameters::new(kind.name, &PARAMETERS, table)?;
        let rotates = parameters.choice("rotation", &[("auto", true), ("off", false)])?;
        Ok(Self {
            kind,
            rotates: rotates.unwrap_or(true),
        })
    }
}

impl CacheQuantizer for BlockQuantizer {
    fn plan(&self, shape: CacheShape) -> Result<CachePlan, CacheError> {
        for part in Part::ALL {
            let found = shape.dim(part);
            if found == 0 || !found.is_multiple_of(BLOCK) {
                return Err(CacheError::Block {
                    method: self.kind.name,
                    part,
                    block: BLOCK,
                    found,
                });
            }
        }
        let bits = (8 * self.kind.bytes) as f64 / BLOCK as f64;
        let mut plan = CachePlan::new(bits, bits);
        if self.rotates
            && !Part::ALL
                .iter()
                .all(|part| shape.dim(*part).is_multiple_of(64))
        {
            plan.notes.push(
                "heads whose dimension is no multiple of 64 are not rotated, as in llama.cpp"
                    .to_owned(),
            );
        }
        Ok(plan)
    }

    fn restore(
        &self,
        shape: CacheShape,
        tensors: &[CacheTensor],
    ) -> Result<Box<dyn CacheCodec>, CacheError> {
        self.plan(shape)?;
        Reader::new(tensors).finish()?;
        Ok(Box::new(BlockCodec {
            shape,
            kind: self.kind,
            rotates: self.rotates,
        }))
    }
}

struct BlockCodec {
    shape: CacheShape,
    kind: &'static BlockKind,
    rotates: bool,
}

impl BlockCodec {
    /// Elements that are rotated together; 1 where nothing is.
    fn order(&self, part: Part) -> usize {
        let dim = self.shape.dim(part);
        match part {
            _ if !self.rotates || !dim.is_multiple_of(64) => 1,
            Part::Keys => 1 << dim.trailing_zeros(),
            Part::Values => 64,
        }
    }

    /// The orthonormal matrix is its own inverse.
    fn rotate(&self, part: Part, values: &mut [f32]) {
        let order = self.order(part);
        if order > 1 {
            for block in values.chunks_mut(order) {
                hadamard::transform(block);
            }
        }
    }
}

impl CacheCodec for BlockCodec {
    fn encode(&self, part: Part, tokens: MatrixRef<'_>) -> Encoded {
        assert_eq!(
            tokens.cols(),
            self.shape.channels(part),
            "channels of {}",
            part.name()
        );
        let mut bytes = vec![0; tokens.data().len() / BLOCK * self.kind.bytes];
        let mut rotated = tokens.data().to_vec();
        self.rotate(part, &mut rotated);
        let (blocks, _) = rotated.as_chunks::<BLOCK>();
        for (block, out) in blocks.iter().zip(bytes.chunks_mut(self.kind.bytes)) {
            (self.kind.encode)(block, out);
        }
        Encoded {
            tokens: tokens.rows(),
            bytes,
        }
    }

    fn decode(&self, part: Part, encoded: &Encoded, out: &mut [f32]) {
        assert_eq!(out.len(), encoded.tokens * self.shape.channels(part));
        assert_eq!(encoded.bytes.len(), out.len() / BLOCK * self.kind.bytes);
        let (blocks, _) = out.as_chunks_mut::<BLOCK>();
        for (block, bytes) in blocks.iter_mut().zip(encoded.bytes.chunks(self.kind.bytes)) {
            (self.kind.decode)(bytes, block);
        }
        self.rotate(part, out);
    }

    fn tensors(&self) -> Vec<CacheTensor> {
        Vec::new()
    }

    fn settings(&self) -> serde_json::Value {
        serde_json::json!({
            "block": BLOCK,
            "rotation": if self.rotates { "auto" } else { "off" },
            "k_rotation_order": self.order(Part::Keys),
            "v_rotation_order": self.order(Part::Values),
        })
    }
}
