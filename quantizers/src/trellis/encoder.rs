//! The nearest streams to given weights.

use super::step;
use super::viterbi::{Ends, Scratch};
use super::{Code, Geometry};
use rayon::prelude::*;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Finds streams for sequences of one length.
pub struct Encoder {
    geometry: Geometry,
    /// Weights of a sequence.
    length: usize,
    /// Values of the states `h << (L - K) | o` at `o << K | h`.
    table: Vec<f32>,
    /// Values of all states.
    values: Vec<f32>,
    /// Megabytes that are used again and again.
    idle: (Idle<8>, Idle<16>),
}

/// Scratch memory that no search is using.
type Idle<const LANES: usize> = Mutex<Vec<Scratch<LANES>>>;

impl Encoder {
    /// An encoder to rings of `length` weights.
    ///
    /// # Panics
    /// When a state has no more bits than a weight or more than 16, or a ring has less bits than a state.
    pub fn new(code: Code, geometry: Geometry, length: usize) -> Self {
        Self::of_values(code.values(geometry.state_bits), geometry, length)
    }

    /// An encoder with `values` for the states.
    pub(super) fn of_values(values: Vec<f32>, geometry: Geometry, length: usize) -> Self {
        let Geometry { bits, state_bits } = geometry;
        assert!(
            bits < state_bits
                && state_bits <= 16
                && length * usize::from(bits) >= usize::from(state_bits),
            "states of {state_bits} bits for {length} weights of {bits}"
        );
        let state = |at: usize| {
            let high = at % geometry.branches();
            (high << geometry.overlap_bits()) | (at / geometry.branches())
        };
        Self {
            geometry,
            length,
            table: (0..values.len()).map(|at| values[state(at)]).collect(),
            values,
            idle: (Mutex::default(), Mutex::default()),
        }
    }

    /// The trellis.
    pub fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// The value of a state.
    pub fn value(&self, state: u16) -> f32 {
        self.values[usize::from(state)]
    }

    /// States of the nearest rings found for sequences of weights, both `[sequences, length]`. A ring is searched for
    /// in two passes: the bits at its seam are those of the best path through the second half and then the first one,
    /// and the ring is the best one with those bits.
    ///
    /// # Panics
    /// When the two are not equally long, in whole sequences.
    pub fn encode(&self, weights: &[f32], states: &mut [u16]) {
        match step::lanes() {
            16 => self.encode_lanes::<16>(weights, states, &self.idle.1),
            _ => self.encode_lanes::<8>(weights, states, &self.idle.0),
        }
    }

    /// Values of the states in the order of the search.
    #[cfg(test)]
    pub(super) fn table(&self) -> &[f32] {
        &self.table
    }

    /// [`Self::encode`] with vectors of `LANES` lanes.
    #[cfg(test)]
    pub(super) fn encode_in<const LANES: usize>(&self, weights: &[f32], states: &mut [u16]) {
        self.encode_lanes::<LANES>(weights, states, &Idle::default());
    }

    /// [`Self::encode`] with `LANES` sequences at a time, which changes no state.
    fn encode_lanes<const LANES: usize>(
        &self,
        weights: &[f32],
        states: &mut [u16],
        idle: &Idle<LANES>,
    ) {
        assert_eq!(weights.len(), states.len(), "a state for each weight");
        assert!(weights.len().is_multiple_of(self.length), "whole sequences");
        let group = LANES * self.length;
        weights
            .par_chunks(group)
            .zip(states.par_chunks_mut(group))
            .for_each(|(weights, states)| {
                if weights.len() <= 8 * self.length {
                    self.rings(&self.idle.0, weights, states);
                } else {
                    self.rings(idle, weights, states);
                }
            });
    }

    /// Up to `LANES` rings at once.
    fn rings<const LANES: usize>(&self, idle: &Idle<LANES>, weights: &[f32], states: &mut [u16]) {
        let mut lanes = vec![[0.0; LANES]; self.length];
        for (lane, sequence) in weights.chunks(self.length).enumerate() {
            for (lanes, weight) in lanes.iter_mut().zip(sequence) {
                lanes[lane] = *weight;
            }
        }
        let mut scratch = locked(idle)
            .pop()
            .unwrap_or_else(|| Scratch::new(self.geometry, self.length));
        let mut found = vec![[0; LANES]; self.length];
        let mut search = |weights: &[[f32; LANES]], ends, found: &mut [[u16; LANES]]| {
            scratch.search(self.geometry, &self.table, weights, &ends, found);
        };
        let reach = self.length / 2;
        let around = [&lanes[self.length - reach..], &lanes[..reach]].concat();
        search(&around, Ends::Free, &mut found[..2 * reach]);
        let common = u32::MAX >> (u32::BITS - u32::from(self.geometry.overlap_bits()));
        let before = found[..reach].last().copied().unwrap_or([0; LANES]);
        let seam = before.map(|state| u32::from(state) & common);
        search(&lanes, Ends::Ring(seam), &mut found);
        locked(idle).push(scratch);
        for (lane, states) in states.chunks_mut(self.length).enumerate() {
            for (state, found) in states.iter_mut().zip(&found) {
                *state = found[lane];
            }
        }
    }
}

/// What another thread left there when it panicked is as good as new: every search overwrites it.
fn locked<const LANES: usize>(idle: &Idle<LANES>) -> MutexGuard<'_, Vec<Scratch<LANES>>> {
    idle.lock().unwrap_or_else(PoisonError::into_inner)
}
