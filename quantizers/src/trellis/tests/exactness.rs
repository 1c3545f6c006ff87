//! Viterbi's algorithm against every stream there is, and against one that takes a state at a time.

#![expect(clippy::float_cmp, reason = "costs are the same bit for bit")]

use super::gaussians;
use crate::trellis::encoder::Encoder;
use crate::trellis::viterbi::{Ends, Scratch};
use crate::trellis::{CODES, Code, Geometry};

/// Squared error in the order in which costs are summed.
fn cost(weights: &[f32], states: &[usize], values: &[f32]) -> f32 {
    let pairs = weights.iter().zip(states);
    pairs.fold(0.0, |sum, (weight, state)| {
        let error = weight - values[*state];
        error.mul_add(error, sum)
    })
}

/// The states of the bits `stream` behind the shared bits `start`, the first bits in the lowest place.
fn states(geometry: Geometry, start: usize, stream: usize, length: usize) -> Vec<usize> {
    let mut state = start;
    (0..length)
        .map(|at| {
            let own = stream >> (at * usize::from(geometry.bits)) & (geometry.branches() - 1);
            state = (state << geometry.bits | own) & (geometry.states() - 1);
            state
        })
        .collect()
}

#[test]
fn the_cheapest_of_all_short_streams_is_found() {
    for (bits, state_bits, length) in [(1, 3, 8), (2, 3, 5), (2, 5, 5), (1, 4, 9), (3, 4, 3)] {
        let geometry = Geometry { bits, state_bits };
        let values = gaussians(geometry.states(), 1);
        let encoder = Encoder::of_values(values.clone(), geometry, length);
        let sequences = gaussians(8 * length, 2);
        let mut lanes = vec![[0.0; 8]; length];
        for (at, value) in sequences.iter().enumerate() {
            lanes[at % length][at / length] = *value;
        }
        let mut scratch = Scratch::<8>::new(geometry, length);
        let mut found = vec![[0; 8]; length];
        let all = 0..1usize << (length * usize::from(bits));
        let overlaps = geometry.overlaps();

        scratch.search(geometry, encoder.table(), &lanes, &Ends::Free, &mut found);
        let ends = scratch.cheapest();
        for (lane, weights) in sequences.chunks(length).enumerate() {
            let best = (0..overlaps)
                .flat_map(|start| all.clone().map(move |stream| (start, stream)))
                .map(|(start, stream)| {
                    cost(weights, &states(geometry, start, stream, length), &values)
                })
                .fold(f32::INFINITY, f32::min);
            let path: Vec<usize> = found
                .iter()
                .map(|states| usize::from(states[lane]))
                .collect();
            assert_eq!(cost(weights, &path, &values), best, "free, {geometry:?}");
            assert_eq!(scratch.cost(ends[lane] as usize)[lane], best);
        }

        let mut of_rings = [f32::INFINITY; 8];
        for overlap in 0..overlaps {
            let ends = Ends::Ring([u32::try_from(overlap).unwrap(); 8]);
            scratch.search(geometry, encoder.table(), &lanes, &ends, &mut found);
            for (lane, weights) in sequences.chunks(length).enumerate() {
                let rings = all
                    .clone()
                    .map(|stream| states(geometry, overlap, stream, length));
                let rings = rings.filter(|states| states[length - 1] % overlaps == overlap);
                let best = rings
                    .map(|states| cost(weights, &states, &values))
                    .fold(f32::INFINITY, f32::min);
                let path: Vec<usize> = found
                    .iter()
                    .map(|states| usize::from(states[lane]))
                    .collect();
                assert_eq!(cost(weights, &path, &values), best, "ring, {geometry:?}");
                of_rings[lane] = of_rings[lane].min(best);
            }
        }
        // What the encoder makes is a ring, and none of all rings is better than it may be.
        let mut encoded = vec![0; sequences.len()];
        encoder.encode(&sequences, &mut encoded);
        for (lane, (path, weights)) in encoded
            .chunks(length)
            .zip(sequences.chunks(length))
            .enumerate()
        {
            let path: Vec<usize> = path.iter().map(|state| usize::from(*state)).collect();
            for (at, state) in path.iter().enumerate() {
                assert_eq!(state % overlaps, path[(at + 1) % length] >> bits, "a ring");
            }
            assert!(cost(weights, &path, &values) >= of_rings[lane]);
        }
    }
}

/// One sequence, one state at a time in its natural order: costs of all states, the first predecessor of the least
/// cost, and the states of the best ring with the shared bits `seam` (free ends without).
fn one_state_at_a_time(
    geometry: Geometry,
    values: &[f32],
    weights: &[f32],
    seam: Option<usize>,
) -> Vec<usize> {
    let overlaps = geometry.overlaps();
    let start = |overlap| {
        if seam.is_none_or(|seam| seam == overlap) {
            0.0
        } else {
            f32::INFINITY
        }
    };
    let mut before: Vec<f32> = (0..overlaps).map(start).collect();
    let mut chosen = Vec::new();
    for weight in weights {
        let mut after = vec![f32::INFINITY; overlaps];
        let mut choices = vec![0; overlaps];
        for state in 0..geometry.states() {
            let error = weight - values[state];
            let cost = error.mul_add(error, before[state >> geometry.bits]);
            if cost < after[state % overlaps] {
                after[state % overlaps] = cost;
                choices[state % overlaps] = state;
            }
        }
        before = after;
        chosen.push(choices);
    }
    let mut overlap = seam.unwrap_or_else(|| {
        (0..overlaps).fold(0, |best, next| {
            if before[next] < before[best] {
                next
            } else {
                best
            }
        })
    });
    let mut states = vec![0; weights.len()];
    for (state, choices) in states.iter_mut().zip(chosen).rev() {
        *state = choices[overlap];
        overlap = *state >> geometry.bits;
    }
    states
}

#[test]
fn vectors_choose_what_one_state_at_a_time_chooses() {
    const LENGTH: usize = 256;
    for (index, (bits, state_bits)) in [
        (1, 12),
        (2, 12),
        (3, 12),
        (4, 12),
        (5, 13),
        (6, 12),
        (7, 12),
        (8, 13),
    ]
    .into_iter()
    .enumerate()
    {
        let geometry = Geometry { bits, state_bits };
        let code = Code(CODES[index % CODES.len()]);
        let values = code.values(state_bits);
        let encoder = Encoder::new(code, geometry, LENGTH);
        // Whole vectors and what is left of one; equal weights, for equal costs.
        let mut sequences = gaussians(11 * LENGTH, 5);
        sequences[LENGTH..2 * LENGTH].fill(0.5);
        sequences[2 * LENGTH..3 * LENGTH].fill(0.0);
        let mut encoded = vec![0; sequences.len()];
        encoder.encode(&sequences, &mut encoded);
        let mut by_lanes = [vec![0; sequences.len()], vec![0; sequences.len()]];
        encoder.encode_in::<8>(&sequences, &mut by_lanes[0]);
        encoder.encode_in::<16>(&sequences, &mut by_lanes[1]);
        assert_eq!(by_lanes, [encoded.clone(), encoded.clone()]);
        for (weights, found) in sequences.chunks(LENGTH).zip(encoded.chunks(LENGTH)) {
            let (first, second) = weights.split_at(LENGTH / 2);
            let around = one_state_at_a_time(geometry, &values, &[second, first].concat(), None);
            let seam = around[LENGTH / 2 - 1] % geometry.overlaps();
            let expected = one_state_at_a_time(geometry, &values, weights, Some(seam));
            assert!(
                expected
                    .iter()
                    .zip(found)
                    .all(|(a, b)| *a == usize::from(*b)),
                "{geometry:?}"
            );
        }
    }
}

#[test]
fn threads_change_no_state() {
    let geometry = Geometry {
        bits: 3,
        state_bits: 12,
    };
    let encoder = Encoder::new(Code::default(), geometry, 256);
    let sequences = gaussians(70 * 256, 8);
    let with = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let mut states = vec![0; sequences.len()];
        pool.unwrap()
            .install(|| encoder.encode(&sequences, &mut states));
        states
    };
    assert_eq!(with(1), with(4));
}
