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
        1 => pack_eights::<1>(codes, out),
        2 => pack_eights::<2>(codes, out),
        3 => pack_eights::<3>(codes, out),
        4 => pack_nibbles(codes, out),
        5 => pack_eights::<5>(codes, out),
        6 => pack_eights::<6>(codes, out),
        7 => pack_eights::<7>(codes, out),
        8 => out.copy_from_slice(codes),
        other => panic!("codes have 1 to 8 bits, not {other}"),
    }
}

/// Reads back what [`pack`] wrote.
pub(super) fn unpack(packed: &[u8], bits: u8, codes: &mut [u8]) {
    debug_assert_eq!(packed.len(), bytes(codes.len(), bits));
    match bits {
        1 => unpack_eights::<1>(packed, codes),
        2 => unpack_eights::<2>(packed, codes),
        3 => unpack_eights::<3>(packed, codes),
        4 => unpack_nibbles(packed, codes),
        5 => unpack_eights::<5>(packed, codes),
        6 => unpack_eights::<6>(packed, codes),
        7 => unpack_eights::<7>(packed, codes),
        8 => codes.copy_from_slice(packed),
        other => panic!("codes have 1 to 8 bits, not {other}"),
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

/// Eight codes are `BITS` bytes; every shift is known when compiling.
fn pack_eights<const BITS: usize>(codes: &[u8], out: &mut [u8]) {
    let (eights, rest) = codes.as_chunks::<8>();
    let (out, last) = out.split_at_mut(eights.len() * BITS);
    for (out, codes) in out.chunks_exact_mut(BITS).zip(eights) {
        out.copy_from_slice(&word_of::<BITS>(*codes).to_le_bytes()[..BITS]);
    }
    let mut codes = [0; 8];
    codes[..rest.len()].copy_from_slice(rest);
    last.copy_from_slice(&word_of::<BITS>(codes).to_le_bytes()[..last.len()]);
}

fn unpack_eights<const BITS: usize>(packed: &[u8], codes: &mut [u8]) {
    let (eights, rest) = codes.as_chunks_mut::<8>();
    let (packed, last) = packed.split_at(eights.len() * BITS);
    for (packed, codes) in packed.chunks_exact(BITS).zip(eights) {
        *codes = codes_of::<BITS>(packed);
    }
    rest.copy_from_slice(&codes_of::<BITS>(last)[..rest.len()]);
}

fn word_of<const BITS: usize>(codes: [u8; 8]) -> u64 {
    let mut word = 0;
    for (at, code) in codes.iter().enumerate() {
        word |= u64::from(*code) << (at * BITS);
    }
    word
}

fn codes_of<const BITS: usize>(packed: &[u8]) -> [u8; 8] {
    let mut bytes = [0; 8];
    bytes[..packed.len()].copy_from_slice(packed);
    let word = u64::from_le_bytes(bytes);
    std::array::from_fn(|at| {
        #[expect(clippy::cast_possible_truncation, reason = "masked to at most 8 bits")]
        let code = (word >> (at * BITS) & ((1 << BITS) - 1)) as u8;
        code
    })
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
