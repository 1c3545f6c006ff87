//! Viterbi's algorithm for several sequences at a time, one in each lane of a vector.
//!
//! With `o` the `L - K` bits that a state shares with the next one, the least cost of any path that ends in `o` is
//! `M'(o) = min over h of M(s >> K) + (w - value(s))^2` with `s = h << (L - K) | o`: of the `2^K` states that end in
//! `o`, each has one way in. All lanes read the same entries of the table and of `M`, so nothing is gathered, and every
//! lane computes what one sequence alone would: an error is rounded, then its square and the sum together, and of equal
//! costs the lowest `h` is kept.

use super::Geometry;
use super::step::{self, Step, per_word};

/// What a search works in, for `LANES` sequences.
pub(super) struct Scratch<const LANES: usize> {
    /// Least costs by shared bits, `[2^(L - K)]`, before and after a step.
    costs: [Vec<[f32; LANES]>; 2],
    /// The `h` chosen at every step for every `o`, [`per_word`] of them in a word: `[steps, words]`.
    choices: Vec<[u32; LANES]>,
    /// Words of choices in a step.
    words: usize,
}

/// Where the paths of a search begin and end.
pub(super) enum Ends<const LANES: usize> {
    /// Anywhere.
    Free,
    /// With these bits before the first state and at the end of the last.
    Ring([u32; LANES]),
}

impl<const LANES: usize> Scratch<LANES> {
    pub(super) fn new(geometry: Geometry, steps: usize) -> Self {
        let costs = vec![[0.0; LANES]; geometry.overlaps()];
        let words = geometry
            .overlaps()
            .div_ceil(per_word(u32::from(geometry.bits)));
        Self {
            costs: [costs.clone(), costs],
            choices: vec![[0; LANES]; words * steps],
            words,
        }
    }

    /// Finds the cheapest paths through `weights`, one step each and no more than `self` was made for, and returns
    /// their states in `states` `[steps]`.
    /// `table` holds the values of the states `h << (L - K) | o` at `o << K | h`.
    pub(super) fn search(
        &mut self,
        geometry: Geometry,
        table: &[f32],
        weights: &[[f32; LANES]],
        ends: &Ends<LANES>,
        states: &mut [[u16; LANES]],
    ) {
        match ends {
            Ends::Free => self.costs[0].fill([0.0; LANES]),
            Ends::Ring(overlaps) => {
                self.costs[0].fill([f32::INFINITY; LANES]);
                for (lane, overlap) in overlaps.iter().enumerate() {
                    self.costs[0][*overlap as usize][lane] = 0.0;
                }
            }
        }
        for (weight, choices) in weights.iter().zip(self.choices.chunks_mut(self.words)) {
            let [before, after] = &mut self.costs;
            let step = Step {
                table,
                weight,
                before,
                after,
                choices,
            };
            step::take(geometry, step);
            self.costs.swap(0, 1);
        }
        let last = match ends {
            Ends::Free => self.cheapest(),
            Ends::Ring(overlaps) => *overlaps,
        };
        self.trace(geometry, last, states);
    }

    /// The costs of the paths that the last search found, where they end in `overlaps`.
    #[cfg(test)]
    pub(super) fn cost(&self, overlap: usize) -> [f32; LANES] {
        self.costs[0][overlap]
    }

    /// The shared bits with the least cost in every lane; the lowest of equal ones.
    pub(super) fn cheapest(&self) -> [u32; LANES] {
        let mut best = self.costs[0][0];
        let mut found = [0; LANES];
        for (overlap, costs) in (0..).zip(&self.costs[0]) {
            for (lane, cost) in costs.iter().enumerate() {
                if *cost < best[lane] {
                    best[lane] = *cost;
                    found[lane] = overlap;
                }
            }
        }
        found
    }

    /// Follows the choices back from the shared bits `last` at the end.
    fn trace(&self, geometry: Geometry, mut last: [u32; LANES], states: &mut [[u16; LANES]]) {
        let (bits, shift) = (u32::from(geometry.bits), geometry.overlap_bits());
        let per_word = per_word(u32::from(geometry.bits));
        let all = (1 << bits) - 1;
        for (choices, states) in self.choices.chunks(self.words).zip(states).rev() {
            for (lane, (overlap, out)) in last.iter_mut().zip(states).enumerate() {
                let at = *overlap as usize;
                let word = choices[at / per_word][lane];
                let choice = word >> (at % per_word * usize::from(geometry.bits)) & all;
                let state = choice << shift | *overlap;
                #[expect(clippy::cast_possible_truncation, reason = "at most 16 bits")]
                let narrow = state as u16;
                *out = narrow;
                *overlap = state >> bits;
            }
        }
    }
}
