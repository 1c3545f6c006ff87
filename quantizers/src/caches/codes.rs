//! Codes as a stream of bits in bytes, least significant bit first.
//!
//! The same order as [`crate::pack`] has in words; a cache is packed in bytes, as a token may end at any of them.

use multiversion::multiversion;

/// Bytes of `count` codes of `bits` bits.
pub(super) fn bytes(count: usize, bits: u8) -> usize {
    (count * usize::from(bits)).div_ceil(8)
}

/// Writes codes below `2^bits` to `out`, which is as long as [`bytes`] says. `bits` is 1..=8.
pub(super) fn pack(codes: &[u8], bits: u8, out: &mut [u8]) {
    debug_assert_eq!(out.len(), bytes(codes.len(), bits));
    match bits {
        1 => pack_narrow::<1>(codes, out),
        2 => pack_narrow::<2>(codes, out),
        4 => pack_nibbles(codes, out),
        8 => out.copy_from_slice(codes),
        _ => pack_any(codes, bits, out),
    }
}

/// Reads back what [`pack`] wrote.
pub(super) fn unpack(packed: &[u8], bits: u8, codes: &mut [u8]) {
    debug_assert_eq!(packed.len(), bytes(codes.len(), bits));
    match bits {
        1 => unpack_narrow::<1>(packed, codes),
        2 => unpack_narrow::<2>(packed, codes),
        4 => unpack_nibbles(packed, codes),
        8 => codes.copy_from_slice(packed),
        _ => unpack_any(packed, bits, codes),
    }
}

#[multiversion(targets("x86_64+avx2"))]
fn pack_nibbles(codes: &[u8], out: &mut [u8]) {
    let (pairs, rest) = codes.as_chunks::<2>();
    for (byte, [low, high]) in out.iter_mut().zip(pairs) {
        *byte = low | high << 4;
    }
    if let ([last], Some(byte)) = (rest, out.last_mut()) {
        *byte = *last;
    }
}

#[multiversion(targets("x86_64+avx2"))]
fn unpack_nibbles(packed: &[u8], codes: &mut [u8]) {
    let (pairs, rest) = codes.as_chunks_mut::<2>();
    for ([low, high], byte) in pairs.iter_mut().zip(packed) {
        *low = byte & 15;
        *high = byte >> 4;
    }
    if let ([code], Some(byte)) = (rest, packed.last()) {
        *code = byte & 15;
    }
}

fn pack_narrow<const BITS: usize>(codes: &[u8], out: &mut [u8]) {
    for (byte, codes) in out.iter_mut().zip(codes.chunks(8 / BITS)) {
        *byte = 0;
        for (at, code) in codes.iter().enumerate() {
            *byte |= code << (at * BITS);
        }
    }
}

fn unpack_narrow<const BITS: usize>(packed: &[u8], codes: &mut [u8]) {
    for (byte, codes) in packed.iter().zip(codes.chunks_mut(8 / BITS)) {
        for (at, code) in codes.iter_mut().enumerate() {
            *code = byte >> (at * BITS) & ((1 << BITS) - 1);
        }
    }
}

/// Eight codes are `bits` bytes.
fn pack_any(codes: &[u8], bits: u8, out: &mut [u8]) {
    for (out, codes) in out.chunks_mut(usize::from(bits)).zip(codes.chunks(8)) {
        let mut word = 0u64;
        for (at, code) in codes.iter().enumerate() {
            word |= u64::from(*code) << (at * usize::from(bits));
        }
        out.copy_from_slice(&word.to_le_bytes()[..out.len()]);
    }
}

fn unpack_any(packed: &[u8], bits: u8, codes: &mut [u8]) {
    let mask = (1u64 << bits) - 1;
    for (packed, codes) in packed.chunks(usize::from(bits)).zip(codes.chunks_mut(8)) {
        let mut word = [0; 8];
        word[..packed.len()].copy_from_slice(packed);
        let word = u64::from_le_bytes(word);
        for (at, code) in codes.iter_mut().enumerate() {
            #[expect(clippy::cast_possible_truncation, reason = "masked to at most 8 bits")]
            let narrow = (word >> (at * usize::from(bits)) & mask) as u8;
            *code = narrow;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_first_code_stands_in_the_lowest_bits() {
        let mut out = [0; 3];
        pack(&[1, 2, 3, 4, 5], 4, &mut out);
        assert_eq!(out, [0x21, 0x43, 0x05]);
        let mut out = [0; 2];
        pack(&[7, 0, 7, 1], 3, &mut out);
        // 0b001_111_000_111
        assert_eq!(out, [0xc7, 0x03]);
    }

    proptest! {
        #[test]
        fn unpacking_undoes_packing_and_bits_lie_as_in_words(
            bits in 1u8..=8,
            values in proptest::collection::vec(any::<u8>(), 0..100),
        ) {
            let codes: Vec<u8> = values.iter().map(|value| value >> (8 - bits)).collect();
            let mut packed = vec![255; bytes(codes.len(), bits)];
            pack(&codes, bits, &mut packed);
            let mut back = vec![255; codes.len()];
            unpack(&packed, bits, &mut back);
            prop_assert_eq!(&back, &codes);
            let words = crate::pack::pack(&codes, codes.len().max(1), bits);
            let words: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
            prop_assert_eq!(&words[..packed.len()], &packed[..]);
        }
    }
}
