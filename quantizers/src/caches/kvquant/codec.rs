//! Tokens to bytes and back.
//!
//! Tokens are stored side by side in sections: the codes of each, in whole bytes; low and high end of each as f16,
//! where tokens have ranges of their own; for each the number of outliers up to and with it, 32 bits; and the
//! outliers, a 16-bit channel and an f16 each.

use super::extremes::Extremes;
use super::found::outside;
use super::ranges::{Ends, Scaling, of_token};
use super::settings::Settings;
use crate::MatrixRef;
use crate::caches::artifact::{CacheTensor, Reader};
use crate::caches::cache::{CacheCodec, Encoded};
use crate::caches::error::CacheError;
use crate::caches::shape::{CacheShape, Part};
use crate::caches::table::{self, Table};
use crate::caches::{codes, halves};
use half::f16;
use multiversion::multiversion;

/// Calibrated ranges of the channels.
#[derive(Debug, Clone, Default)]
pub(super) struct Channels {
    ends: Vec<Ends>,
    low: Vec<f32>,
    high: Vec<f32>,
    zero: Vec<f32>,
    range: Vec<f32>,
    inverse: Vec<f32>,
}

impl Channels {
    pub(super) fn new(ends: Vec<Ends>) -> Self {
        let of = |value: fn(&Ends) -> f32| ends.iter().map(value).collect();
        Self {
            low: of(|ends| ends.low.to_f32()),
            high: of(|ends| ends.high.to_f32()),
            zero: of(|ends| ends.scaling().zero),
            range: of(|ends| ends.scaling().range),
            inverse: of(|ends| ends.scaling().inverse),
            ends,
        }
    }

    pub(super) fn ends(&self) -> &[Ends] {
        &self.ends
    }
}

/// Keys or values of one layer, fitted.
#[derive(Debug, Clone)]
pub(super) struct PartCodec {
    pub(super) part: Part,
    pub(super) settings: Settings,
    /// Channels of a token.
    pub(super) width: usize,
    /// Ranges of channels; absent where each token has its own.
    pub(super) channels: Option<Channels>,
    pub(super) table: Table,
    /// Scale and offset of what is read back, where it is corrected.
    pub(super) q_norm: Option<[f32; 2]>,
    /// What squared errors of the table counted by.
    pub(super) weights: &'static str,
}

/// A codec of one layer.
pub(super) struct KvQuantCodec {
    pub(super) shape: CacheShape,
    pub(super) settings: Settings,
    pub(super) keys: PartCodec,
    pub(super) values: PartCodec,
}

impl PartCodec {
    /// The part of an artifact.
    pub(super) fn restore(
        settings: &Settings,
        shape: CacheShape,
        part: Part,
        reader: &mut Reader<'_>,
    ) -> Result<Self, CacheError> {
        let (letter, width) = (part.letter(), shape.channels(part));
        let entries = reader.table(&format!("{letter}_lut"), 1 << settings.bits)?;
        let q_norm = if settings.q_norm {
            let found = reader.f32(&format!("{letter}_qnorm"), &[2])?;
            Some([found[0], found[1]])
        } else {
            None
        };
        let channels = if settings.is_per_token(part) {
            None
        } else {
            let low = reader.f16(&format!("{letter}_lo"), &[width])?;
            let name = format!("{letter}_hi");
            let high = reader.f16(&name, &[width])?;
            let pairs = low.into_iter().zip(high);
            let ends: Vec<Ends> = pairs.map(|(low, high)| Ends { low, high }).collect();
            if let Some(at) = ends.iter().position(|ends| ends.low >= ends.high) {
                return Err(CacheError::TensorValue {
                    name,
                    at,
                    expected: "more than the low end of the channel",
                    found: ends[at].high.to_f32(),
                });
            }
            Some(Channels::new(ends))
        };
        Ok(Self {
            part,
            settings: *settings,
            width,
            channels,
            table: Table::new(entries),
            q_norm,
            weights: "as fitted",
        })
    }

    fn tensors(&self, tensors: &mut Vec<CacheTensor>) {
        let letter = self.part.letter();
        if let Some(channels) = &self.channels {
            let of = |value: fn(&Ends) -> f16| channels.ends.iter().map(value).collect();
            let shape = vec![self.width];
            tensors.push(CacheTensor::f16(
                format!("{letter}_lo"),
                shape.clone(),
                of(|e| e.low),
            ));
            tensors.push(CacheTensor::f16(
                format!("{letter}_hi"),
                shape,
                of(|e| e.high),
            ));
        }
        let entries = self.table.entries().to_vec();
        tensors.push(CacheTensor::f32(
            format!("{letter}_lut"),
            vec![entries.len()],
            entries,
        ));
        if let Some(q_norm) = self.q_norm {
            tensors.push(CacheTensor::f32(
                format!("{letter}_qnorm"),
                vec![2],
                q_norm.to_vec(),
            ));
        }
    }

    /// The entries that are read back.
    fn decoded_entries(&self) -> Vec<f32> {
        let [scale, offset] = self.q_norm.unwrap_or([1.0, 0.0]);
        let entries = self.table.entries().iter();
        entries.map(|entry| entry * scale + offset).collect()
    }

    fn encode(&self, tokens: MatrixRef<'_>) -> Encoded {
        assert_eq!(
            tokens.cols(),
            self.width,
            "channels of {}",
            self.part.name()
        );
        let (rows, width) = (tokens.rows(), self.width);
        let dense = codes::bytes(width, self.settings.bits);
        let mut bytes = vec![0; rows * self.settings.bytes_per_token(self.part, width)];
        let (packed, rest) = bytes.split_at_mut(rows * dense);
        let ranges = if self.channels.is_none() { 4 * rows } else { 0 };
        let (ranges, pointers) = rest.split_at_mut(ranges);
        let per_tail = self.settings.per_tail(width);
        let mut scaled = vec![0.0; width];
        let mut room = vec![0; width];
        let mut extremes = Extremes::default();
        let mut outliers = Vec::new();
        let mut sparse = Vec::new();
        for row in 0..rows {
            let values = tokens.row(row);
            if let Some(channels) = &self.channels {
                normalise_channels(values, &channels.zero, &channels.inverse, &mut scaled);
                if self.settings.outlier_fraction > 0.0 {
                    outliers.clear();
                    outside(values, &channels.low, &channels.high, &mut outliers);
                    if self.settings.caps {
                        cap(&mut outliers, &scaled, per_tail);
                    }
                }
            } else {
                let ends = of_token(values, per_tail, &mut extremes, &mut outliers);
                let Scaling { zero, inverse, .. } = ends.scaling();
                normalise(values, zero, inverse, &mut scaled);
                let range = &mut ranges[4 * row..][..4];
                range[..2].copy_from_slice(&ends.low.to_le_bytes());
                range[2..].copy_from_slice(&ends.high.to_le_bytes());
            }
            let packed = &mut packed[row * dense..][..dense];
            self.table
                .pack(&scaled, self.settings.bits, &mut room, packed);
            if self.settings.outlier_fraction > 0.0 {
                put_outliers(&outliers, &mut sparse);
                let count = u32::try_from(sparse.len() / 4).unwrap_or(u32::MAX);
                pointers[4 * row..][..4].copy_from_slice(&count.to_le_bytes());
            }
        }
        bytes.append(&mut sparse);
        Encoded {
            tokens: rows,
            bytes,
        }
    }

    fn decode(&self, encoded: &Encoded, out: &mut [f32]) {
        let (rows, width) = (encoded.tokens, self.width);
        assert_eq!(out.len(), rows * width);
        let dense = codes::bytes(width, self.settings.bits);
        let fixed = rows * self.settings.bytes_per_token(self.part, width);
        let (bytes, sparse) = encoded.bytes.split_at(fixed);
        let (packed, rest) = bytes.split_at(rows * dense);
        let ranges = if self.channels.is_none() { 4 * rows } else { 0 };
        let (ranges, pointers) = rest.split_at(ranges);
        let entries = self.decoded_entries();
        let mut room = vec![0; width];
        let mut scaled = vec![0.0; entries.len()];
        let (mut outliers, _) = sparse.as_chunks::<4>();
        let mut before = 0;
        for (row, out) in out.chunks_mut(width).enumerate() {
            let packed = &packed[row * dense..][..dense];
            let bits = self.settings.bits;
            if let Some(channels) = &self.channels {
                table::unpack(&entries, packed, bits, &mut room, out);
                restore_channels(out, &channels.zero, &channels.range);
            } else {
                let [low, high] = [0, 2]
                    .map(|at| f16::from_le_bytes([ranges[4 * row + at], ranges[4 * row + at + 1]]));
                let Scaling { zero, range, .. } = Ends { low, high }.scaling();
                for (scaled, entry) in scaled.iter_mut().zip(&entries) {
                    *scaled = entry * range + zero;
                }
                table::unpack(&scaled, packed, bits, &mut room, out);
            }
            if let Some(pointer) = pointers.as_chunks::<4>().0.get(row) {
                let after = u32::from_le_bytes(*pointer);
                let (own, rest) = outliers.split_at((after - before) as usize);
                for [low, high, value @ ..] in own {
                    out[usize::from(u16::from_le_bytes([*low, *high]))] = halves::get(value);
                }
                (outliers, before) = (rest, after);
            }
        }
        assert!(outliers.is_empty(), "outliers of {rows} tokens");
    }
}

/// Outliers as a 16-bit channel and an f16.
fn put_outliers(outliers: &[(f32, usize)], sparse: &mut Vec<u8>) {
    for (value, channel) in outliers {
        let channel = u16::try_from(*channel).unwrap_or(u16::MAX);
        sparse.extend_from_slice(&channel.to_le_bytes());
        sparse.extend_from_slice(&halves::to_half(*value).to_le_bytes());
    }
}

/// Keeps the `per_tail` outliers of each tail that are furthest out, after what they are in `scaled`.
fn cap(outliers: &mut Vec<(f32, usize)>, scaled: &[f32], per_tail: usize) {
    outliers.sort_by(|a, b| scaled[a.1].total_cmp(&scaled[b.1]).then(a.1.cmp(&b.1)));
    let below = outliers.partition_point(|(_, at)| scaled[*at] < 0.0);
    outliers.drain(below..below.max(outliers.len().saturating_sub(per_tail)));
    outliers.drain(per_tail.min(below)..below);
}

#[multiversion(targets("x86_64+avx2"))]
fn normalise_channels(values: &[f32], zero: &[f32], inverse: &[f32], out: &mut [f32]) {
    let ranges = zero.iter().zip(inverse);
    for ((out, value), (zero, inverse)) in out.iter_mut().zip(values).zip(ranges) {
        *out = (value - zero) * inverse;
    }
}

#[multiversion(targets("x86_64+avx2"))]
fn normalise(values: &[f32], zero: f32, inverse: f32, out: &mut [f32]) {
    for (out, value) in out.iter_mut().zip(values) {
        *out = (value - zero) * inverse;
    }
}

#[multiversion(targets("x86_64+avx2"))]
fn restore_channels(values: &mut [f32], zero: &[f32], range: &[f32]) {
    for (value, (zero, range)) in values.iter_mut().zip(zero.iter().zip(range)) {
        *value = *value * range + zero;
    }
}

impl KvQuantCodec {
    fn part(&self, part: Part) -> &PartCodec {
        match part {
            Part::Keys => &self.keys,
            Part::Values => &self.values,
        }
    }
}

impl CacheCodec for KvQuantCodec {
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
        let settings = &self.settings;
        serde_json::json!({
            "bits": settings.bits,
            "datatype": if settings.is_uniform { "uniform" } else { "nuq" },
            "outlier_fraction": settings.outlier_fraction,
            "outliers_per_tail": Part::ALL.map(|part| settings.per_tail(self.shape.channels(part))),
            "cap_outliers": settings.caps,
            "sinks": settings.sinks,
            "weights": self.keys.weights,
            "q_norm": settings.q_norm,
            "hook": settings.hook.name(),
            "keys": if settings.keys_per_channel { "channel" } else { "token" },
        })
    }
}
