//! How codes come into the lanes of a register.

#![expect(
    unsafe_code,
    clippy::cast_ptr_alignment,
    reason = "instructions found at run time, whose loads take pointers of any alignment"
)]

use std::arch::x86_64::{
    __m512i, _mm512_loadu_si512, _mm512_multishift_epi64_epi8, _mm512_permutexvar_epi8,
};

/// Where in as many inputs as there are codes in `LANES` lanes the ones that are multiplied first to last stand: those of
/// the first code of every lane come first.
pub(super) const fn order_of_lanes<const LANES: usize, const COUNT: usize>() -> [usize; COUNT] {
    let mut order = [0; COUNT];
    let mut at = 0;
    while at < COUNT {
        order[at] = at % LANES * (COUNT / LANES) + at / LANES;
        at += 1;
    }
    order
}

/// How bits of memory are spread over lanes.
pub(super) struct Spread {
    /// The eight bytes in which the codes of as many bytes of lanes lie.
    bytes: __m512i,
    /// Where in these each byte of a lane begins.
    starts: __m512i,
}

impl Spread {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
    pub(super) fn new(places: &Places) -> Self {
        // SAFETY: 64 bytes each.
        unsafe {
            Self {
                bytes: _mm512_loadu_si512(places.bytes.as_ptr().cast::<__m512i>()),
                starts: _mm512_loadu_si512(places.starts.as_ptr().cast::<__m512i>()),
            }
        }
    }

    /// Each lane with its bits lowest, and what follows them above.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
    pub(super) fn lanes(&self, stored: __m512i) -> __m512i {
        _mm512_multishift_epi64_epi8(self.starts, _mm512_permutexvar_epi8(self.bytes, stored))
    }
}

/// Where the bytes of lanes lie.
pub(super) struct Places {
    bytes: [u8; 64],
    starts: [u8; 64],
}

impl Places {
    /// `bits` of memory to each lane of `width` bytes.
    #[expect(clippy::cast_possible_truncation, reason = "below 64")]
    pub(super) const fn of(bits: usize, width: usize) -> Self {
        let (mut bytes, mut starts) = ([0; 64], [0; 64]);
        let mut byte = 0;
        while byte < 64 {
            // Eight bytes of a register hold some lanes; they are taken from the eight bytes in which the first begins.
            let first = byte / 8 * (8 / width) * bits / 8;
            bytes[byte] = (first + byte % 8) as u8 % 64;
            starts[byte] = (byte / width * bits - first * 8 + byte % width * 8) as u8 % 64;
            byte += 1;
        }
        Self { bytes, starts }
    }
}
