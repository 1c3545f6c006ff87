//! Ascending tables of up to 256 values: the nearest of them, and back.

use super::{codes, sixteen};
use multiversion::multiversion;

/// Values that are looked at together.
const LANES: usize = 32;

/// An ascending table.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Table {
    entries: Vec<f32>,
    /// Above which the next entry is nearer, one fewer than entries.
    middles: Vec<f32>,
}

impl Table {
    /// A table of 1 to 256 ascending entries.
    pub(super) fn new(entries: Vec<f32>) -> Self {
        debug_assert!(entries.is_sorted() && (1..=256).contains(&entries.len()));
        let middles = entries.windows(2).map(|pair| 0.5 * (pair[0] + pair[1]));
        Self {
            middles: middles.collect(),
            entries,
        }
    }

    pub(super) fn entries(&self) -> &[f32] {
        &self.entries
    }

    /// Codes of the entries nearest `values`; half-way between two, the lower one.
    pub(super) fn nearest(&self, values: &[f32], codes: &mut [u8]) {
        nearest(&self.middles, values, codes);
    }

    /// Packs [`Self::nearest`] in codes of `bits` bits; `room` is as long as `values`.
    pub(super) fn pack(&self, values: &[f32], bits: u8, room: &mut [u8], out: &mut [u8]) {
        let done = match self.middles.as_array::<15>() {
            Some(middles) if bits == 4 => sixteen::pack(middles, values, out),
            _ => 0,
        };
        if done < values.len() {
            let room = &mut room[done..values.len()];
            self.nearest(&values[done..], room);
            codes::pack(room, bits, &mut out[done * usize::from(bits) / 8..]);
        }
    }

    /// The entries of `codes`.
    pub(super) fn look_up(&self, codes: &[u8], out: &mut [f32]) {
        look_up(&self.entries, codes, out);
    }

    /// The entries of packed codes of `bits` bits; `room` is as long as `out`.
    pub(super) fn unpack(&self, packed: &[u8], bits: u8, room: &mut [u8], out: &mut [f32]) {
        unpack(&self.entries, packed, bits, room, out);
    }
}

/// The `entries` of packed codes of `bits` bits; `room` is as long as `out`.
pub(super) fn unpack(entries: &[f32], packed: &[u8], bits: u8, room: &mut [u8], out: &mut [f32]) {
    let done = match entries.as_array::<16>() {
        Some(entries) if bits == 4 => sixteen::unpack(entries, packed, out),
        _ => 0,
    };
    if done < out.len() {
        let (room, out) = (&mut room[done..out.len()], &mut out[done..]);
        codes::unpack(&packed[done * usize::from(bits) / 8..], bits, room);
        look_up(entries, room, out);
    }
}

fn look_up(entries: &[f32], codes: &[u8], out: &mut [f32]) {
    for (out, code) in out.iter_mut().zip(codes) {
        *out = entries[usize::from(*code)];
    }
}

#[multiversion(targets("x86_64+avx2"))]
fn nearest(middles: &[f32], values: &[f32], codes: &mut [u8]) {
    for (values, codes) in values.chunks(LANES).zip(codes.chunks_mut(LANES)) {
        let mut block = [0.0_f32; LANES];
        block[..values.len()].copy_from_slice(values);
        let mut found = [0_i32; LANES];
        for middle in middles {
            for lane in 0..LANES {
                found[lane] += i32::from(block[lane] > *middle);
            }
        }
        for (code, found) in codes.iter_mut().zip(found) {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "from 0 to the number of middles"
            )]
            let narrow = found as u8;
            *code = narrow;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn values_half_way_take_the_lower_entry() {
        let table = Table::new(vec![-1.0, 0.0, 0.5, 0.5]);
        let mut codes = [9; 5];
        table.nearest(&[-7.0, -0.5, 0.25, 0.250_001, 9.0], &mut codes);
        assert_eq!(codes, [0, 0, 1, 2, 3]);
    }

    proptest! {
        #[test]
        fn no_other_entry_is_nearer(
            mut entries in proptest::collection::vec(-2.0f32..2.0, 1..20),
            values in proptest::collection::vec(-3.0f32..3.0, 0..100),
        ) {
            entries.sort_by(f32::total_cmp);
            let table = Table::new(entries);
            let mut codes = vec![0; values.len()];
            table.nearest(&values, &mut codes);
            let mut found = vec![0.0; values.len()];
            table.look_up(&codes, &mut found);
            for (value, found) in values.iter().zip(&found) {
                let best = table.entries().iter().map(|e| (e - value).abs()).fold(f32::MAX, f32::min);
                // The middle of two entries is rounded.
                prop_assert!((found - value).abs() <= best + 1e-6);
            }
        }

        #[test]
        fn packed_codes_are_those_of_the_nearest_entries(
            mut entries in proptest::collection::vec(-2.0f32..2.0, 16),
            values in proptest::collection::vec(-3.0f32..3.0, 0..100),
        ) {
            entries.sort_by(f32::total_cmp);
            let table = Table::new(entries);
            let mut room = vec![0; values.len()];
            table.nearest(&values, &mut room);
            let mut expected = vec![0; values.len().div_ceil(2)];
            codes::pack(&room, 4, &mut expected);
            let mut found = vec![0; expected.len()];
            let mut other = vec![0; values.len()];
            table.pack(&values, 4, &mut other, &mut found);
            prop_assert_eq!(&found, &expected);
            let (mut entries, mut back) = (vec![0.0; values.len()], vec![0.0; values.len()]);
            table.look_up(&room, &mut entries);
            table.unpack(&found, 4, &mut other, &mut back);
            prop_assert_eq!(back, entries);
        }
    }
}
