//! Bits of streams.

use crate::trellis::{Geometry, pack, unpack, words};
use proptest::prelude::*;

#[test]
fn a_stream_worked_by_hand() {
    // 32 weights of 1 bit: the first bit of the stream is the most significant of the word. The window of weight t is
    // the three bits up to bit t, around the ring.
    let geometry = Geometry {
        bits: 1,
        state_bits: 3,
    };
    let mut states = [0; 32];
    unpack(&[0xa000_0001], geometry, &mut states);
    // Bits 1 0 1 0 ... 0 1.
    assert_eq!(states[..6], [0b011, 0b110, 0b101, 0b010, 0b100, 0b000]);
    assert_eq!(states[30..], [0b000, 0b001]);
    // 3 bits a weight: 001 010 011 100 ...
    let mut stream = [0; 3];
    let counted: Vec<u16> = (1..=32).map(|at| at % 8).collect();
    pack(&counted, 3, &mut stream);
    assert_eq!(stream[0] >> 20, 0b001_010_011_100);
}

proptest! {
    #[test]
    fn states_of_any_stream_are_packed_to_it(
        bits in 1u8..=8,
        state_bits in 12u8..=16,
        seed in any::<u32>(),
    ) {
        let geometry = Geometry { bits, state_bits };
        let word = |at: u32| (seed ^ at).wrapping_mul(0x9e37_79b9).rotate_left(13) ^ at;
        let count = u32::try_from(words(256, bits)).unwrap();
        let stream: Vec<u32> = (0..count).map(word).collect();
        let mut states = [0; 256];
        unpack(&stream, geometry, &mut states);
        let mut packed = vec![0; stream.len()];
        pack(&states, bits, &mut packed);
        prop_assert_eq!(&packed, &stream);
        // Neighbours share their bits, around the ring.
        for at in 0..256 {
            let (state, next) = (u32::from(states[at]), u32::from(states[(at + 1) % 256]));
            prop_assert_eq!((state << bits & geometry.mask()) >> bits, next >> bits);
        }
    }
}
