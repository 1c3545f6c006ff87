//! Codes as a dense bit stream in 32-bit words, least significant bit first.
//!
//! Value `i` of a row occupies bits `[i * bits, (i + 1) * bits)` of the row's stream; the last word
//! is padded with zero bits. This is the layout of compressed-tensors since 0.18 (until 0.17 a word
//! held `floor(32 / bits)` values and wasted the rest).

use rayon::prelude::*;

/// 32-bit words for `values` codes of `bits` bits.
pub fn words(values: usize, bits: u8) -> usize {
    (values * usize::from(bits)).div_ceil(32)
}

/// Bits of packed `[rows, cols]` codes with the padding of every row.
pub fn storage_bits(rows: usize, cols: usize, bits: u8) -> u64 {
    32 * (rows * words(cols, bits)) as u64
}

/// 32 codes of `BITS` bits are exactly `BITS` words: every shift is known when compiling.
fn pack_block<const BITS: usize>(codes: &[u8; 32]) -> [u32; BITS] {
    let mut words = [0u32; BITS];
    for (i, code) in codes.iter().enumerate() {
        let (word, shift) = (i * BITS / 32, i * BITS % 32);
        words[word] |= u32::from(*code) << shift;
        if shift + BITS > 32 {
            words[word + 1] |= u32::from(*code) >> (32 - shift);
        }
    }
    words
}

/// Undoes [`pack_block`].
fn unpack_block<const BITS: usize>(words: &[u32; BITS]) -> [u8; 32] {
    let mask = (1u32 << BITS) - 1;
    std::array::from_fn(|i| {
        let (word, shift) = (i * BITS / 32, i * BITS % 32);
        let mut code = words[word] >> shift;
        if shift + BITS > 32 {
            code |= words[word + 1] << (32 - shift);
        }
        #[expect(clippy::cast_possible_truncation, reason = "masked to at most 8 bits")]
        let code = (code & mask) as u8;
        code
    })
}

fn pack_row<const BITS: usize>(codes: impl ExactSizeIterator<Item = u8>, out: &mut [u32]) {
    let mut codes = codes;
    for words in out.chunks_mut(BITS) {
        let mut block = [0u8; 32];
        for (slot, code) in block.iter_mut().zip(&mut codes) {
            *slot = code;
        }
        words.copy_from_slice(&pack_block::<BITS>(&block)[..words.len()]);
    }
}

fn unpack_row<const BITS: usize>(words: &[u32], out: &mut [u8]) {
    for (codes, words) in out.chunks_mut(32).zip(words.chunks(BITS)) {
        let mut block = [0u32; BITS];
        block[..words.len()].copy_from_slice(words);
        codes.copy_from_slice(&unpack_block::<BITS>(&block)[..codes.len()]);
    }
}

/// Calls `$function::<BITS>` with the `$bits` known only at run time.
macro_rules! with_bits {
    ($bits:expr, $function:ident ( $($argument:expr),* )) => {
        match $bits {
            1 => $function::<1>($($argument),*),
            2 => $function::<2>($($argument),*),
            3 => $function::<3>($($argument),*),
            4 => $function::<4>($($argument),*),
            5 => $function::<5>($($argument),*),
            6 => $function::<6>($($argument),*),
            7 => $function::<7>($($argument),*),
            8 => $function::<8>($($argument),*),
            other => panic!("codes have 1 to 8 bits, not {other}"),
        }
    };
}

/// Packs `[rows, cols]` codes, each below `2^bits`, row by row into `[rows, words(cols, bits)]`.
///
/// # Panics
/// When `cols` does not divide the number of codes, or `bits` is not 1..=8.
pub fn pack(codes: &[u8], cols: usize, bits: u8) -> Vec<u32> {
    pack_with(codes, cols, bits, |code| code)
}

/// Packs signed codes as `code + 2^(bits-1)`; shapes as [`pack`].
///
/// # Panics
/// When `cols` does not divide the number of codes, or `bits` is not 1..=8.
pub fn pack_signed(codes: &[i8], cols: usize, bits: u8) -> Vec<u32> {
    let offset = offset(bits);
    pack_with(codes, cols, bits, |code| {
        code.wrapping_add(offset).cast_unsigned()
    })
}

/// Reads back what [`pack`] wrote; missing words count as zeros.
///
/// # Panics
/// When `bits` is not 1..=8.
pub fn unpack(packed: &[u32], rows: usize, cols: usize, bits: u8) -> Vec<u8> {
    let mut codes = vec![0u8; rows * cols];
    if codes.is_empty() {
        return codes;
    }
    codes
        .par_chunks_mut(cols)
        .zip(packed.par_chunks(words(cols, bits)))
        .for_each(|(codes, words)| with_bits!(bits, unpack_row(words, codes)));
    codes
}

/// Reads back what [`pack_signed`] wrote.
///
/// # Panics
/// When `bits` is not 1..=8.
pub fn unpack_signed(packed: &[u32], rows: usize, cols: usize, bits: u8) -> Vec<i8> {
    let offset = offset(bits);
    let codes = unpack(packed, rows, cols, bits);
    codes
        .into_iter()
        .map(|code| code.cast_signed().wrapping_sub(offset))
        .collect()
}

/// Packs signed codes `[rows, cols]` along the ROWS, into `[words(rows, bits), cols]`: how
/// compressed-tensors stores zero points.
pub fn pack_signed_columns(codes: &[i8], rows: usize, cols: usize, bits: u8) -> Vec<u32> {
    let packed = pack_signed(&transpose(codes, rows, cols), rows, bits);
    transpose(&packed, cols, words(rows, bits))
}

/// Reads back what [`pack_signed_columns`] wrote.
pub fn unpack_signed_columns(packed: &[u32], rows: usize, cols: usize, bits: u8) -> Vec<i8> {
    let packed = transpose(packed, words(rows, bits), cols);
    transpose(&unpack_signed(&packed, cols, rows, bits), cols, rows)
}

/// `[rows, cols]` to `[cols, rows]`.
pub fn transpose<T: Copy + Send + Sync>(data: &[T], rows: usize, cols: usize) -> Vec<T> {
    let mut out = Vec::with_capacity(data.len());
    for col in 0..cols {
        out.extend((0..rows).map(|row| data[row * cols + col]));
    }
    out
}

fn pack_with<T: Copy + Sync>(
    codes: &[T],
    cols: usize,
    bits: u8,
    unsigned: impl Fn(T) -> u8 + Sync,
) -> Vec<u32> {
    if codes.is_empty() {
        return Vec::new();
    }
    assert!(
        codes.len().is_multiple_of(cols),
        "whole rows of {cols} codes"
    );
    let row_words = words(cols, bits);
    let mut packed = vec![0u32; codes.len() / cols * row_words];
    packed
        .par_chunks_mut(row_words)
        .zip(codes.par_chunks(cols))
        .for_each(|(out, row)| {
            let codes = row.iter().map(|code| unsigned(*code));
            with_bits!(bits, pack_row(codes, out));
        });
    packed
}

/// What is added to a signed code to make it unsigned: `2^(bits-1)`, modulo 256.
fn offset(bits: u8) -> i8 {
    (1u8 << (bits - 1)).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn four_bit_values_fill_a_word_from_the_low_end() {
        assert_eq!(pack(&[1, 2, 3, 4, 5, 6, 7, 8], 8, 4), [0x8765_4321]);
        assert_eq!(pack_signed(&[-8, 7], 2, 4), [0xf0]);
    }

    #[test]
    fn three_bit_values_cross_words_and_rows_do_not() {
        // Eleven sevens are 33 bits: one bit in the second word, the rest is padding.
        assert_eq!(pack(&[7; 22], 11, 3), [u32::MAX, 1, u32::MAX, 1]);
        assert_eq!(unpack(&[u32::MAX, 1, u32::MAX, 1], 2, 11, 3), [7; 22]);
    }

    proptest! {
        #[test]
        fn unpacking_undoes_packing(
            bits in 1u8..=8,
            rows in 0usize..5,
            cols in 0usize..70,
            values in proptest::collection::vec(any::<u8>(), 350),
        ) {
            let codes: Vec<u8> = values[..rows * cols].iter().map(|v| v >> (8 - bits)).collect();
            let packed = pack(&codes, cols, bits);
            prop_assert_eq!(packed.len(), if rows * cols == 0 { 0 } else { rows * words(cols, bits) });
            prop_assert_eq!(&unpack(&packed, rows, cols, bits), &codes);
            let signed: Vec<i8> =
                codes.iter().map(|code| code.cast_signed().wrapping_sub(offset(bits))).collect();
            let packed = pack_signed(&signed, cols, bits);
            prop_assert_eq!(&unpack_signed(&packed, rows, cols, bits), &signed);
            let packed = pack_signed_columns(&signed, rows, cols, bits);
            prop_assert_eq!(&unpack_signed_columns(&packed, rows, cols, bits), &signed);
        }

        #[test]
        fn a_stream_is_its_values_bit_by_bit(bits in 1u8..=8, values in proptest::collection::vec(any::<u8>(), 1..40)) {
            let values: Vec<u8> = values.iter().map(|v| v >> (8 - bits)).collect();
            let packed = pack(&values, values.len(), bits);
            for (i, value) in values.iter().enumerate() {
                for bit in 0..usize::from(bits) {
                    let at = i * usize::from(bits) + bit;
                    prop_assert_eq!((packed[at / 32] >> (at % 32)) & 1, u32::from(value >> bit) & 1);
                }
            }
        }
    }
}
