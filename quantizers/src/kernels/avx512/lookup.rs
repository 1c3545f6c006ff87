//! Sixteen codes, and what they stand for.

#![expect(
    unsafe_code,
    clippy::cast_ptr_alignment,
    reason = "instructions found at run time, whose loads take pointers of any alignment"
)]

use crate::kernels::table::{ByteTable, Table};
use std::arch::x86_64::{
    __m512, __m512i, _mm_loadu_ps, _mm256_castps_pd, _mm256_loadu_ps, _mm256_set1_epi64x,
    _mm512_and_si512, _mm512_broadcast_f32x4, _mm512_broadcast_f64x4, _mm512_castpd_ps,
    _mm512_castsi256_si512, _mm512_castsi512_ps, _mm512_cvtepi32_ps, _mm512_inserti64x4,
    _mm512_loadu_ps, _mm512_loadu_si512, _mm512_mask_blend_ps, _mm512_maskz_loadu_epi8,
    _mm512_maskz_permutexvar_epi8, _mm512_multishift_epi64_epi8, _mm512_permutex2var_ps,
    _mm512_permutexvar_ps, _mm512_set1_epi32, _mm512_set1_epi64, _mm512_setzero_ps,
    _mm512_test_epi32_mask,
};

/// Codes of a step: one to each lane.
pub(super) const TOGETHER: usize = 16;

/// Values of codes, in registers, and where in eight bytes each of sixteen codes begins.
pub(super) struct Lookup {
    tables: [__m512; 4],
    has_table: bool,
    /// By byte of the lanes: the bit from which on a byte is taken.
    starts: __m512i,
}

impl Lookup {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
    pub(super) fn new<const BITS: usize>(table: Option<Table<'_>>) -> Self {
        let mut tables = [_mm512_setzero_ps(); 4];
        match table {
            // Of an index only as many bits count as there are entries for.
            Some(table) if BITS <= 4 => tables[0] = sixteen_values(table),
            Some(Table::Bytes(_)) => unreachable!("tables of codes of four bits"),
            Some(Table::Floats(table)) => {
                for (register, values) in tables.iter_mut().zip(table.as_chunks::<16>().0) {
                    // SAFETY: sixteen values.
                    *register = unsafe { _mm512_loadu_ps(values.as_ptr()) };
                }
            }
            None => {}
        }
        let starts = const { &starts(BITS) };
        // SAFETY: 64 bytes.
        let starts = unsafe { _mm512_loadu_si512(starts.as_ptr().cast::<__m512i>()) };
        Self {
            tables,
            has_table: table.is_some(),
            starts,
        }
    }

    /// What the sixteen codes at `bytes` stand for.
    ///
    /// # Safety
    /// Eight bytes can be read, and of codes wider than 4 bits as many behind the first eight codes.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
    pub(super) unsafe fn sixteen<const BITS: usize>(&self, bytes: *const u8) -> __m512 {
        // SAFETY: the caller's.
        let stored = unsafe {
            let first = bytes.cast::<i64>().read_unaligned();
            if BITS <= 4 {
                _mm512_set1_epi64(first)
            } else {
                let second = bytes.add(BITS).cast::<i64>().read_unaligned();
                let lower = _mm512_castsi256_si512(_mm256_set1_epi64x(first));
                _mm512_inserti64x4::<1>(lower, _mm256_set1_epi64x(second))
            }
        };
        // Each lane has its code in its lowest bits, and what follows it above.
        let codes = _mm512_multishift_epi64_epi8(self.starts, stored);
        if !self.has_table {
            let mask = _mm512_set1_epi32((1 << BITS) - 1);
            return _mm512_cvtepi32_ps(_mm512_and_si512(codes, mask));
        }
        let [a, b, c, d] = self.tables;
        match BITS {
            ..=4 => _mm512_permutexvar_ps(codes, a),
            5 => _mm512_permutex2var_ps(a, codes, b),
            _ => {
                let lower = _mm512_permutex2var_ps(a, codes, b);
                let upper = _mm512_permutex2var_ps(c, codes, d);
                let is_upper = _mm512_test_epi32_mask(codes, _mm512_set1_epi32(1 << 5));
                _mm512_mask_blend_ps(is_upper, lower, upper)
            }
        }
    }
}

/// The values of `table` of at most sixteen, which repeats itself.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
pub(super) fn sixteen_values(table: Table<'_>) -> __m512 {
    let floats = match table {
        Table::Bytes(table) => return sixteen_of(table),
        Table::Floats(floats) => floats,
    };
    let from = floats.as_ptr();
    // SAFETY: as many values as are loaded.
    unsafe {
        match floats.len() {
            16 => _mm512_loadu_ps(from),
            8 => {
                let eight = _mm256_castps_pd(_mm256_loadu_ps(from));
                _mm512_castpd_ps(_mm512_broadcast_f64x4(eight))
            }
            4 => _mm512_broadcast_f32x4(_mm_loadu_ps(from)),
            2 => _mm512_castsi512_ps(_mm512_set1_epi64(from.cast::<i64>().read_unaligned())),
            count => unreachable!("tables of {count} values"),
        }
    }
}

/// The values of `table`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
fn sixteen_of(table: &ByteTable) -> __m512 {
    /// Upper bytes of each lane from the planes, and a zero lowest.
    static PLACES: [u8; 64] = places_of_planes::<4>(1);
    _mm512_castsi512_ps(bytes_of_planes(table, &PLACES, 0xeeee_eeee_eeee_eeee))
}

/// The upper words of the values of `table`, twice.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
pub(super) fn upper_words_twice(table: &ByteTable) -> __m512i {
    static PLACES: [u8; 64] = places_of_planes::<2>(0);
    bytes_of_planes(table, &PLACES, u64::MAX)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
fn bytes_of_planes(table: &ByteTable, places: &[u8; 64], kept: u64) -> __m512i {
    let planes: &[u8] = table.upper.as_flattened();
    // SAFETY: 64 bytes of places; of planes no more are read than there are.
    unsafe {
        let places = _mm512_loadu_si512(places.as_ptr().cast::<__m512i>());
        let planes = _mm512_maskz_loadu_epi8(u64::MAX >> (64 - 48), planes.as_ptr().cast::<i8>());
        _mm512_maskz_permutexvar_epi8(kept, places, planes)
    }
}

/// Where in the three planes of a table the bytes of values of `WIDTH` bytes lie, those of the last planes uppermost. The
/// lowest `zeros` of a value are in none.
const fn places_of_planes<const WIDTH: usize>(zeros: usize) -> [u8; 64] {
    let mut places = [0; 64];
    let mut byte = 0;
    while byte < 64 {
        let (value, nth) = (byte / WIDTH % 16, byte % WIDTH);
        if nth >= zeros {
            #[expect(clippy::cast_possible_truncation, reason = "below 48")]
            let place = (16 * (3 + nth - WIDTH) + value) as u8;
            places[byte] = place;
        }
        byte += 1;
    }
    places
}

/// In the lowest byte of each lane, where its code begins: in eight bytes from the first code on, or, where sixteen codes do
/// not fit these, of the second eight lanes from the ninth code on.
const fn starts(bits: usize) -> [u8; 64] {
    let mut starts = [0; 64];
    let mut lane = 0;
    while lane < TOGETHER {
        let code = if bits <= 4 { lane } else { lane % 8 };
        #[expect(clippy::cast_possible_truncation, reason = "below 64")]
        let start = (code * bits) as u8;
        starts[4 * lane] = start;
        lane += 1;
    }
    starts
}
