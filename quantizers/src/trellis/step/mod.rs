//! One step of all paths at once: the work of the search. Every implementation computes the same bits.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;

use super::Geometry;

/// What a step reads and writes, for `LANES` sequences.
pub(super) struct Step<'a, const LANES: usize> {
    /// Values of the states `h << (L - K) | o` at `o << K | h`.
    pub(super) table: &'a [f32],
    /// The weight of each sequence.
    pub(super) weight: &'a [f32; LANES],
    /// Least costs before the step by shared bits, `[2^(L - K)]`.
    pub(super) before: &'a [[f32; LANES]],
    /// Least costs after it.
    pub(super) after: &'a mut [[f32; LANES]],
    /// The `h` chosen for each `o`, [`per_word`] of them in a word from its lowest bits on.
    pub(super) choices: &'a mut [[u32; LANES]],
}

/// Choices of `bits` bits in a word: a power of two of them.
pub(super) fn per_word(bits: u32) -> usize {
    1 << (u32::BITS / bits).ilog2()
}

/// Sequences that are searched at once where there are as many.
pub(super) fn lanes() -> usize {
    #[cfg(target_arch = "x86_64")]
    if avx512::is_available() {
        return 16;
    }
    8
}

/// Takes a step with the widest vectors there are.
pub(super) fn take<const LANES: usize>(geometry: Geometry, step: Step<'_, LANES>) {
    match geometry.bits {
        1 => take_of::<LANES, 2>(step),
        2 => take_of::<LANES, 4>(step),
        3 => take_of::<LANES, 8>(step),
        4 => take_of::<LANES, 16>(step),
        5 => take_of::<LANES, 32>(step),
        6 => take_of::<LANES, 64>(step),
        7 => take_of::<LANES, 128>(step),
        8 => take_of::<LANES, 256>(step),
        other => panic!("weights have 1 to 8 bits, not {other}"),
    }
}

/// [`take`] with `BRANCHES = 2^K`.
fn take_of<const LANES: usize, const BRANCHES: usize>(step: Step<'_, LANES>) {
    #[cfg(target_arch = "x86_64")]
    {
        if LANES.is_multiple_of(16) && avx512::is_available() {
            return avx512::take::<LANES, BRANCHES>(step);
        }
        if LANES.is_multiple_of(8) && avx2::is_available() {
            return avx2::take::<LANES, BRANCHES>(step);
        }
    }
    portable::take::<LANES, BRANCHES>(step);
}

/// The place of the choice of one `o`: which of the choices in its word it is, and the bits of one.
type Place = (usize, u32);

/// Calls `best` for every `o`, which finds the best of the ways into it: given the weights, the costs of the ways, the
/// value of each, it writes the least costs and their choices.
#[inline]
fn walk<const LANES: usize, const BRANCHES: usize>(
    step: Step<'_, LANES>,
    mut best: impl FnMut(
        &[f32; LANES],
        &[[f32; LANES]; BRANCHES],
        &[f32; BRANCHES],
        &mut [f32; LANES],
        (&mut [u32; LANES], Place),
    ),
) {
    let Step {
        table,
        weight,
        before,
        after,
        choices,
    } = step;
    let (bits, overlaps) = (BRANCHES.trailing_zeros(), after.len());
    let (block, per_word) = (BRANCHES.min(overlaps), per_word(bits));
    let (table, _) = table.as_chunks::<BRANCHES>();
    assert!(
        table.len() == overlaps && before.len() == overlaps,
        "costs of all shared bits"
    );
    let mut ways = [[0.0; LANES]; BRANCHES];
    let blocks = after.chunks_exact_mut(block).zip(table.chunks_exact(block));
    for (first, (after, table)) in (0..overlaps).step_by(block).zip(blocks) {
        ways_into(first, before, &mut ways);
        for (overlap, (after, values)) in (first..).zip(after.iter_mut().zip(table)) {
            let words = &mut choices[overlap / per_word];
            best(
                weight,
                &ways,
                values,
                after,
                (words, (overlap % per_word, bits)),
            );
        }
    }
}

/// The costs of the ways into a block of shared bits that begins with `first`: states that differ in their last bits
/// alone have the same ways in.
#[inline]
fn ways_into<const LANES: usize, const BRANCHES: usize>(
    first: usize,
    before: &[[f32; LANES]],
    ways: &mut [[f32; LANES]; BRANCHES],
) {
    for (high, way) in ways.iter_mut().enumerate() {
        *way = before[(high * before.len() + first) >> BRANCHES.trailing_zeros()];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Take<const LANES: usize> = fn(Step<'_, LANES>);

    /// Every implementation that runs here, with its name.
    fn implementations<const LANES: usize, const BRANCHES: usize>()
    -> Vec<(&'static str, Take<LANES>)> {
        let portable: Take<LANES> = portable::take::<LANES, BRANCHES>;
        let mut all = vec![("portable", portable)];
        #[cfg(target_arch = "x86_64")]
        {
            if avx2::is_available() {
                all.push(("avx2", avx2::take::<LANES, BRANCHES>));
            }
            if LANES.is_multiple_of(16) && avx512::is_available() {
                all.push(("avx512", avx512::take::<LANES, BRANCHES>));
            }
        }
        all
    }

    fn compare<const LANES: usize, const BRANCHES: usize>(overlaps: usize) {
        let value = |at: usize| ((at * 37 % 101) as f32 / 50.0 - 1.0).sin();
        let table: Vec<f32> = (0..overlaps * BRANCHES).map(|at| value(at * at)).collect();
        let weight = std::array::from_fn(|lane| value(lane * 7));
        let mut before = vec![[0.0; LANES]; overlaps];
        for (at, costs) in before.iter_mut().enumerate() {
            // Some paths do not exist, some costs are equal.
            *costs = std::array::from_fn(|lane| match (at + lane) % 5 {
                0 => f32::INFINITY,
                1 => 1.0,
                _ => value(at * 3 + lane).abs(),
            });
        }
        let words = overlaps.div_ceil(per_word(BRANCHES.trailing_zeros()));
        let results: Vec<_> = implementations::<LANES, BRANCHES>()
            .into_iter()
            .map(|(name, take)| {
                let mut after = vec![[0.0; LANES]; overlaps];
                let mut choices = vec![[u32::MAX; LANES]; words];
                take(Step {
                    table: &table,
                    weight: &weight,
                    before: &before,
                    after: &mut after,
                    choices: &mut choices,
                });
                (name, after, choices)
            })
            .collect();
        for (name, after, choices) in &results[1..] {
            assert!(after == &results[0].1, "costs of {name} with {LANES} lanes");
            assert!(
                choices == &results[0].2,
                "choices of {name} with {LANES} lanes"
            );
        }
    }

    #[test]
    fn every_implementation_finds_the_same_costs_and_choices() {
        compare::<8, 2>(64);
        compare::<8, 4>(256);
        compare::<8, 8>(64);
        compare::<8, 256>(16);
        compare::<16, 2>(64);
        compare::<16, 16>(64);
        compare::<16, 32>(128);
        compare::<16, 128>(32);
    }
}
