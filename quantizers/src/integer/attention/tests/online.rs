//! Keys in tiles, with a running maximum: what an executor does that has no room for a whole row of
//! scores, by the constants a program holds for it.

use crate::integer::attention::{HeadAttention, Inputs};
use crate::integer::kernel::Mode;
use crate::integer::{Arithmetic, ArithmeticError, Checked, Wrapping};

impl HeadAttention {
    /// Output codes `[queries, head_dim]`, keys taken `tile` at a time.
    ///
    /// With `m' = max(m, tile)`, `a = e(m' - m)`: `l = ((l a + 2^29) >> 30) + (sum p << G)` and the
    /// same for the weighted values. A maximum that stays leaves the sums as they are, and a tile
    /// without visible keys changes nothing.
    ///
    /// # Errors
    /// In [`Mode::Checked`], the first fault.
    ///
    /// # Panics
    /// As [`HeadAttention::whole`], and for a tile of no keys.
    pub(crate) fn online(
        &self,
        mode: Mode,
        inputs: Inputs<'_>,
        tile: usize,
        out: &mut [i32],
    ) -> Result<(), ArithmeticError> {
        match mode {
            Mode::Fast => {
                self.online_over(&Wrapping, inputs, tile, out);
                Ok(())
            }
            Mode::Checked => {
                let checked = Checked::default();
                self.online_over(&checked, inputs, tile, out);
                checked.outcome()
            }
        }
    }

    fn online_over<A: Arithmetic>(
        &self,
        arithmetic: &A,
        inputs: Inputs<'_>,
        tile: usize,
        out: &mut [i32],
    ) {
        let keys = self.keys(inputs, out.len());
        let mut sums = vec![0; self.head_dim];
        for (query, out) in out.chunks_exact_mut(self.head_dim).enumerate() {
            let mut highest = None;
            let mut total = 0;
            sums.fill(0);
            for start in (0..keys).step_by(tile) {
                let range = start..keys.min(start + tile);
                let scores = self.scores(arithmetic, inputs, query, range);
                let Some(most) = scores.iter().map(|(_, score)| *score).max() else {
                    continue;
                };
                let before = highest.unwrap_or(most);
                let now = most.max(before);
                if now > before {
                    let distance = arithmetic.declared(arithmetic.sub(now, before), 33);
                    let factor = self.exponential.compute(arithmetic, distance);
                    total = self.rescaled(arithmetic, total, factor);
                    for sum in &mut sums {
                        *sum = self.rescaled(arithmetic, *sum, factor);
                    }
                }
                highest = Some(now);
                let weights: Vec<(usize, i64)> = scores
                    .iter()
                    .map(|(key, score)| (*key, self.weight(arithmetic, now, *score)))
                    .collect();
                for (_, weight) in &weights {
                    let weight = arithmetic.shl(*weight, self.guard_bits);
                    total = arithmetic.add(total, weight);
                }
                for (channel, sum) in sums.iter_mut().enumerate() {
                    let part = self.weighted(arithmetic, inputs, &weights, channel);
                    *sum = arithmetic.add(*sum, arithmetic.shl(part, self.guard_bits));
                }
            }
            for (code, sum) in out.iter_mut().zip(&sums) {
                *code = self.output.code(arithmetic, *sum, total);
            }
        }
    }

    /// `(value factor + 2^29) >> 30`.
    fn rescaled<A: Arithmetic>(&self, arithmetic: &A, value: i64, factor: i64) -> i64 {
        if self.wide_rescaling {
            let product = arithmetic.mul_wide(value, factor) + (1 << 29);
            return arithmetic.narrow(product >> 30);
        }
        let product = arithmetic.declared(arithmetic.mul(value, factor), 63);
        arithmetic.shr(arithmetic.add(product, 1 << 29), 30)
    }
}
