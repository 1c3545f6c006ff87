//! Tokens to bytes and back: heads one after the other, each in whole bytes.

use super::settings::{Code, NAME, PartSettings, Settings};
use super::split::Split;
use crate::MatrixRef;
use crate::caches::artifact::{CacheTensor, Reader};
use crate::caches::cache::{CacheCodec, Encoded};
use crate::caches::e4m3::E4M3;
use crate::caches::error::CacheError;
use crate::caches::samples::CacheSamples;
use crate::caches::shape::{CacheShape, Part};
use crate::caches::unit_vectors::{Room, Turn, UnitCode};
use crate::caches::{groups, halves};
use half::f16;

/// A codec of one layer.
pub(super) struct TurboCodec {
    pub(super) settings: Settings,
    pub(super) keys: PartCodec,
    pub(super) values: PartCodec,
}

/// Keys or values of one layer.
pub(super) struct PartCodec {
    part: Part,
    settings: PartSettings,
    kv_heads: usize,
    dim: usize,
    /// Mean of each channel, where it is taken away.
    means: Option<Vec<f32>>,
    split: Option<Split>,
    /// One for all channels, or one for the wide ones and one for the others.
    units: Vec<UnitCode>,
}

const MEANS: &str = "k_mean";

impl PartCodec {
    pub(super) fn fit(
        settings: &Settings,
        shape: CacheShape,
        part: Part,
        samples: &CacheSamples<'_>,
    ) -> Result<Self, CacheError> {
        let wide = settings.of(part).wide(shape.dim(part));
        let split = (wide > 0).then(|| Split::fit(shape, part, wide, samples));
        let is_centred = settings.centres_keys && part == Part::Keys;
        let means = is_centred.then(|| means(samples.of(part), shape.channels(part)));
        Self::new(settings, shape, part, (means, split))
    }

    pub(super) fn restore(
        settings: &Settings,
        shape: CacheShape,
        part: Part,
        reader: &mut Reader<'_>,
    ) -> Result<Self, CacheError> {
        let wide = settings.of(part).wide(shape.dim(part));
        let split = match wide {
            0 => None,
            wide => Some(Split::restore(shape, part, wide, reader)?),
        };
        let means = if settings.centres_keys && part == Part::Keys {
            let found = reader.f16(MEANS, &[shape.kv_heads, shape.key_dim])?;
            Some(found.into_iter().map(f16::to_f32).collect())
        } else {
            None
        };
        Self::new(settings, shape, part, (means, split))
    }

    fn new(
        settings: &Settings,
        shape: CacheShape,
        part: Part,
        (means, split): (Option<Vec<f32>>, Option<Split>),
    ) -> Result<Self, CacheError> {
        let (own, dim) = (*settings.of(part), shape.dim(part));
        let turn = Turn {
            kind: settings.rotation,
            seed: settings.seed,
            of: (NAME, part),
        };
        let wide = own.wide(dim);
        let units = match own.code {
            Code::Fp8 | Code::Uniform => Vec::new(),
            Code::Unit(kind) if wide > 0 => vec![
                UnitCode::new(wide, own.bits + 1, kind, turn)?,
                UnitCode::new(dim - wide, own.bits, kind, turn)?,
            ],
            Code::Unit(kind) => vec![UnitCode::new(dim, own.bits, kind, turn)?],
        };
        Ok(Self {
            part,
            settings: own,
            kv_heads: shape.kv_heads,
            dim,
            means,
            split,
            units,
        })
    }

    fn encode(&self, tokens: MatrixRef<'_>) -> Encoded {
        let width = self.kv_heads * self.dim;
        assert_eq!(tokens.cols(), width, "channels of {}", self.part.name());
        let head_bytes = self.settings.bytes(self.dim);
        let mut bytes = vec![0; tokens.rows() * self.kv_heads * head_bytes];
        let mut room = Room::new(self.dim);
        let mut values = vec![0.0; self.dim];
        let mut ordered = vec![0.0; self.dim];
        let heads = tokens
            .data()
            .chunks(self.dim)
            .zip(bytes.chunks_mut(head_bytes));
        for (at, (own, out)) in heads.enumerate() {
            let head = at % self.kv_heads;
            values.copy_from_slice(own);
            if let Some(means) = &self.means {
                for (value, mean) in values.iter_mut().zip(&means[head * self.dim..]) {
                    *value -= mean;
                }
            }
            if let Some(split) = &self.split {
                for (ordered, channel) in ordered.iter_mut().zip(split.order(head)) {
                    *ordered = values[*channel];
                }
                values.copy_from_slice(&ordered);
            }
            self.encode_head(&mut values, out, &mut room);
        }
        Encoded {
            tokens: tokens.rows(),
            bytes,
        }
    }

    fn encode_head(&self, values: &mut [f32], out: &mut [u8], room: &mut Room) {
        match self.settings.code {
            Code::Fp8 => {
                for (byte, value) in out.iter_mut().zip(values) {
                    *byte = (E4M3.encode)(*value);
                }
            }
            Code::Uniform => groups::encode(values, self.dim, self.settings.bits, out),
            Code::Unit(_) => {
                let (mut values, mut out) = (values, out);
                let wide = self.settings.wide(self.dim);
                let lengths = [wide, self.dim - wide]
                    .into_iter()
                    .filter(|length| *length > 0);
                for (unit, length) in self.units.iter().zip(lengths) {
                    let (own, rest) = values.split_at_mut(length);
                    let (own_bytes, rest_bytes) = out.split_at_mut(unit.bytes());
                    unit.encode(own, own_bytes, room);
                    (values, out) = (rest, rest_bytes);
                }
            }
        }
    }

    fn decode(&self, encoded: &Encoded, out: &mut [f32]) {
        let head_bytes = self.settings.bytes(self.dim);
        assert_eq!(out.len(), encoded.tokens * self.kv_heads * self.dim);
        assert_eq!(encoded.bytes.len(), out.len() / self.dim * head_bytes);
        let mut room = Room::new(self.dim);
        let mut ordered = vec![0.0; self.dim];
        let heads = out
            .chunks_mut(self.dim)
            .zip(encoded.bytes.chunks(head_bytes));
        for (at, (out, bytes)) in heads.enumerate() {
            let head = at % self.kv_heads;
            if let Some(split) = &self.split {
                self.decode_head(bytes, &mut ordered, &mut room);
                for (value, channel) in ordered.iter().zip(split.order(head)) {
                    out[*channel] = *value;
                }
            } else {
                self.decode_head(bytes, out, &mut room);
            }
            if let Some(means) = &self.means {
                for (value, mean) in out.iter_mut().zip(&means[head * self.dim..]) {
                    *value += mean;
                }
            }
        }
    }

    fn decode_head(&self, bytes: &[u8], out: &mut [f32], room: &mut Room) {
        match self.settings.code {
            Code::Fp8 => {
                for (value, byte) in out.iter_mut().zip(bytes) {
                    *value = (E4M3.decode)(*byte);
                }
            }
            Code::Uniform => groups::decode(bytes, self.dim, self.settings.bits, out),
            Code::Unit(_) => {
                let (mut bytes, mut out) = (bytes, out);
                let wide = self.settings.wide(self.dim);
                let lengths = [wide, self.dim - wide]
                    .into_iter()
                    .filter(|length| *length > 0);
                for (unit, length) in self.units.iter().zip(lengths) {
                    let (own, rest) = out.split_at_mut(length);
                    let (own_bytes, rest_bytes) = bytes.split_at(unit.bytes());
                    unit.decode(own_bytes, own, room);
                    (bytes, out) = (rest_bytes, rest);
                }
            }
        }
    }

    fn tensors(&self, tensors: &mut Vec<CacheTensor>) {
        if let Some(split) = &self.split {
            tensors.push(split.tensor(self.part));
        }
        if let Some(means) = &self.means {
            let stored = means.iter().map(|mean| halves::to_half(*mean)).collect();
            tensors.push(CacheTensor::f16(
                MEANS,
                vec![self.kv_heads, self.dim],
                stored,
            ));
        }
    }

    fn settings(&self) -> serde_json::Value {
        let of_unit = |unit: &UnitCode| serde_json::json!({ "codebook": unit.entries(), "sketch": unit.sketch_settings() });
        serde_json::json!({
            "code": self.settings.code.name(),
            "bits": self.settings.exact_bits(),
            "vectors": self.units.iter().map(of_unit).collect::<Vec<_>>(),
        })
    }
}

/// The mean of each channel, as f16 holds it.
fn means(samples: &[MatrixRef<'_>], width: usize) -> Vec<f32> {
    let mut sums = vec![0.0_f64; width];
    let mut tokens = 0.0;
    for row in samples
        .iter()
        .flat_map(|sample| sample.data().chunks(width))
    {
        tokens += 1.0;
        for (sum, value) in sums.iter_mut().zip(row) {
            *sum += f64::from(*value);
        }
    }
    #[expect(clippy::cast_possible_truncation, reason = "stored as f16")]
    let mean = |sum: f64| halves::rounded((sum / f64::max(tokens, 1.0)) as f32);
    sums.into_iter().map(mean).collect()
}

impl TurboCodec {
    fn part(&self, part: Part) -> &PartCodec {
        match part {
            Part::Keys => &self.keys,
            Part::Values => &self.values,
        }
    }
}

impl CacheCodec for TurboCodec {
    fn encode(&self, part: Part, tokens: MatrixRef<'_>) -> Encoded {
        self.part(part).encode(tokens)
    }

    fn decode(&self, part: Part, encoded: &Encoded, out: &mut [f32]) {
        self.part(part).decode(encoded, out);
    }

    fn tensors(&self) -> Vec<CacheTensor> {
        let mut tensors = Vec::new();
        self.keys.tensors(&mut tensors);
        self.values.tensors(&mut tensors);
        tensors
    }

    fn settings(&self) -> serde_json::Value {
        serde_json::json!({
            "keys": self.keys.settings(),
            "values": self.values.settings(),
            "centre_keys": self.settings.centres_keys,
            "rotation": self.settings.rotation.settings(self.settings.seed),
        })
    }
}
