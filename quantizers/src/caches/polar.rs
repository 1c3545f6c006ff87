//! `polar`: rotated heads in polar coordinates, sixteen at a time.
//!
//! Source: "`PolarQuant`: Quantizing KV Caches with Polar Transformation" (Han, Kacham, Karbasi, Mirrokni, Zandieh,
//! 2025); not the method of Wu et al. that has the same name. Pairs of coordinates become a radius and an angle, pairs
//! of radii again, four times: of sixteen coordinates one radius is left, stored as f16, and 15 angles, 8 of 4 bits
//! and 7 of 2. After a random rotation the angles follow known laws, whose best tables are used (the paper's
//! codebooks made beforehand).

use super::artifact::{CacheTensor, Reader};
use super::cache::{Cache, CacheCodec, CachePlan, CacheQuantizer, Encoded};
use super::error::CacheError;
use super::halves;
use super::lloyd::Density;
use super::rotation::{ROTATION, Rotation, RotationKind, SEED};
use super::shape::{CacheShape, Part};
use crate::MatrixRef;
use crate::methods::ParamError;
use crate::methods::parameters::Parameters;
use std::f32::consts::TAU;

/// The registry entry.
pub(super) struct Polar;

const NAME: &str = "polar";
/// Coordinates of which one radius is stored.
const BLOCK: usize = 16;
/// Bits of the angles of each level.
const BITS: [u8; 4] = [4, 2, 2, 2];
/// Angles of a block, level after level: 8, 4, 2 and 1.
const ANGLES: usize = 15;
/// Bits of the angles of a block.
const ANGLE_BITS: usize = 8 * 4 + 7 * 2;

const PARAMETERS: [(&str, &str); 2] = [ROTATION, SEED];

/// A configured [`Polar`].
#[derive(Debug, Clone, Copy)]
struct PolarQuantizer {
    rotation: RotationKind,
    seed: u64,
}

impl Cache for Polar {
    fn name(&self) -> &'static str {
        NAME
    }

    fn summary(&self) -> &'static str {
        "rotated heads in polar coordinates, a radius and 15 angles for every 16 elements"
    }

    fn parameters(&self) -> &'static [(&'static str, &'static str)] {
        &PARAMETERS
    }

    fn engines(&self) -> Option<&'static str> {
        None
    }

    fn configure(&self, table: &toml::Table) -> Result<Box<dyn CacheQuantizer>, ParamError> {
        let parameters = Parameters::new(NAME, &PARAMETERS, table)?;
        Ok(Box::new(PolarQuantizer {
            rotation: parameters
                .choice("rotation", &RotationKind::CHOICES)?
                .unwrap_or(RotationKind::Qr),
            seed: parameters
                .integer("seed", 0..=i64::MAX)?
                .map_or(42, i64::unsigned_abs),
        }))
    }
}

/// Bytes of a head: its radii, and its angles in whole bytes.
fn bytes(dim: usize) -> usize {
    let blocks = dim / BLOCK;
    2 * blocks + (ANGLE_BITS * blocks).div_ceil(8)
}

impl CacheQuantizer for PolarQuantizer {
    fn plan(&self, shape: CacheShape) -> Result<CachePlan, CacheError> {
        let bits = |part| {
            let found = shape.dim(part);
            if found == 0 || !found.is_multiple_of(BLOCK) {
                return Err(CacheError::Block {
                    method: NAME,
                    part,
                    block: BLOCK,
                    found,
                });
            }
            Ok((8 * bytes(found)) as f64 / found as f64)
        };
        Ok(CachePlan {
            randomised: true,
            ..CachePlan::new(bits(Part::Keys)?, bits(Part::Values)?)
        })
    }

    fn restore(
        &self,
        shape: CacheShape,
        tensors: &[CacheTensor],
    ) -> Result<Box<dyn CacheCodec>, CacheError> {
        self.plan(shape)?;
        Reader::new(tensors).finish()?;
        let rotation =
            |part| Rotation::new(self.rotation, shape.dim(part), self.seed, (NAME, part));
        Ok(Box::new(PolarCodec {
            shape,
            settings: *self,
            keys: rotation(Part::Keys)?,
            values: rotation(Part::Values)?,
            levels: [
                Level::first(),
                Level::later(2, BITS[1]),
                Level::later(3, BITS[2]),
                Level::later(4, BITS[3]),
            ],
        }))
    }
}

/// The table of a level, and the directions of its entries.
#[derive(Debug, Clone)]
struct Level {
    angles: Vec<f32>,
    /// Cosine and sine of each angle.
    directions: Vec<(f32, f32)>,
    /// Cosine and sine of the borders between neighbours; of those of the first quadrant where the table is a circle.
    borders: [(f32, f32); 3],
    is_circle: bool,
}

impl Level {
    /// All directions alike: 16 equal sectors.
    fn first() -> Self {
        let sectors = 1_u8 << BITS[0];
        let middle = |at| (f32::from(at) + 0.5) * TAU / f32::from(sectors);
        Self::new((0..sectors).map(middle).collect(), true)
    }

    fn later(level: u32, bits: u8) -> Self {
        let found = Density::angle(level).table(1 << bits).values;
        #[expect(clippy::cast_possible_truncation, reason = "tables are held as f32")]
        let entries = found.into_iter().map(|angle| angle as f32).collect();
        Self::new(entries, false)
    }

    fn new(angles: Vec<f32>, is_circle: bool) -> Self {
        let direction = |angle: f32| (angle.cos(), angle.sin());
        let border = |at: usize| direction(0.5 * (angles[at] + angles[at + 1]));
        Self {
            directions: angles.iter().map(|angle| direction(*angle)).collect(),
            borders: [border(0), border(1), border(2)],
            angles,
            is_circle,
        }
    }

    /// The entry nearest the direction of `(x, y)`: the number of borders it is beyond, counted within its quadrant.
    fn nearest(&self, x: f32, y: f32) -> u8 {
        let (quadrant, x, y) = match (x < 0.0, y < 0.0) {
            _ if !self.is_circle => (0, x, y),
            (false, false) => (0, x, y),
            (true, false) => (1, y, -x),
            (true, true) => (2, -x, -y),
            (false, true) => (3, -y, x),
        };
        let beyond = self
            .borders
            .map(|(cosine, sine)| u8::from(y * cosine > x * sine));
        4 * quadrant + beyond.iter().sum::<u8>()
    }
}

struct PolarCodec {
    shape: CacheShape,
    settings: PolarQuantizer,
    keys: Rotation,
    values: Rotation,
    levels: [Level; 4],
}

impl PolarCodec {
    fn rotation(&self, part: Part) -> &Rotation {
        match part {
            Part::Keys => &self.keys,
            Part::Values => &self.values,
        }
    }

    /// The angles of a block as codes, level after level, and its radius.
    fn encode_block(&self, values: &[f32], codes: &mut [u8; ANGLES]) -> f32 {
        let mut radii = [0.0; BLOCK];
        radii.copy_from_slice(values);
        let mut rest = &mut codes[..];
        let mut count = BLOCK / 2;
        for level in &self.levels {
            let (own, later) = rest.split_at_mut(count);
            for (pair, code) in own.iter_mut().enumerate() {
                let (x, y) = (radii[2 * pair], radii[2 * pair + 1]);
                *code = level.nearest(x, y);
                radii[pair] = (x * x + y * y).sqrt();
            }
            rest = later;
            count /= 2;
        }
        radii[0]
    }

    fn decode_block(&self, codes: &[u8; ANGLES], radius: f32, out: &mut [f32]) {
        let mut radii = [radius; BLOCK];
        let mut end = ANGLES;
        let mut count = 1;
        for level in self.levels.iter().rev() {
            let own = &codes[end - count..end];
            // From the last pair: a radius is read before its place is written.
            for (pair, code) in own.iter().enumerate().rev() {
                let (cosine, sine) = level.directions[usize::from(*code)];
                let radius = radii[pair];
                radii[2 * pair] = radius * cosine;
                radii[2 * pair + 1] = radius * sine;
            }
            end -= count;
            count *= 2;
        }
        out.copy_from_slice(&radii);
    }
}

/// Writes the angles of a block at bit `46 block` of a head.
fn put(codes: &[u8; ANGLES], block: usize, out: &mut [u8]) {
    let mut word = 0u64;
    let mut shift = 0;
    for (at, code) in codes.iter().enumerate() {
        word |= u64::from(*code) << shift;
        shift += if at < BLOCK / 2 { BITS[0] } else { BITS[1] };
    }
    // 46 bits at one of the even places of a byte are within seven bytes.
    let bit = ANGLE_BITS * block;
    let bytes = (word << (bit % 8)).to_le_bytes();
    for (out, byte) in out[bit / 8..].iter_mut().zip(bytes) {
        *out |= byte;
    }
}

fn get(bytes: &[u8], block: usize) -> [u8; ANGLES] {
    let bit = ANGLE_BITS * block;
    let mut word = [0; 8];
    for (word, byte) in word.iter_mut().zip(&bytes[bit / 8..]) {
        *word = *byte;
    }
    let word = u64::from_le_bytes(word) >> (bit % 8);
    std::array::from_fn(|at| {
        let (shift, bits) = if at < BLOCK / 2 {
            (usize::from(BITS[0]) * at, BITS[0])
        } else {
            (32 + usize::from(BITS[1]) * (at - BLOCK / 2), BITS[1])
        };
        #[expect(clippy::cast_possible_truncation, reason = "masked to at most 4 bits")]
        let code = (word >> shift & ((1 << bits) - 1)) as u8;
        code
    })
}

impl CacheCodec for PolarCodec {
    fn encode(&self, part: Part, tokens: MatrixRef<'_>) -> Encoded {
        assert_eq!(
            tokens.cols(),
            self.shape.channels(part),
            "channels of {}",
            part.name()
        );
        let dim = self.shape.dim(part);
        let mut packed = vec![0; tokens.data().len() / dim * bytes(dim)];
        let (mut values, mut room) = (vec![0.0; dim], vec![0.0; dim]);
        let mut codes = [0; ANGLES];
        for (own, out) in tokens.data().chunks(dim).zip(packed.chunks_mut(bytes(dim))) {
            values.copy_from_slice(own);
            self.rotation(part).forward(&mut values, &mut room);
            let (radii, angles) = out.split_at_mut(2 * (dim / BLOCK));
            let blocks = values.chunks(BLOCK).zip(radii.chunks_mut(2));
            for (block, (values, radius)) in blocks.enumerate() {
                halves::put(self.encode_block(values, &mut codes), radius);
                put(&codes, block, angles);
            }
        }
        Encoded {
            tokens: tokens.rows(),
            bytes: packed,
        }
    }

    fn decode(&self, part: Part, encoded: &Encoded, out: &mut [f32]) {
        let dim = self.shape.dim(part);
        assert_eq!(out.len(), encoded.tokens * self.shape.channels(part));
        assert_eq!(encoded.bytes.len(), out.len() / dim * bytes(dim));
        let mut room = vec![0.0; dim];
        for (out, packed) in out.chunks_mut(dim).zip(encoded.bytes.chunks(bytes(dim))) {
            let (radii, angles) = packed.split_at(2 * (dim / BLOCK));
            let blocks = out.chunks_mut(BLOCK).zip(radii.chunks(2));
            for (block, (values, radius)) in blocks.enumerate() {
                self.decode_block(&get(angles, block), halves::get(radius), values);
            }
            self.rotation(part).backward(out, &mut room);
        }
    }

    fn tensors(&self) -> Vec<CacheTensor> {
        Vec::new()
    }

    fn settings(&self) -> serde_json::Value {
        let codebooks: Vec<&[f32]> = self.levels.iter().map(|level| &level.angles[..]).collect();
        serde_json::json!({
            "bits": BITS,
            "block": BLOCK,
            "codebooks": codebooks,
            "rotation": self.settings.rotation.settings(self.settings.seed),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::caches::tests::data::{fitted, normal, relative_error, round_trip, shape};

    // With the radius as f16 instead of exact, which adds 1e-7.
    #[test]
    fn the_relative_error_of_normal_vectors_is_the_known_one() {
        let data = normal(4000 * 128, 41);
        for rule in ["", "rotation = \"hadamard\""] {
            let (_, codec) = fitted(NAME, rule, shape(1, 128), &data).unwrap();
            for part in Part::ALL {
                let found = relative_error(&data, &round_trip(codec.as_ref(), part, &data, 128));
                assert!((found / 0.0320 - 1.0).abs() < 0.03, "{rule}: {found}");
            }
        }
    }

    #[test]
    fn angles_of_neighbouring_blocks_do_not_touch_each_other() {
        let mut bytes = [0; 23];
        let blocks = [
            [15, 0, 1, 2, 3, 4, 5, 14, 3, 2, 1, 0, 2, 1, 3],
            [0; 15],
            [9, 9, 9, 9, 9, 9, 9, 9, 1, 1, 1, 1, 1, 1, 1],
        ];
        for block in [0, 2, 1] {
            put(&blocks[block], block, &mut bytes);
        }
        for (block, codes) in blocks.iter().enumerate() {
            assert_eq!(get(&bytes, block), *codes);
        }
        // 138 bits: six of the last byte are never written.
        put(
            &[15, 15, 15, 15, 15, 15, 15, 15, 3, 3, 3, 3, 3, 3, 3],
            3,
            &mut bytes,
        );
        assert_eq!(bytes[17] >> 2, 0b11_1111);
    }

    #[test]
    fn a_direction_takes_the_nearest_angle_all_around() {
        for level in [Level::first(), Level::later(2, 2), Level::later(4, 2)] {
            let end = if level.is_circle { TAU } else { TAU / 4.0 };
            for step in 0..1000 {
                let angle = end * (step as f32 + 0.5) / 1000.0;
                let found = level.nearest(3.0 * angle.cos(), 3.0 * angle.sin());
                let off = |entry: &f32| (entry - angle).abs();
                let best = level.angles.iter().map(off).fold(f32::MAX, f32::min);
                assert!(
                    off(&level.angles[usize::from(found)]) <= best + 1e-6,
                    "{angle}"
                );
            }
        }
    }
}
