//! Tokens to bytes and back.
//!
//! Keys: for each group of tokens and each head, the outlier channels in a byte each, and then for each token the
//! length of the key and of its outlier channels as f16, the signs of the others and those of the outlier channels.

use super::settings::{Rows, Settings};
use crate::MatrixRef;
use crate::caches::artifact::CacheTensor;
use crate::caches::cache::{CacheCodec, Encoded};
use crate::caches::shape::{CacheShape, Part};
use crate::caches::sketch::Sketch;
use crate::caches::{groups, halves};

/// A codec of one layer.
pub(super) struct QjlCodec {
    shape: CacheShape,
    settings: Settings,
    rows: Rows,
    sketch: Sketch,
}

/// Buffers of one key.
struct Room {
    inner: Vec<f32>,
    outer: Vec<f32>,
    is_outlier: Vec<bool>,
}

impl QjlCodec {
    pub(super) fn new(shape: CacheShape, settings: Settings) -> Self {
        let rows = settings.rows(shape);
        Self {
            shape,
            settings,
            rows,
            // The rows of a smaller matrix are the first of a larger one, so that all layers share them.
            sketch: Sketch::new(settings.sketch, rows.inner, shape.key_dim, settings.seed),
        }
    }

    fn room(&self) -> Room {
        let dim = self.shape.key_dim;
        Room {
            inner: vec![0.0; dim],
            outer: vec![0.0; dim],
            is_outlier: vec![false; dim],
        }
    }

    /// Bytes of all heads of a group of `tokens` keys.
    fn group_bytes(&self, tokens: usize) -> usize {
        let head = self.settings.outlier_count + tokens * self.settings.key_bytes(self.rows);
        self.shape.kv_heads * head
    }

    fn bytes(&self, part: Part, tokens: usize) -> usize {
        match part {
            Part::Keys => {
                let group = self.settings.group;
                let rest = tokens % group;
                let rest = if rest > 0 { self.group_bytes(rest) } else { 0 };
                tokens / group * self.group_bytes(group) + rest
            }
            Part::Values => {
                let group = self.settings.value_group;
                let groups = tokens * self.shape.channels(part) / group;
                groups * groups::bytes(group, self.settings.value_bits)
            }
        }
    }

    /// The channels of the largest sum of squares over the tokens of a group, ascending; `keys` are those of one
    /// head.
    fn outliers(&self, keys: &[&[f32]]) -> Vec<usize> {
        let mut squares = vec![0.0_f32; self.shape.key_dim];
        for key in keys {
            for (sum, value) in squares.iter_mut().zip(*key) {
                *sum += value * value;
            }
        }
        let mut order: Vec<usize> = (0..squares.len()).collect();
        order.sort_by(|a, b| squares[*b].total_cmp(&squares[*a]).then(a.cmp(b)));
        order.truncate(self.settings.outlier_count);
        order.sort_unstable();
        order
    }

    fn encode_key(&self, key: &[f32], out: &mut [u8], room: &mut Room) {
        let has_outliers = self.settings.outlier_count > 0;
        for (at, value) in key.iter().enumerate() {
            let is_outlier = room.is_outlier[at];
            room.inner[at] = if is_outlier { 0.0 } else { *value };
            room.outer[at] = if is_outlier { *value } else { 0.0 };
        }
        halves::put(length(key), out);
        let signs = if has_outliers {
            halves::put(length(&room.outer), &mut out[2..]);
            &mut out[4..]
        } else {
            &mut out[2..]
        };
        let (inner, outer) = signs.split_at_mut(self.rows.inner / 8);
        self.sketch.signs(&room.inner, self.rows.inner, inner);
        if has_outliers {
            self.sketch.signs(&room.outer, self.rows.outer, outer);
        }
    }

    fn decode_key(&self, bytes: &[u8], out: &mut [f32], room: &mut Room) {
        let whole = halves::get(bytes);
        if self.settings.outlier_count == 0 {
            self.sketch.read(&bytes[2..], self.rows.inner, whole, out);
            return;
        }
        let outer = halves::get(&bytes[2..]);
        let inner = (whole * whole - outer * outer).max(0.0).sqrt();
        let (inner_signs, outer_signs) = bytes[4..].split_at(self.rows.inner / 8);
        self.sketch
            .read(inner_signs, self.rows.inner, inner, &mut room.inner);
        self.sketch
            .read(outer_signs, self.rows.outer, outer, &mut room.outer);
        let parts = room.inner.iter().zip(&room.outer);
        for ((out, (inner, outer)), is_outlier) in out.iter_mut().zip(parts).zip(&room.is_outlier) {
            *out = if *is_outlier { *outer } else { *inner };
        }
    }

    fn encode_keys(&self, tokens: MatrixRef<'_>, bytes: &mut [u8]) {
        let (dim, width) = (self.shape.key_dim, tokens.cols());
        let (group, key_bytes) = (self.settings.group, self.settings.key_bytes(self.rows));
        let mut room = self.room();
        let groups = tokens.data().chunks(group * width);
        for (rows, bytes) in groups.zip(bytes.chunks_mut(self.group_bytes(group))) {
            let head_bytes = bytes.len() / self.shape.kv_heads;
            for (head, bytes) in bytes.chunks_mut(head_bytes).enumerate() {
                let keys: Vec<&[f32]> = rows
                    .chunks(width)
                    .map(|row| &row[head * dim..][..dim])
                    .collect();
                let (channels, bytes) = bytes.split_at_mut(self.settings.outlier_count);
                room.is_outlier.fill(false);
                for (byte, channel) in channels.iter_mut().zip(self.outliers(&keys)) {
                    room.is_outlier[channel] = true;
                    *byte = u8::try_from(channel).unwrap_or(u8::MAX);
                }
                for (key, bytes) in keys.into_iter().zip(bytes.chunks_mut(key_bytes)) {
                    self.encode_key(key, bytes, &mut room);
                }
            }
        }
    }

    fn decode_keys(&self, bytes: &[u8], out: &mut [f32]) {
        let (dim, width) = (self.shape.key_dim, self.shape.channels(Part::Keys));
        let (group, key_bytes) = (self.settings.group, self.settings.key_bytes(self.rows));
        let mut room = self.room();
        let groups = out.chunks_mut(group * width);
        for (rows, bytes) in groups.zip(bytes.chunks(self.group_bytes(group))) {
            let head_bytes = bytes.len() / self.shape.kv_heads;
            for (head, bytes) in bytes.chunks(head_bytes).enumerate() {
                let (channels, bytes) = bytes.split_at(self.settings.outlier_count);
                room.is_outlier.fill(false);
                for channel in channels {
                    room.is_outlier[usize::from(*channel)] = true;
                }
                for (row, bytes) in rows.chunks_mut(width).zip(bytes.chunks(key_bytes)) {
                    self.decode_key(bytes, &mut row[head * dim..][..dim], &mut room);
                }
            }
        }
    }
}

impl CacheCodec for QjlCodec {
    fn encode(&self, part: Part, tokens: MatrixRef<'_>) -> Encoded {
        assert_eq!(
            tokens.cols(),
            self.shape.channels(part),
            "channels of {}",
            part.name()
        );
        let mut bytes = vec![0; self.bytes(part, tokens.rows())];
        let Settings {
            value_bits,
            value_group,
            ..
        } = self.settings;
        match part {
            Part::Keys => self.encode_keys(tokens, &mut bytes),
            Part::Values => groups::encode(tokens.data(), value_group, value_bits, &mut bytes),
        }
        Encoded {
            tokens: tokens.rows(),
            bytes,
        }
    }

    fn decode(&self, part: Part, encoded: &Encoded, out: &mut [f32]) {
        assert_eq!(out.len(), encoded.tokens * self.shape.channels(part));
        assert_eq!(encoded.bytes.len(), self.bytes(part, encoded.tokens));
        let Settings {
            value_bits,
            value_group,
            ..
        } = self.settings;
        match part {
            Part::Keys => self.decode_keys(&encoded.bytes, out),
            Part::Values => groups::decode(&encoded.bytes, value_group, value_bits, out),
        }
    }

    fn tensors(&self) -> Vec<CacheTensor> {
        Vec::new()
    }

    fn settings(&self) -> serde_json::Value {
        let settings = &self.settings;
        serde_json::json!({
            "rows": self.rows.inner,
            "outlier_rows": self.rows.outer,
            "outlier_count": settings.outlier_count,
            "group": settings.group,
            "value_bits": settings.value_bits,
            "value_group": settings.value_group,
            "buffer": settings.buffer,
            "sketch": self.sketch.settings(),
        })
    }
}

fn length(values: &[f32]) -> f32 {
    values.iter().map(|value| value * value).sum::<f32>().sqrt()
}
