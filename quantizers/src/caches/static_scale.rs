//! One byte for each element, over a scale that calibration fixes: of the tensor or of each head.
//!
//! The tensors are those of compressed-tensors: `k_scale` and `v_scale`, `[1]` or `[kv_heads, 1, 1]`.

use super::artifact::{CacheTensor, Reader};
use super::cache::{CacheCodec, CachePlan, Encoded};
use super::error::CacheError;
use super::samples::CacheSamples;
use super::shape::{CacheShape, Part};
use crate::MatrixRef;
use half::bf16;

/// What shares a scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Granularity {
    /// The keys, or the values, of a layer.
    Tensor,
    /// Those of one head.
    Head,
}

/// Help for the key `granularity`.
pub(super) const GRANULARITY: (&str, &str) = (
    "granularity",
    "what shares a scale: `tensor` (default), the keys or values of a layer; `head`, those of one head",
);

impl Granularity {
    /// Names in recipes.
    pub(super) const CHOICES: [(&'static str, Self); 2] =
        [("tensor", Self::Tensor), ("head", Self::Head)];

    fn name(self) -> &'static str {
        match self {
            Self::Tensor => "tensor",
            Self::Head => "head",
        }
    }

    /// Name in compressed-tensors.
    pub(super) fn strategy(self) -> &'static str {
        match self {
            Self::Tensor => "tensor",
            Self::Head => "attn_head",
        }
    }

    fn shape(self, shape: CacheShape) -> Vec<usize> {
        match self {
            Self::Tensor => vec![1],
            Self::Head => vec![shape.kv_heads, 1, 1],
        }
    }
}

/// Numbers of one byte.
pub(super) struct ByteNumber {
    /// The largest.
    pub(super) largest: f32,
    /// The nearest byte; saturates.
    pub(super) encode: fn(f32) -> u8,
    /// Its value.
    pub(super) decode: fn(u8) -> f32,
}

/// What any layer will look like.
pub(super) fn plan() -> CachePlan {
    CachePlan {
        needs_samples: true,
        ..CachePlan::new(8.0, 8.0)
    }
}

/// Scales of one layer.
pub(super) struct StaticScaleCodec {
    shape: CacheShape,
    granularity: Granularity,
    number: &'static ByteNumber,
    values: Vec<f32>,
    key_scales: Vec<f32>,
    value_scales: Vec<f32>,
}

impl StaticScaleCodec {
    /// Scales that bring the largest magnitude of the samples to the largest number, rounded to bf16: engines load
    /// them in the type of the model. Without a value other than zero a scale is 1, as engines take an absent one.
    pub(super) fn fit(
        shape: CacheShape,
        samples: &CacheSamples<'_>,
        granularity: Granularity,
        number: &'static ByteNumber,
    ) -> Result<Self, CacheError> {
        samples.require(shape, 0)?;
        let scales = |part| {
            let mut largest = vec![0.0_f32; shape.kv_heads];
            let dim = shape.dim(part);
            for row in samples
                .of(part)
                .iter()
                .flat_map(|s| s.data().chunks(shape.channels(part)))
            {
                for (largest, head) in largest.iter_mut().zip(row.chunks(dim)) {
                    *largest = head.iter().fold(*largest, |most, x| most.max(x.abs()));
                }
            }
            if granularity == Granularity::Tensor {
                largest = vec![largest.into_iter().fold(0.0, f32::max)];
            }
            let scale = |largest: f32| match bf16::from_f32(largest / number.largest).to_f32() {
                0.0 => 1.0,
                scale => scale,
            };
            largest.into_iter().map(scale).collect()
        };
        Ok(Self::new(
            shape,
            granularity,
            number,
            (scales(Part::Keys), scales(Part::Values)),
        ))
    }

    /// The codec of an artifact.
    pub(super) fn restore(
        shape: CacheShape,
        tensors: &[CacheTensor],
        granularity: Granularity,
        number: &'static ByteNumber,
    ) -> Result<Self, CacheError> {
        let mut reader = Reader::new(tensors);
        let form = granularity.shape(shape);
        let keys = reader.scales("k_scale", &form)?;
        let values = reader.scales("v_scale", &form)?;
        reader.finish()?;
        Ok(Self::new(shape, granularity, number, (keys, values)))
    }

    fn new(
        shape: CacheShape,
        granularity: Granularity,
        number: &'static ByteNumber,
        (key_scales, value_scales): (Vec<f32>, Vec<f32>),
    ) -> Self {
        Self {
            shape,
            granularity,
            number,
            values: (0..=u8::MAX).map(number.decode).collect(),
            key_scales,
            value_scales,
        }
    }

    fn scales(&self, part: Part) -> &[f32] {
        match part {
            Part::Keys => &self.key_scales,
            Part::Values => &self.value_scales,
        }
    }

    /// The scale of each head in turn, token after token.
    fn scale_of_heads(&self, part: Part) -> impl Iterator<Item = f32> {
        let scales = self.scales(part);
        let heads = (0..self.shape.kv_heads).cycle();
        heads.map(move |head| scales[head.min(scales.len() - 1)])
    }
}

impl CacheCodec for StaticScaleCodec {
    fn encode(&self, part: Part, tokens: MatrixRef<'_>) -> Encoded {
        assert_eq!(
            tokens.cols(),
            self.shape.channels(part),
            "channels of {}",
            part.name()
        );
        let mut bytes = vec![0; tokens.data().len()];
        let dim = self.shape.dim(part);
        let heads = tokens.data().chunks(dim).zip(bytes.chunks_mut(dim));
        for ((head, bytes), scale) in heads.zip(self.scale_of_heads(part)) {
            for (byte, value) in bytes.iter_mut().zip(head) {
                *byte = (self.number.encode)(value / scale);
            }
        }
        Encoded {
            tokens: tokens.rows(),
            bytes,
        }
    }

    fn decode(&self, part: Part, encoded: &Encoded, out: &mut [f32]) {
        assert_eq!(out.len(), encoded.tokens * self.shape.channels(part));
        assert_eq!(out.len(), encoded.bytes.len());
        let dim = self.shape.dim(part);
        let heads = out.chunks_mut(dim).zip(encoded.bytes.chunks(dim));
        for ((head, bytes), scale) in heads.zip(self.scale_of_heads(part)) {
            for (value, byte) in head.iter_mut().zip(bytes) {
                *value = self.values[usize::from(*byte)] * scale;
            }
        }
    }

    fn tensors(&self) -> Vec<CacheTensor> {
        let form = self.granularity.shape(self.shape);
        Part::ALL
            .map(|part| {
                let name = format!("{}_scale", part.letter());
                CacheTensor::f32(name, form.clone(), self.scales(part).to_vec())
            })
            .into()
    }

    fn settings(&self) -> serde_json::Value {
        serde_json::json!({ "bits": 8, "granularity": self.granularity.name() })
    }
}
