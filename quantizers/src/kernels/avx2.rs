//! Sums with AVX2, FMA and F16C: eight weights at a time.
//!
//! Eight codes of `b` bits are `b` bytes. They are broadcast to all lanes, shifted into place and looked up: tables of
//! up to 8 values by one permutation of a register, of 16 by two and a blend, larger ones in memory; codes that are
//! their own values are converted.

use super::codes::CodeRow;
use super::kernel::Kernel;

pub(super) struct Avx2;

#[cfg(not(target_arch = "x86_64"))]
impl Kernel for Avx2 {
    fn name(&self) -> &'static str {
        "avx2"
    }
    fn is_available(&self) -> bool {
        false
    }
    fn codes(&self, _: &CodeRow<'_>, _: &[&[f32]], _: &[&[f32]], _: &mut [f32]) {
        unreachable!("not on this machine")
    }
    fn halves(&self, _: &[u16], _: &[&[f32]], _: &mut [f32]) {
        unreachable!("not on this machine")
    }
    fn brains(&self, _: &[u16], _: &[&[f32]], _: &mut [f32]) {
        unreachable!("not on this machine")
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    #![expect(
        unsafe_code,
        clippy::cast_ptr_alignment,
        reason = "instructions found at run time, whose loads take pointers of any alignment"
    )]

    use super::{Avx2, CodeRow, Kernel};
    use crate::kernels::scalar::Scalar;
    use std::arch::x86_64::{
        __m128i, __m256, __m256i, _mm_add_ps, _mm_add_ss, _mm_cvtss_f32, _mm_loadu_si128,
        _mm_movehl_ps, _mm_shuffle_ps, _mm256_add_ps, _mm256_and_si256, _mm256_blendv_ps,
        _mm256_castps256_ps128, _mm256_castsi256_ps, _mm256_cvtepi32_ps, _mm256_cvtepu16_epi32,
        _mm256_cvtph_ps, _mm256_extractf128_ps, _mm256_fmadd_ps, _mm256_i32gather_ps,
        _mm256_loadu_ps, _mm256_permutevar8x32_ps, _mm256_set1_epi32, _mm256_set1_ps,
        _mm256_setr_epi32, _mm256_setzero_ps, _mm256_slli_epi32, _mm256_srlv_epi32,
    };

    impl Kernel for Avx2 {
        fn name(&self) -> &'static str {
            "avx2"
        }

        fn is_available(&self) -> bool {
            is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("fma")
                && is_x86_feature_detected!("f16c")
        }

        fn codes(
            &self,
            row: &CodeRow<'_>,
            inputs: &[&[f32]],
            group_sums: &[&[f32]],
            sums: &mut [f32],
        ) {
            // Groups that do not begin with a whole byte are rare enough for the plain kernel.
            if row.group_size < row.cols && !row.group_size.is_multiple_of(8) {
                return Scalar.codes(row, inputs, group_sums, sums);
            }
            let groups = row.cols.div_ceil(row.group_size);
            for (input, group_sums) in inputs.iter().zip(group_sums) {
                assert!(input.len() == row.cols && group_sums.len() >= groups);
            }
            assert!(row.bytes.len() >= (row.cols * usize::from(row.bits)).div_ceil(8) + 8);
            // SAFETY: the features were found by `is_available`; lengths were checked above.
            unsafe {
                match inputs.len() {
                    1 => of_bits::<1>(row, inputs, group_sums, sums),
                    2 => of_bits::<2>(row, inputs, group_sums, sums),
                    3 => of_bits::<3>(row, inputs, group_sums, sums),
                    4 => of_bits::<4>(row, inputs, group_sums, sums),
                    count => unreachable!("{count} inputs at a time"),
                }
            }
        }

        fn halves(&self, row: &[u16], inputs: &[&[f32]], sums: &mut [f32]) {
            for (input, sum) in inputs.iter().zip(sums) {
                assert_eq!(input.len(), row.len());
                // SAFETY: the features were found by `is_available`; the lengths are equal.
                *sum = unsafe { words::<true>(row, input) };
            }
        }

        fn brains(&self, row: &[u16], inputs: &[&[f32]], sums: &mut [f32]) {
            for (input, sum) in inputs.iter().zip(sums) {
                assert_eq!(input.len(), row.len());
                // SAFETY: as above.
                *sum = unsafe { words::<false>(row, input) };
            }
        }
    }

    #[target_feature(enable = "avx2,fma,f16c")]
    fn of_bits<const N: usize>(
        row: &CodeRow<'_>,
        inputs: &[&[f32]],
        group_sums: &[&[f32]],
        sums: &mut [f32],
    ) {
        // SAFETY: the caller has checked the lengths.
        unsafe {
            match row.bits {
                1 => row_sums::<1, N>(row, inputs, group_sums, sums),
                2 => row_sums::<2, N>(row, inputs, group_sums, sums),
                3 => row_sums::<3, N>(row, inputs, group_sums, sums),
                4 => row_sums::<4, N>(row, inputs, group_sums, sums),
                5 => row_sums::<5, N>(row, inputs, group_sums, sums),
                6 => row_sums::<6, N>(row, inputs, group_sums, sums),
                7 => row_sums::<7, N>(row, inputs, group_sums, sums),
                8 => row_sums::<8, N>(row, inputs, group_sums, sums),
                bits => unreachable!("codes of {bits} bits"),
            }
        }
    }

    /// Values of codes, in registers where they have room.
    struct Lookup {
        low: __m256,
        high: __m256,
        table: *const f32,
    }

    impl Lookup {
        #[target_feature(enable = "avx2,fma,f16c")]
        fn new<const BITS: usize>(table: Option<&[f32]>) -> Self {
            let mut values = [0.0_f32; 16];
            for (code, value) in values.iter_mut().enumerate() {
                // What lies above the bits of a code is never masked off: the table repeats itself.
                let code = code & ((1 << BITS) - 1);
                #[expect(clippy::cast_precision_loss, reason = "below 16")]
                let own = code as f32;
                *value = table.map_or(own, |table| table[code]);
            }
            // SAFETY: 16 values.
            let (low, high) = unsafe {
                let start = values.as_ptr();
                (_mm256_loadu_ps(start), _mm256_loadu_ps(start.add(8)))
            };
            Self {
                low,
                high,
                table: table.map_or(std::ptr::null(), <[f32]>::as_ptr),
            }
        }

        /// Values of eight codes, above whose bits anything may stand.
        ///
        /// # Safety
        /// A table has `2^BITS` values.
        #[target_feature(enable = "avx2,fma,f16c")]
        unsafe fn of<const BITS: usize>(&self, codes: __m256i) -> __m256 {
            if BITS <= 3 {
                return _mm256_permutevar8x32_ps(self.low, codes);
            }
            if BITS == 4 {
                let low = _mm256_permutevar8x32_ps(self.low, codes);
                let high = _mm256_permutevar8x32_ps(self.high, codes);
                let is_high = _mm256_castsi256_ps(_mm256_slli_epi32(codes, 28));
                return _mm256_blendv_ps(low, high, is_high);
            }
            let codes = _mm256_and_si256(codes, _mm256_set1_epi32((1 << BITS) - 1));
            if self.table.is_null() {
                return _mm256_cvtepi32_ps(codes);
            }
            // SAFETY: codes are below 2^BITS.
            unsafe { _mm256_i32gather_ps::<4>(self.table, codes) }
        }
    }

    /// The eight codes that begin at `bytes`, a code to each lane.
    ///
    /// # Safety
    /// Eight bytes can be read.
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn eight<const BITS: usize>(bytes: *const u8, shifts: __m256i) -> __m256i {
        // SAFETY: the caller's.
        let word = |at: usize| unsafe { bytes.add(at).cast::<u32>().read_unaligned() };
        let words = if BITS <= 4 {
            _mm256_set1_epi32(word(0).cast_signed())
        } else {
            let (low, high) = (word(0).cast_signed(), word(BITS / 2).cast_signed());
            _mm256_setr_epi32(low, low, low, low, high, high, high, high)
        };
        _mm256_srlv_epi32(words, shifts)
    }

    /// # Safety
    /// Inputs and groups are as long as the row says, and 8 bytes can be read behind its codes.
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn row_sums<const BITS: usize, const N: usize>(
        row: &CodeRow<'_>,
        inputs: &[&[f32]],
        group_sums: &[&[f32]],
        sums: &mut [f32],
    ) {
        let bits = i32::from(row.bits);
        let shifts = if BITS <= 4 {
            let at = |code: i32| code * bits;
            _mm256_setr_epi32(at(0), at(1), at(2), at(3), at(4), at(5), at(6), at(7))
        } else {
            // The upper four begin in the middle of a byte where BITS is odd.
            let at = |code: i32| code * bits + 4 * (bits % 2);
            let low = |code: i32| code * bits;
            _mm256_setr_epi32(low(0), low(1), low(2), low(3), at(0), at(1), at(2), at(3))
        };
        let lookup = Lookup::new::<BITS>(row.table);
        let mut totals = [_mm256_setzero_ps(); N];
        let mut rest = [0.0_f32; N];
        for (group, from) in (0..row.cols).step_by(row.group_size).enumerate() {
            let to = (from + row.group_size).min(row.cols);
            let whole = from + (to - from) / 8 * 8;
            let mut parts = [[_mm256_setzero_ps(); 2]; N];
            let mut at = from;
            let mut turn = 0;
            while at < whole {
                // SAFETY: `at + 8 <= cols`, eight codes take BITS bytes, and 8 can be read behind the last.
                unsafe {
                    let codes = eight::<BITS>(row.bytes.as_ptr().add(at / 8 * BITS), shifts);
                    let weights = lookup.of::<BITS>(codes);
                    for (parts, input) in parts.iter_mut().zip(inputs) {
                        let x = _mm256_loadu_ps(input.as_ptr().add(at));
                        parts[turn] = _mm256_fmadd_ps(weights, x, parts[turn]);
                    }
                }
                turn ^= 1;
                at += 8;
            }
            let (scale, zero) = (row.scale(group), row.zero(group));
            for n in 0..N {
                let part = _mm256_add_ps(parts[n][0], parts[n][1]);
                totals[n] = _mm256_fmadd_ps(_mm256_set1_ps(scale), part, totals[n]);
                let tail: f32 = (whole..to).map(|at| row.value(at) * inputs[n][at]).sum();
                rest[n] += scale * (tail - zero * group_sums[n][group]);
            }
        }
        for n in 0..N {
            sums[n] = across(totals[n]) + rest[n];
        }
    }

    /// The sum of all lanes.
    #[target_feature(enable = "avx2,fma,f16c")]
    fn across(lanes: __m256) -> f32 {
        let four = _mm_add_ps(
            _mm256_castps256_ps128(lanes),
            _mm256_extractf128_ps::<1>(lanes),
        );
        let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
        _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
    }

    /// A row of f16 or bf16 values times an input of the same length.
    ///
    /// # Safety
    /// The lengths are equal.
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn words<const IS_F16: bool>(row: &[u16], input: &[f32]) -> f32 {
        const WIDE: usize = 4;
        let mut parts = [_mm256_setzero_ps(); WIDE];
        let whole = row.len() / (8 * WIDE) * (8 * WIDE);
        for from in (0..whole).step_by(8 * WIDE) {
            for (lane, part) in parts.iter_mut().enumerate() {
                let at = from + 8 * lane;
                // SAFETY: `at + 8 <= len` of both.
                unsafe {
                    let stored = _mm_loadu_si128(row.as_ptr().add(at).cast::<__m128i>());
                    let weights = if IS_F16 {
                        _mm256_cvtph_ps(stored)
                    } else {
                        let wide = _mm256_slli_epi32(_mm256_cvtepu16_epi32(stored), 16);
                        _mm256_castsi256_ps(wide)
                    };
                    let x = _mm256_loadu_ps(input.as_ptr().add(at));
                    *part = _mm256_fmadd_ps(weights, x, *part);
                }
            }
        }
        let value = |bits: u16| {
            if IS_F16 {
                half::f16::from_bits(bits).to_f32()
            } else {
                half::bf16::from_bits(bits).to_f32()
            }
        };
        let rest = row[whole..].iter().zip(&input[whole..]);
        let rest: f32 = rest.map(|(bits, x)| value(*bits) * x).sum();
        let sum = _mm256_add_ps(
            _mm256_add_ps(parts[0], parts[1]),
            _mm256_add_ps(parts[2], parts[3]),
        );
        across(sum) + rest
    }
}
