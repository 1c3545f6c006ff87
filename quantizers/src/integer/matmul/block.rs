//! One step of a panel of the right operand, and how it is filled.

/// Channels (rows of the matrix) in one panel: the `i32` lanes of a 512-bit register.
pub const LANES: usize = 16;
/// Consecutive inputs that one lane multiplies and adds in one step.
pub const STEP: usize = 4;
/// Longest inner dimension whose sum of `255 * -128` still fits `i32`.
pub const MAX_COLS: usize = (1 << 31) / (255 * 128);

/// One step of one panel: [`STEP`] consecutive inputs of each of [`LANES`] channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C, align(64))]
pub struct Block(pub [[i8; STEP]; LANES]);

const _: () = assert!(size_of::<Block>() == 64 && align_of::<Block>() == 64);

/// Panics unless `len` codes hold `rows` rows of `cols`, `stride` apart.
pub(super) fn assert_extent(len: usize, rows: usize, cols: usize, stride: usize) {
    assert!(
        stride >= cols,
        "expected a stride of at least {cols}, found {stride}"
    );
    let needed = if rows == 0 {
        0
    } else {
        (rows - 1) * stride + cols
    };
    assert!(
        len >= needed,
        "expected at least {needed} codes, found {len}"
    );
}

/// Transposes 4 x 16 bytes, four inputs of 16 channels: word `lane` of the block is `[a[lane], b[lane], c[lane], d[lane]]`.
#[cfg(target_arch = "x86_64")]
#[inline]
pub(super) fn interleave([a, b, c, d]: [&[i8; LANES]; STEP]) -> Block {
    use std::arch::x86_64::{
        __m128i, _mm_loadu_si128, _mm_storeu_si128, _mm_unpackhi_epi8, _mm_unpackhi_epi16,
        _mm_unpacklo_epi8, _mm_unpacklo_epi16,
    };
    let mut block = Block([[0; STEP]; LANES]);
    #[expect(
        unsafe_code,
        reason = "compilers do not find the shuffles by themselves"
    )]
    // SAFETY: SSE2 belongs to x86-64; the loads read 16 codes each, the stores fill the 64 bytes
    // of the block.
    unsafe {
        let load = |input: &[i8; LANES]| _mm_loadu_si128(input.as_ptr().cast());
        let (a, b, c, d) = (load(a), load(b), load(c), load(d));
        let (low_ab, low_cd) = (_mm_unpacklo_epi8(a, b), _mm_unpacklo_epi8(c, d));
        let (high_ab, high_cd) = (_mm_unpackhi_epi8(a, b), _mm_unpackhi_epi8(c, d));
        let quarters = [
            _mm_unpacklo_epi16(low_ab, low_cd),
            _mm_unpackhi_epi16(low_ab, low_cd),
            _mm_unpacklo_epi16(high_ab, high_cd),
            _mm_unpackhi_epi16(high_ab, high_cd),
        ];
        let out = (&raw mut block).cast::<__m128i>();
        for (q, quarter) in quarters.into_iter().enumerate() {
            _mm_storeu_si128(out.add(q), quarter);
        }
    }
    block
}

/// Transposes 4 x 16 bytes, four inputs of 16 channels: word `lane` of the block is `[a[lane], b[lane], c[lane], d[lane]]`.
#[cfg(not(target_arch = "x86_64"))]
pub(super) fn interleave(inputs: [&[i8; LANES]; STEP]) -> Block {
    Block(std::array::from_fn(|lane| inputs.map(|input| input[lane])))
}
