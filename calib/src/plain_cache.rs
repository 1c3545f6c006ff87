//! Keys and values kept as floats, of 32 bits as they come or of 16.

use crate::key_value_store::{KeptRows, KeptTokens, KeyValueStore, NewTokens, RotateAll};
use half::f16;
use half::slice::HalfFloatSliceExt;
use std::borrow::Cow;
use std::fmt;

/// Tokens for which room is made at a time.
const ROOM: usize = 256;

/// Floats keys and values are kept as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CacheFloats {
    /// 16 bits: half the bytes, and log-probabilities that move in their fourth digit. Rows that hold a value beyond them
    /// are kept as 32-bit floats from then on.
    #[default]
    F16,
    /// 32 bits, as they are computed.
    F32,
}

impl CacheFloats {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::F16, Self::F32];

    /// The name it is asked for by.
    pub fn name(self) -> &'static str {
        match self {
            Self::F16 => "f16",
            Self::F32 => "f32",
        }
    }

    /// The one called `name`.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|floats| floats.name() == name)
    }
}

impl fmt::Display for CacheFloats {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

/// Keys, rotated, and values as floats; those that a window has passed are dropped.
#[derive(Debug)]
pub struct PlainCache {
    keys: Rows,
    values: Rows,
    /// Tokens dropped.
    passed: usize,
}

impl PlainCache {
    /// An empty one.
    pub fn new(floats: CacheFloats) -> Self {
        let rows = Rows {
            floats: match floats {
                CacheFloats::F16 => Floats::Half(Vec::new()),
                CacheFloats::F32 => Floats::Single(Vec::new()),
            },
            width: 0,
            start: 0,
        };
        Self {
            keys: rows.clone(),
            values: rows,
            passed: 0,
        }
    }
}

impl KeyValueStore for PlainCache {
    fn append(&mut self, new: NewTokens<'_>) {
        self.keys.append(new.key, new.tokens);
        self.values.append(new.value, new.tokens);
    }

    fn last(&mut self, window: usize, _rotate: RotateAll<'_>) -> KeptTokens<'_> {
        let dropped = self.keys.tokens().saturating_sub(window);
        self.passed += dropped;
        for rows in [&mut self.keys, &mut self.values] {
            rows.start += dropped * rows.width;
        }
        KeptTokens {
            tokens: self.keys.tokens(),
            keys: self.keys.held(),
            values: self.values.held(),
        }
    }

    fn truncate(&mut self, tokens: usize) -> bool {
        if tokens > 0 && self.passed > 0 {
            return false;
        }
        self.passed = 0;
        for rows in [&mut self.keys, &mut self.values] {
            rows.truncate(tokens);
        }
        true
    }

    fn bytes(&self) -> usize {
        self.keys.bytes() + self.values.bytes()
    }
}

#[derive(Debug, Clone)]
enum Floats {
    Single(Vec<f32>),
    Half(Vec<f16>),
}

/// Rows of tokens, `[tokens, width]`.
#[derive(Debug, Clone)]
struct Rows {
    floats: Floats,
    width: usize,
    /// Values of tokens that are dropped.
    start: usize,
}

impl Rows {
    fn append(&mut self, rows: &[f32], tokens: usize) {
        self.width = rows.len() / tokens.max(1);
        if let Floats::Half(halves) = &self.floats {
            let most = f16::MAX.to_f32();
            // Neither is what is not a number.
            let all_fit = rows.iter().all(|x| x.abs() <= most);
            if !all_fit {
                self.floats = Floats::Single(halves.to_f32_vec());
            }
        }
        let room = ROOM * self.width.max(1);
        let start = &mut self.start;
        match &mut self.floats {
            Floats::Single(values) => {
                make_room(values, start, rows.len(), room);
                values.extend_from_slice(rows);
            }
            Floats::Half(values) => {
                make_room(values, start, rows.len(), room);
                let from = values.len();
                values.resize(from + rows.len(), f16::ZERO);
                values[from..].convert_from_f32_slice(rows);
            }
        }
    }

    fn held(&self) -> KeptRows<'_> {
        match &self.floats {
            Floats::Single(values) => KeptRows::Single(Cow::Borrowed(&values[self.start..])),
            Floats::Half(values) => KeptRows::Half(&values[self.start..]),
        }
    }

    fn tokens(&self) -> usize {
        self.held().count() / self.width.max(1)
    }

    /// Those of which nothing has been dropped, or all there are.
    fn truncate(&mut self, tokens: usize) {
        self.start = 0;
        let count = tokens * self.width;
        match &mut self.floats {
            Floats::Single(values) => values.truncate(count),
            Floats::Half(values) => values.truncate(count),
        }
    }

    fn bytes(&self) -> usize {
        let each = match self.floats {
            Floats::Single(_) => size_of::<f32>(),
            Floats::Half(_) => size_of::<f16>(),
        };
        self.held().count() * each
    }
}

/// Room for `new` more values and a few tokens, not for twice as many, without those before `start`.
fn make_room<T>(values: &mut Vec<T>, start: &mut usize, new: usize, room: usize) {
    if values.len() + new > values.capacity() {
        values.drain(..*start);
        *start = 0;
        values.reserve_exact(new.next_multiple_of(room));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn append(cache: &mut PlainCache, key: &[f32], value: &[f32]) {
        let new = NewTokens {
            tokens: 1,
            unrotated: key,
            key,
            value,
        };
        cache.append(new);
    }

    #[test]
    fn halves_are_rounded_and_take_half_the_bytes() {
        let (mut half, mut exact) = (
            PlainCache::new(CacheFloats::F16),
            PlainCache::new(CacheFloats::F32),
        );
        for cache in [&mut half, &mut exact] {
            for token in 0..700_u16 {
                let x = f32::from(token) + 0.1;
                append(cache, &[x, -x], &[1.0 / x, 2.0]);
            }
        }
        assert_eq!(exact.bytes(), 700 * 4 * size_of::<f32>());
        assert_eq!(half.bytes(), exact.bytes() / 2);
        let rounded = |x: f32| f16::from_f32(x).to_f32();
        let expected = exact.last(5, &|_| ()).keys.values().into_owned();
        let kept = half.last(5, &|_| ());
        assert_eq!(kept.tokens, 5);
        assert_eq!(
            kept.keys.values().into_owned(),
            expected.into_iter().map(rounded).collect::<Vec<f32>>()
        );
        let mut room = Vec::new();
        let part = kept.keys.part(1..3, 1..2, 2, &mut room);
        assert_eq!((part.rows(), part.cols()), (2, 1));
        assert_eq!((part.row(0), part.row(1)), (&[-696.0][..], &[-697.0][..]));
        assert!(!half.truncate(3), "a window has passed them");
        assert!(half.truncate(0) && half.bytes() == 0);
    }

    #[test]
    fn what_16_bits_do_not_hold_is_kept_in_32() {
        for beyond in [70_000.0, f32::NAN] {
            let mut cache = PlainCache::new(CacheFloats::F16);
            append(&mut cache, &[1.0], &[0.1]);
            append(&mut cache, &[beyond], &[0.1]);
            append(&mut cache, &[3.0], &[0.1]);
            let kept = cache.last(usize::MAX, &|_| ());
            let keys = kept.keys.values().into_owned();
            assert_eq!((keys[0], keys[2]), (1.0, 3.0));
            assert_eq!(keys[1].to_bits(), beyond.to_bits());
            assert!(matches!(kept.values, KeptRows::Half(_)));
            assert_eq!(cache.bytes(), 3 * 4 + 3 * 2);
        }
    }

    #[test]
    fn cut_texts_go_on_where_they_were_cut() {
        let mut cache = PlainCache::new(CacheFloats::F16);
        for token in 0..9_u8 {
            append(&mut cache, &[f32::from(token)], &[0.0]);
        }
        assert!(cache.truncate(2));
        append(&mut cache, &[40.0], &[0.0]);
        let kept = cache.last(usize::MAX, &|_| ());
        assert_eq!(kept.keys.values().into_owned(), [0.0, 1.0, 40.0]);
    }
}
