//! A vector as its length and the nearest table entries of its rotated coordinates.
//!
//! Source: "`TurboQuant`: Online Vector Quantization with Near-optimal Distortion Rate" (Zandieh et al., ICLR 2026). The
//! coordinates of a randomly rotated unit vector all follow one law, for which the best table is known beforehand.
//! What is stored: the length as f16, and the codes in whole bytes. `prod` spends one bit of each code on the signs
//! of projections of what is left (see [`super::sketch`]), and stores its length too: inner products are then
//! unbiased.

use super::error::CacheError;
use super::lloyd::Density;
use super::rotation::{Rotation, RotationKind};
use super::shape::Part;
use super::sketch::{Sketch, SketchKind};
use super::table::Table;
use super::{codes, halves};
use multiversion::multiversion;

/// What is stored beside the length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UnitKind {
    /// Codes of all coordinates; `is_normed`: what they say is brought back to length 1.
    Mse {
        /// Norm correction.
        is_normed: bool,
    },
    /// Codes of one bit less, and signs of projections of the rest.
    Prod(SketchKind),
}

/// How vectors are rotated.
#[derive(Debug, Clone, Copy)]
pub(super) struct Turn {
    pub(super) kind: RotationKind,
    pub(super) seed: u64,
    /// Method and part, for messages.
    pub(super) of: (&'static str, Part),
}

/// Packs vectors of one length.
#[derive(Debug, Clone)]
pub(super) struct UnitCode {
    dim: usize,
    /// Bits of a code.
    bits: u8,
    rotation: Rotation,
    /// In units of `1 / sqrt(dim)`.
    table: Table,
    kind: UnitKind,
    sketch: Option<Sketch>,
}

/// Buffers of one vector.
#[derive(Debug)]
pub(super) struct Room {
    values: Vec<f32>,
    codes: Vec<u8>,
}

impl Room {
    pub(super) fn new(dim: usize) -> Self {
        Self {
            values: vec![0.0; dim],
            codes: vec![0; dim],
        }
    }
}

impl UnitCode {
    /// Vectors of `dim` coordinates, at least 4, in `bits` bits for each.
    ///
    /// # Errors
    /// No Hadamard matrix of that order.
    pub(super) fn new(
        dim: usize,
        bits: u8,
        kind: UnitKind,
        turn: Turn,
    ) -> Result<Self, CacheError> {
        let (bits, sketch) = match kind {
            UnitKind::Mse { .. } => (bits, None),
            UnitKind::Prod(sketch) => (bits - 1, Some(Sketch::new(sketch, dim, dim, turn.seed))),
        };
        #[expect(clippy::cast_possible_truncation, reason = "tables are held as f32")]
        let table = match bits {
            // The mean is all that no bits can say.
            0 => vec![0.0],
            bits => {
                let found = Density::coordinate(dim).table(1 << bits).values;
                found.into_iter().map(|value| value as f32).collect()
            }
        };
        Ok(Self {
            dim,
            bits,
            rotation: Rotation::new(turn.kind, dim, turn.seed, turn.of)?,
            table: Table::new(table),
            kind,
            sketch,
        })
    }

    fn code_bytes(&self) -> usize {
        match self.bits {
            0 => 0,
            bits => codes::bytes(self.dim, bits),
        }
    }

    /// Bytes of a vector.
    pub(super) fn bytes(&self) -> usize {
        let rest = match self.kind {
            UnitKind::Mse { .. } => 0,
            UnitKind::Prod(_) => 2 + self.dim.div_ceil(8),
        };
        2 + self.code_bytes() + rest
    }

    /// Entries of the table, in units of `1 / sqrt(dim)`.
    pub(super) fn entries(&self) -> &[f32] {
        self.table.entries()
    }

    /// What an artifact says of the projections, where there are any.
    pub(super) fn sketch_settings(&self) -> Option<serde_json::Value> {
        self.sketch.as_ref().map(Sketch::settings)
    }

    /// Packs `values`, which are overwritten.
    pub(super) fn encode(&self, values: &mut [f32], out: &mut [u8], room: &mut Room) {
        let length = squares(values).sqrt();
        halves::put(length, out);
        self.rotation.forward(values, &mut room.values[..self.dim]);
        let unit = (self.dim as f32).sqrt();
        let inverse = if length > 0.0 { unit / length } else { 0.0 };
        scale(values, inverse);
        let room_codes = &mut room.codes[..self.dim];
        let (packed, rest) = out[2..].split_at_mut(self.code_bytes());
        if self.bits > 0 {
            self.table.pack(values, self.bits, room_codes, packed);
        }
        if let Some(sketch) = &self.sketch {
            self.table.nearest(values, room_codes);
            for (value, code) in values.iter_mut().zip(&*room_codes) {
                *value -= self.table.entries()[usize::from(*code)];
            }
            halves::put(squares(values).sqrt() / unit * length, rest);
            sketch.signs(values, self.dim, &mut rest[2..]);
        }
    }

    /// Reads back what [`Self::encode`] wrote.
    pub(super) fn decode(&self, bytes: &[u8], out: &mut [f32], room: &mut Room) {
        let length = halves::get(bytes);
        let (packed, rest) = bytes[2..].split_at(self.code_bytes());
        if self.bits == 0 {
            out.fill(0.0);
        } else {
            let room_codes = &mut room.codes[..self.dim];
            self.table.unpack(packed, self.bits, room_codes, out);
        }
        let unit = match self.kind {
            UnitKind::Mse { is_normed: true } => squares(out).sqrt(),
            _ => (self.dim as f32).sqrt(),
        };
        scale(out, length / unit);
        if let Some(sketch) = &self.sketch {
            let values = &mut room.values[..self.dim];
            sketch.read(&rest[2..], self.dim, halves::get(rest), values);
            for (out, value) in out.iter_mut().zip(values) {
                *out += *value;
            }
        }
        self.rotation.backward(out, &mut room.values[..self.dim]);
    }
}

#[multiversion(targets("x86_64+avx2+fma"))]
fn scale(values: &mut [f32], factor: f32) {
    for value in values {
        *value *= factor;
    }
}

/// The sum of squares, in eight sums that a vector register holds.
#[multiversion(targets("x86_64+avx2+fma"))]
fn squares(values: &[f32]) -> f32 {
    let (eights, rest) = values.as_chunks::<8>();
    let mut sums = [0.0_f32; 8];
    for eight in eights {
        for lane in 0..8 {
            sums[lane] += eight[lane] * eight[lane];
        }
    }
    sums.iter().sum::<f32>() + rest.iter().map(|value| value * value).sum::<f32>()
}
