//! The epilogues as AVX-512 code; the scalar definitions say what they compute.
//!
//! A product is 64 bits wide, so 16 sums become two registers of products, of the even and of the
//! odd lanes. With shifts of at least 32 only the high halves of the products matter: the two
//! registers merge into one of 16 halves before the rest of the shift.

use std::arch::x86_64::{
    __m512i, _mm_mask_storeu_epi8, _mm_storeu_si128, _mm256_mask_storeu_epi16,
    _mm256_maskz_loadu_epi16, _mm256_storeu_si256, _mm512_add_epi32, _mm512_add_epi64,
    _mm512_and_si512, _mm512_cvtepi16_epi32, _mm512_cvtepi32_epi8, _mm512_cvtepi32_epi16,
    _mm512_load_si512, _mm512_loadu_si512, _mm512_mask_blend_epi8, _mm512_mask_shuffle_epi32,
    _mm512_mask_storeu_epi8, _mm512_mask_storeu_epi32, _mm512_maskz_loadu_epi8, _mm512_max_epi32,
    _mm512_max_epi64, _mm512_min_epi32, _mm512_min_epi64, _mm512_movepi8_mask, _mm512_mul_epi32,
    _mm512_permutex2var_epi8, _mm512_set1_epi32, _mm512_set1_epi64, _mm512_sllv_epi32,
    _mm512_srav_epi32, _mm512_srav_epi64, _mm512_srli_epi64, _mm512_storeu_si512, _mm512_sub_epi32,
};

use super::super::{LANES, Tile};
use super::Code;
use super::channels::{Branches, ChannelGroup, ChannelGroups, Limits};

/// Whether this processor runs [`requantize`] and [`add_residual`].
pub(super) fn available() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
}

/// Whether this processor runs [`map_bytes`].
pub(super) fn permutes_bytes() -> bool {
    available() && is_x86_feature_detected!("avx512vbmi")
}

/// `Requantize::write_at`.
pub(super) fn requantize<T: Code>(
    scales: &ChannelGroups,
    tile: &Tile<'_>,
    out: &mut [T],
    stride: usize,
) {
    assert!(available(), "expected AVX-512");
    #[expect(unsafe_code, reason = "needs instructions found at run time")]
    // SAFETY: the processor has the instructions, asserted above.
    unsafe {
        if scales.limits.wide {
            requantize_tile::<T, true>(scales, tile, out, stride);
        } else {
            requantize_tile::<T, false>(scales, tile, out, stride);
        }
    }
}

/// `Residual::write_scalar`.
pub(super) fn add_residual<T: Code>(
    scales: (&ChannelGroups, &Branches),
    tile: &Tile<'_>,
    residual: (&[i16], usize),
    out: (&mut [T], usize),
) {
    assert!(available(), "expected AVX-512");
    #[expect(unsafe_code, reason = "needs instructions found at run time")]
    // SAFETY: the processor has the instructions, asserted above.
    unsafe {
        if scales.0.limits.wide {
            residual_tile::<T, true>(scales, tile, residual, out);
        } else {
            residual_tile::<T, false>(scales, tile, residual, out);
        }
    }
}

/// `ByteTable::map_scalar`.
pub(super) fn map_bytes(table: &[u8; 256], codes: &mut [u8]) {
    assert!(permutes_bytes(), "expected AVX-512 VBMI");
    #[expect(unsafe_code, reason = "needs instructions found at run time")]
    // SAFETY: the processor has the instructions, asserted above.
    unsafe {
        map(table, codes);
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn requantize_tile<T: Code, const WIDE: bool>(
    scales: &ChannelGroups,
    tile: &Tile<'_>,
    out: &mut [T],
    stride: usize,
) {
    let limits = scales.limits;
    let zero_point = _mm512_set1_epi32(limits.zero_point);
    for col in (0..tile.cols).step_by(LANES) {
        let lanes = LANES.min(tile.cols - col);
        let factors = Factors::load::<WIDE>(&scales.groups[(tile.col + col) / LANES]);
        for r in 0..tile.rows {
            let scaled = factors.scale::<WIDE>(sums(tile, r, col), limits);
            let start = r * stride + col;
            let codes = _mm512_add_epi32(scaled, zero_point);
            store(codes, &mut out[start..start + lanes]);
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn residual_tile<T: Code, const WIDE: bool>(
    (wide, branches): (&ChannelGroups, &Branches),
    tile: &Tile<'_>,
    (residual, residual_stride): (&[i16], usize),
    (out, stride): (&mut [T], usize),
) {
    let (limits, codes) = (wide.limits, branches.limits);
    let zero_point = _mm512_set1_epi32(codes.zero_point);
    for col in (0..tile.cols).step_by(LANES) {
        let lanes = LANES.min(tile.cols - col);
        let channels = (tile.col + col) / LANES;
        let factors = Factors::load::<WIDE>(&wide.groups[channels]);
        let (group, lifts) = &branches.groups[channels];
        let (branch, lift) = (Factors::load::<false>(group), load_lanes(lifts));
        for r in 0..tile.rows {
            let wide = factors.scale::<WIDE>(sums(tile, r, col), limits);
            let start = r * residual_stride + col;
            let stream = _mm512_sllv_epi32(load_i16(&residual[start..start + lanes]), lift);
            let both = _mm512_add_epi32(wide, branch.scale::<false>(stream, limits));
            let both = clamp(_mm512_add_epi32(both, zero_point), codes.low, codes.high);
            let start = r * stride + col;
            store(both, &mut out[start..start + lanes]);
        }
    }
}

/// Constants of 16 channels in registers.
#[derive(Clone, Copy)]
struct Factors {
    even: __m512i,
    odd: __m512i,
    even_addend: __m512i,
    odd_addend: __m512i,
    /// Shift left to do after the products have merged; for the wide path the whole shift.
    shift: __m512i,
}

impl Factors {
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    #[inline]
    #[expect(unsafe_code, reason = "vector loads take pointers")]
    fn load<const WIDE: bool>(group: &ChannelGroup) -> Self {
        // SAFETY: each array is 64 bytes and the group is aligned to as many.
        let [even, shift, even_addend, odd_addend] = unsafe {
            [
                _mm512_load_si512(group.multipliers.as_ptr().cast()),
                _mm512_load_si512(group.shifts.as_ptr().cast()),
                _mm512_load_si512(group.even.as_ptr().cast()),
                _mm512_load_si512(group.odd.as_ptr().cast()),
            ]
        };
        let rest = _mm512_sub_epi32(shift, _mm512_set1_epi32(32));
        Self {
            even,
            odd: _mm512_srli_epi64::<32>(even),
            even_addend,
            odd_addend,
            shift: if WIDE { shift } else { rest },
        }
    }

    /// Multiplies, rounds, shifts and clamps 16 sums.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    #[inline]
    fn scale<const WIDE: bool>(&self, sums: __m512i, limits: Limits) -> __m512i {
        let even = _mm512_add_epi64(_mm512_mul_epi32(sums, self.even), self.even_addend);
        let odd = _mm512_mul_epi32(_mm512_srli_epi64::<32>(sums), self.odd);
        let odd = _mm512_add_epi64(odd, self.odd_addend);
        if WIDE {
            let low_half = _mm512_set1_epi64(0xffff_ffff);
            let (low, high) = (i64::from(limits.low), i64::from(limits.high));
            let (low, high) = (_mm512_set1_epi64(low), _mm512_set1_epi64(high));
            let even = _mm512_srav_epi64(even, _mm512_and_si512(self.shift, low_half));
            let odd = _mm512_srav_epi64(odd, _mm512_srli_epi64::<32>(self.shift));
            let even = _mm512_min_epi64(_mm512_max_epi64(even, low), high);
            let odd = _mm512_min_epi64(_mm512_max_epi64(odd, low), high);
            // Low halves of `odd` into the odd lanes of `even`.
            _mm512_mask_shuffle_epi32::<0b10_10_00_00>(even, 0xaaaa, odd)
        } else {
            // High halves of `even` into the even lanes of `odd`.
            let merged = _mm512_mask_shuffle_epi32::<0b11_11_01_01>(odd, 0x5555, even);
            clamp(
                _mm512_srav_epi32(merged, self.shift),
                limits.low,
                limits.high,
            )
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
#[inline]
fn clamp(values: __m512i, low: i32, high: i32) -> __m512i {
    _mm512_min_epi32(
        _mm512_max_epi32(values, _mm512_set1_epi32(low)),
        _mm512_set1_epi32(high),
    )
}

/// 16 sums of row `r` of a tile.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
#[inline]
#[expect(unsafe_code, reason = "vector loads take pointers")]
fn sums(tile: &Tile<'_>, r: usize, col: usize) -> __m512i {
    let start = r * tile.stride + col;
    let sums = &tile.values[start..start + LANES];
    // SAFETY: the slice holds 16 sums.
    unsafe { _mm512_loadu_si512(sums.as_ptr().cast()) }
}

/// 16 words.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
#[inline]
#[expect(unsafe_code, reason = "vector loads take pointers")]
fn load_lanes(words: &[u32; LANES]) -> __m512i {
    // SAFETY: 16 words are 64 bytes.
    unsafe { _mm512_loadu_si512(words.as_ptr().cast()) }
}

/// Up to 16 codes of a residual stream, widened; zeros past the end.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
#[inline]
#[expect(unsafe_code, reason = "vector loads take pointers")]
fn load_i16(codes: &[i16]) -> __m512i {
    // SAFETY: the mask has one bit per code of the slice.
    let codes = unsafe { _mm256_maskz_loadu_epi16(mask16(codes.len()), codes.as_ptr()) };
    _mm512_cvtepi16_epi32(codes)
}

/// Writes up to 16 codes, keeping the low bits of each lane.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
#[inline]
#[expect(unsafe_code, reason = "vector stores take pointers")]
fn store<T: Code>(codes: __m512i, out: &mut [T]) {
    let (mask, whole) = (mask16(out.len()), out.len() == LANES);
    let out = out.as_mut_ptr();
    // SAFETY: a whole store writes 16 codes of `size_of::<T>()` bytes, which the slice holds; a
    // masked one writes one code per bit, as many as the slice holds.
    unsafe {
        match (size_of::<T>(), whole) {
            (1, true) => _mm_storeu_si128(out.cast(), _mm512_cvtepi32_epi8(codes)),
            (1, false) => _mm_mask_storeu_epi8(out.cast(), mask, _mm512_cvtepi32_epi8(codes)),
            (2, true) => _mm256_storeu_si256(out.cast(), _mm512_cvtepi32_epi16(codes)),
            (2, false) => _mm256_mask_storeu_epi16(out.cast(), mask, _mm512_cvtepi32_epi16(codes)),
            (_, true) => _mm512_storeu_si512(out.cast(), codes),
            (_, false) => _mm512_mask_storeu_epi32(out.cast(), mask, codes),
        }
    }
}

/// The lowest `lanes` bits, all 16 for 16 or more.
fn mask16(lanes: usize) -> u16 {
    if lanes >= LANES {
        u16::MAX
    } else {
        (1 << lanes) - 1
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
#[expect(unsafe_code, reason = "vector loads and stores take pointers")]
fn map(table: &[u8; 256], codes: &mut [u8]) {
    // SAFETY: four quarters of 64 bytes.
    let quarter = |q: usize| unsafe { _mm512_loadu_si512(table.as_ptr().add(64 * q).cast()) };
    let [a, b, c, d] = [quarter(0), quarter(1), quarter(2), quarter(3)];
    for chunk in codes.chunks_mut(64) {
        let mask = u64::MAX >> (64 - chunk.len());
        // SAFETY: the mask has one bit per code of the chunk.
        let code = unsafe { _mm512_maskz_loadu_epi8(mask, chunk.as_ptr().cast()) };
        let low = _mm512_permutex2var_epi8(a, code, b);
        let high = _mm512_permutex2var_epi8(c, code, d);
        let value = _mm512_mask_blend_epi8(_mm512_movepi8_mask(code), low, high);
        // SAFETY: as for the load.
        unsafe { _mm512_mask_storeu_epi8(chunk.as_mut_ptr().cast(), mask, value) }
    }
}
