//! A value at a time: what the vectors are checked against, and what runs where there are none.

use super::{Step, per_word, ways_into};

/// Takes a step.
pub(super) fn take<const LANES: usize, const BRANCHES: usize>(step: Step<'_, LANES>) {
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
            let place = overlap % per_word;
            for (lane, (after, word)) in after.iter_mut().zip(words).enumerate() {
                let (mut best, mut chosen) = (f32::INFINITY, 0);
                for ((high, way), value) in (0_u32..).zip(&ways).zip(values) {
                    let error = weight[lane] - value;
                    let cost = error.mul_add(error, way[lane]);
                    if cost < best {
                        (best, chosen) = (cost, high);
                    }
                }
                *after = best;
                #[expect(clippy::cast_possible_truncation, reason = "below 32")]
                let moved = chosen << (place as u32 * bits);
                *word = if place == 0 { moved } else { *word | moved };
            }
        }
    }
}
