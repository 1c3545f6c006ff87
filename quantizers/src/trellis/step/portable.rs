//! A value at a time: what the vectors are checked against, and what runs where there are none.

use super::{Step, walk};

/// Takes a step.
pub(super) fn take<const LANES: usize, const BRANCHES: usize>(step: Step<'_, LANES>) {
    walk::<LANES, BRANCHES>(
        step,
        |weight, ways, values, after, (words, (place, bits))| {
            for (lane, (after, word)) in after.iter_mut().zip(words).enumerate() {
                let (mut best, mut chosen) = (f32::INFINITY, 0);
                for ((high, way), value) in (0_u32..).zip(ways).zip(values) {
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
        },
    );
}
