//! States as a stream of bits, and back.
//!
//! The low `K` bits of the state of weight `t` are bits `K t` to `K t + K - 1` of the stream, the most significant
//! first; 32 bits of the stream make a word, the first of them its most significant.

use super::Geometry;

/// Words of a stream of `weights` weights, whose bits fill whole words.
pub fn words(weights: usize, bits: u8) -> usize {
    weights * usize::from(bits) / 32
}

/// Writes the own bits of every state to `stream`, `words(states.len(), bits)` words.
///
/// # Panics
/// When `stream` has another length.
pub fn pack(states: &[u16], bits: u8, stream: &mut [u32]) {
    assert_eq!(
        stream.len() * 32,
        states.len() * usize::from(bits),
        "whole words"
    );
    let own = (1u64 << bits) - 1;
    let (mut held, mut count) = (0u64, 0);
    let mut out = stream.iter_mut();
    for state in states {
        held = held << bits | u64::from(*state) & own;
        count += u32::from(bits);
        if count >= 32 {
            count -= 32;
            if let Some(out) = out.next() {
                #[expect(clippy::cast_possible_truncation, reason = "a word at a time")]
                let word = (held >> count) as u32;
                *out = word;
            }
        }
    }
}

/// The states of a stream, one for every weight.
///
/// # Panics
/// When `stream` is not as long as [`words`] says.
pub fn unpack(stream: &[u32], geometry: Geometry, states: &mut [u16]) {
    let bits = usize::from(geometry.bits);
    assert_eq!(stream.len() * 32, states.len() * bits, "whole words");
    let own = |weight: usize| {
        let start = weight * bits;
        let word = u64::from(stream[start / 32]) << 32;
        let next = stream.get(start / 32 + 1).copied().unwrap_or(0);
        let pair = word | u64::from(next);
        #[expect(clippy::cast_possible_truncation, reason = "at most 8 bits")]
        let own = (pair << (start % 32) >> (64 - bits)) as u32;
        own
    };
    let mask = geometry.mask();
    let mut state = 0;
    let reach = usize::from(geometry.state_bits).div_ceil(bits);
    for back in (1..=reach).rev() {
        let weights = states.len();
        state = (state << bits | own((weights - back % weights) % weights)) & mask;
    }
    for (weight, out) in states.iter_mut().enumerate() {
        state = (state << bits | own(weight)) & mask;
        #[expect(clippy::cast_possible_truncation, reason = "at most 16 bits")]
        let narrow = state as u16;
        *out = narrow;
    }
}
