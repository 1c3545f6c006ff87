//! Rows of codes of up to four bits with up to eight inputs: 128 codes are looked up at a time.

#![expect(
    unsafe_code,
    reason = "instructions found at run time, whose loads take pointers of any alignment"
)]
#![expect(
    clippy::inline_always,
    reason = "what is generic over instructions gets them from where it is used"
)]

use super::totals::{LANES, LaneGroups, sum_lanes};
use crate::kernels::codes::{CodeRows, PackedCodes};
use crate::kernels::table::Table;
use std::arch::x86_64::{
    __m512, __m512i, _MM_HINT_T1, _mm_prefetch, _mm512_fmadd_ps, _mm512_set1_ps, _mm512_setzero_ps,
    _mm512_setzero_si512,
};
use std::ops::Range;

/// Codes of half a step, four to each lane; inputs are padded to whole ones.
pub(super) const BLOCK: usize = 4 * LANES;
/// Bits of the widest codes of which a lane holds eight.
pub(super) const MOST_BITS: u8 = 4;
/// How far ahead of what is multiplied codes are fetched, at least.
const AHEAD: usize = 8192;

/// How codes are looked up and multiplied.
pub(super) trait Arithmetic {
    /// Of a code.
    const BITS: usize;
    /// What inputs are.
    type Input: Copy;
    /// What codes stand for.
    type Table: Copy;

    /// # Safety
    /// The processor has the instructions.
    unsafe fn new() -> Self;
    /// The values of a row; without a table codes are their own.
    ///
    /// # Safety
    /// As [`Self::new`].
    unsafe fn table(table: Option<Table<'_>>) -> Self::Table;
    /// The codes of two blocks at `bytes`, eight consecutive ones to each 32-bit lane.
    ///
    /// # Safety
    /// They can be read, and 48 bytes behind them.
    unsafe fn two_blocks(&self, bytes: *const u8) -> __m512i;
    /// The codes of a block, four to a lane.
    ///
    /// # Safety
    /// As many bytes can be read as 64 codes take, or 32.
    unsafe fn block(&self, bytes: *const u8) -> __m512i;
    /// Adds the products of the `CODES` codes of each lane to `R` rows of sums of `N` inputs.
    ///
    /// # Safety
    /// As many inputs can be read as there are codes.
    unsafe fn add<const CODES: usize, const R: usize, const N: usize>(
        lanes: [__m512i; R],
        tables: &[Self::Table; R],
        inputs: [*const Self::Input; N],
        sums: &mut [[__m512; N]; R],
    );
}

/// Whether groups of `codes` end where blocks end, or divide them.
pub(super) fn executes(codes: &PackedCodes) -> bool {
    let (group, longest) = (codes.group_size, 2 * BLOCK);
    codes.groups_per_row() == 1
        || group.is_multiple_of(longest)
        || (group >= LANES && longest.is_multiple_of(group))
}

/// `sums[r · count + n]` of `rows` with the `N` inputs at `inputs`, in the order of `A`; zeros are not subtracted. The sum
/// of each row is one chain of additions; as many rows are multiplied at a time as keep the processor from waiting for
/// these, and as there are registers for.
///
/// # Safety
/// Inputs have as many values as the rows and are padded to whole blocks, 48 bytes can be read behind the codes of a row,
/// and the processor has the instructions of `A`.
#[inline(always)]
pub(super) unsafe fn sums<A: Arithmetic, const N: usize>(
    rows: &CodeRows<'_>,
    inputs: [*const A::Input; N],
    sums: &mut [f32],
    count: usize,
) {
    // SAFETY: the caller's.
    unsafe {
        if const { N <= 2 } {
            sums_of_tall::<A, 4, N>(rows, inputs, sums, count);
        } else {
            sums_of_tall::<A, 2, N>(rows, inputs, sums, count);
        }
    }
}

/// [`sums`], `R` rows at a time.
///
/// # Safety
/// As [`sums`].
#[inline(always)]
unsafe fn sums_of_tall<A: Arithmetic, const R: usize, const N: usize>(
    rows: &CodeRows<'_>,
    inputs: [*const A::Input; N],
    sums: &mut [f32],
    count: usize,
) {
    let codes = rows.codes;
    // SAFETY: the caller's.
    let arithmetic = unsafe { A::new() };
    let mut at = 0;
    while at < rows.len() {
        let here = R.min(rows.len() - at);
        let first = rows.number(at);
        // SAFETY: the caller's.
        unsafe {
            let mut totals = [[_mm512_setzero_ps(); N]; R];
            if here == R {
                add_rows(&arithmetic, codes, first, inputs, &mut totals);
            } else {
                for (r, totals) in totals.iter_mut().enumerate().take(here) {
                    let totals = std::array::from_mut(totals);
                    add_rows(&arithmetic, codes, first + r, inputs, totals);
                }
            }
            sum_lanes(&totals, here, &mut sums[at * count..], count);
        }
        at += here;
    }
}

/// Adds the products of `R` rows from `first` on with each input to the lanes of their sums.
///
/// # Safety
/// As [`sums`].
#[inline(always)]
unsafe fn add_rows<A: Arithmetic, const R: usize, const N: usize>(
    arithmetic: &A,
    codes: &PackedCodes,
    first: usize,
    inputs: [*const A::Input; N],
    totals: &mut [[__m512; N]; R],
) {
    let (cols, group_size) = (codes.cols(), codes.group_size);
    let whole = cols / (2 * BLOCK) * (2 * BLOCK);
    // SAFETY: the caller's.
    unsafe {
        let mut rows = Rows {
            arithmetic,
            ahead: AHEAD.max(R * codes.bytes_per_row()),
            bytes: [codes.bytes_of(first).as_ptr(); R],
            tables: [A::table(codes.table(first)); R],
            inputs,
        };
        for r in 1..R {
            rows.bytes[r] = codes.bytes_of(first + r).as_ptr();
            rows.tables[r] = A::table(codes.table(first + r));
        }
        if codes.scales(first).is_empty() {
            return rows.add(0..whole, whole..cols, totals);
        }
        let mut from = 0;
        while from < cols {
            let mut scales = [_mm512_setzero_ps(); R];
            let to = if codes.groups_per_row() > 1 && group_size < 2 * BLOCK {
                let of_lane = if from < whole { 8 } else { 4 };
                let groups = LaneGroups::new(group_size / of_lane);
                for (r, scale) in scales.iter_mut().enumerate() {
                    *scale = groups.scales(&codes.scales(first + r)[from / group_size..]);
                }
                from + of_lane * LANES
            } else {
                for (r, scale) in scales.iter_mut().enumerate() {
                    *scale = _mm512_set1_ps(codes.scales(first + r)[from / group_size]);
                }
                (from + group_size).min(cols)
            };
            rows.add_scaled(scales, from..to.min(whole), from.max(whole)..to, totals);
            from = to;
        }
    }
}

/// `R` rows and what they are multiplied with.
struct Rows<'a, A: Arithmetic, const R: usize, const N: usize> {
    arithmetic: &'a A,
    /// Where codes are fetched, behind those that are multiplied.
    ahead: usize,
    bytes: [*const u8; R],
    tables: [A::Table; R],
    inputs: [*const A::Input; N],
}

impl<A: Arithmetic, const R: usize, const N: usize> Rows<'_, A, R, N> {
    /// Adds the products of the inputs `pairs`, two blocks at a time, and `blocks`, one at a time.
    ///
    /// # Safety
    /// Rows and inputs have such blocks, and as [`sums`].
    #[inline(always)]
    unsafe fn add(&self, pairs: Range<usize>, blocks: Range<usize>, sums: &mut [[__m512; N]; R]) {
        // SAFETY: eight codes take BITS bytes; the caller's.
        unsafe {
            for at in pairs.step_by(2 * BLOCK) {
                let mut lanes = [_mm512_setzero_si512(); R];
                for (lanes, bytes) in lanes.iter_mut().zip(self.bytes_at(at)) {
                    *lanes = self.arithmetic.two_blocks(bytes);
                }
                A::add::<8, R, N>(lanes, &self.tables, self.inputs_at(at), sums);
            }
            for at in blocks.step_by(BLOCK) {
                let mut lanes = [_mm512_setzero_si512(); R];
                for (lanes, bytes) in lanes.iter_mut().zip(self.bytes_at(at)) {
                    *lanes = self.arithmetic.block(bytes);
                }
                A::add::<4, R, N>(lanes, &self.tables, self.inputs_at(at), sums);
            }
        }
    }

    /// The same times the `scale` of each row.
    ///
    /// # Safety
    /// As [`Self::add`].
    #[inline(always)]
    unsafe fn add_scaled(
        &self,
        scale: [__m512; R],
        pairs: Range<usize>,
        blocks: Range<usize>,
        sums: &mut [[__m512; N]; R],
    ) {
        // SAFETY: the caller's.
        unsafe {
            let mut parts = [[_mm512_setzero_ps(); N]; R];
            self.add(pairs, blocks, &mut parts);
            for r in 0..R {
                for n in 0..N {
                    sums[r][n] = _mm512_fmadd_ps(scale[r], parts[r][n], sums[r][n]);
                }
            }
        }
    }

    /// Where the codes of input `at` lie; codes that come later are fetched.
    #[inline(always)]
    unsafe fn bytes_at(&self, at: usize) -> [*const u8; R] {
        let mut here = self.bytes;
        for bytes in &mut here {
            // SAFETY: the caller's.
            unsafe {
                *bytes = bytes.add(at / 8 * A::BITS);
                // The processor reads ahead by itself, but too little beside so much that is computed.
                _mm_prefetch::<_MM_HINT_T1>(bytes.wrapping_add(self.ahead).cast());
            }
        }
        here
    }

    #[inline(always)]
    unsafe fn inputs_at(&self, at: usize) -> [*const A::Input; N] {
        let mut here = self.inputs;
        for input in &mut here {
            // SAFETY: the caller's.
            *input = unsafe { input.add(at) };
        }
        here
    }
}
