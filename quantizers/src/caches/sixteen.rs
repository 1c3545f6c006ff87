//! Tables of sixteen values with AVX2: the nearest of them as packed codes of 4 bits, and back, eight at a time.
//!
//! The nearest is found by halving: each comparison with a border between two entries is a bit of the code, and the
//! next border is looked up by the bits so far. Two permutations and a blend look up sixteen values.

/// Packs the codes of as many of `values` as fill whole registers and returns how many these are: none on a machine
/// without AVX2. `middles` are ascending, and a code is the number of them below a value.
pub(super) fn pack(middles: &[f32; 15], values: &[f32], out: &mut [u8]) -> usize {
    #[cfg(target_arch = "x86_64")]
    if x86::is_available() {
        return x86::pack(middles, values, out);
    }
    let _ = (middles, values, out);
    0
}

/// Reads the `entries` of packed codes into as much of `out` as fills whole registers, likewise.
pub(super) fn unpack(entries: &[f32; 16], packed: &[u8], out: &mut [f32]) -> usize {
    #[cfg(target_arch = "x86_64")]
    if x86::is_available() {
        return x86::unpack(entries, packed, out);
    }
    let _ = (entries, packed, out);
    0
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    #![expect(unsafe_code, reason = "instructions found at run time")]

    use std::arch::x86_64::{
        _CMP_GT_OQ, _mm256_add_epi32, _mm256_blendv_ps, _mm256_castps_si256, _mm256_castsi256_ps,
        _mm256_cmp_ps, _mm256_extract_epi16, _mm256_loadu_ps, _mm256_or_si256,
        _mm256_permutevar8x32_ps, _mm256_set1_epi32, _mm256_set1_epi64x, _mm256_set1_ps,
        _mm256_setr_epi32, _mm256_setr_ps, _mm256_setzero_si256, _mm256_shuffle_epi8,
        _mm256_slli_epi32, _mm256_srli_epi64, _mm256_srlv_epi32, _mm256_storeu_ps,
        _mm256_sub_epi32,
    };

    pub(super) fn is_available() -> bool {
        is_x86_feature_detected!("avx2")
    }

    pub(super) fn pack(middles: &[f32; 15], values: &[f32], out: &mut [u8]) -> usize {
        let (eights, _) = values.as_chunks::<8>();
        let (out, _) = out.as_chunks_mut::<4>();
        assert!(out.len() >= eights.len());
        // SAFETY: the only caller has asked `is_available`.
        unsafe { pack_eights(middles, eights, out) };
        8 * eights.len()
    }

    pub(super) fn unpack(entries: &[f32; 16], packed: &[u8], out: &mut [f32]) -> usize {
        let (eights, _) = out.as_chunks_mut::<8>();
        let (packed, _) = packed.as_chunks::<4>();
        assert!(packed.len() >= eights.len());
        // SAFETY: the only caller has asked `is_available`.
        unsafe { unpack_eights(entries, packed, eights) };
        8 * eights.len()
    }

    #[target_feature(enable = "avx2")]
    fn pack_eights(m: &[f32; 15], eights: &[[f32; 8]], out: &mut [[u8; 4]]) {
        let first = _mm256_set1_ps(m[7]);
        let (low, high) = (_mm256_set1_ps(m[3]), _mm256_set1_ps(m[11]));
        let four = _mm256_setr_ps(m[1], m[5], m[9], m[13], m[1], m[5], m[9], m[13]);
        let eight = _mm256_setr_ps(m[0], m[2], m[4], m[6], m[8], m[10], m[12], m[14]);
        // The lowest byte of each 64 bits, side by side.
        let gather = _mm256_set1_epi64x(0x0800);
        for (values, out) in eights.iter().zip(out) {
            // SAFETY: eight values.
            let x = unsafe { _mm256_loadu_ps(values.as_ptr()) };
            let above = _mm256_cmp_ps::<_CMP_GT_OQ>(x, first);
            let code = _mm256_sub_epi32(_mm256_setzero_si256(), _mm256_castps_si256(above));
            let border = _mm256_blendv_ps(low, high, above);
            let above = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_GT_OQ>(x, border));
            let code = _mm256_sub_epi32(_mm256_add_epi32(code, code), above);
            let border = _mm256_permutevar8x32_ps(four, code);
            let above = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_GT_OQ>(x, border));
            let code = _mm256_sub_epi32(_mm256_add_epi32(code, code), above);
            let border = _mm256_permutevar8x32_ps(eight, code);
            let above = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_GT_OQ>(x, border));
            let code = _mm256_sub_epi32(_mm256_add_epi32(code, code), above);
            // The odd code of each pair comes to stand above the even one.
            let pairs = _mm256_or_si256(code, _mm256_srli_epi64::<28>(code));
            let pairs = _mm256_shuffle_epi8(pairs, gather);
            let (low, high) = (
                _mm256_extract_epi16::<0>(pairs),
                _mm256_extract_epi16::<8>(pairs),
            );
            *out = (low | high << 16).to_le_bytes();
        }
    }

    #[target_feature(enable = "avx2")]
    fn unpack_eights(entries: &[f32; 16], packed: &[[u8; 4]], eights: &mut [[f32; 8]]) {
        // SAFETY: sixteen entries.
        let (low, high) = unsafe {
            let start = entries.as_ptr();
            (_mm256_loadu_ps(start), _mm256_loadu_ps(start.add(8)))
        };
        let shifts = _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28);
        for (out, packed) in eights.iter_mut().zip(packed) {
            // What lies above a code is not looked at by the permutations.
            let codes = _mm256_set1_epi32(i32::from_le_bytes(*packed));
            let codes = _mm256_srlv_epi32(codes, shifts);
            let is_high = _mm256_castsi256_ps(_mm256_slli_epi32::<28>(codes));
            let low = _mm256_permutevar8x32_ps(low, codes);
            let high = _mm256_permutevar8x32_ps(high, codes);
            // SAFETY: eight values.
            unsafe { _mm256_storeu_ps(out.as_mut_ptr(), _mm256_blendv_ps(low, high, is_high)) };
        }
    }
}
