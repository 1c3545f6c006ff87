//! What the next-token distributions of several runs say, against those of the original.

use crate::compare::{Pair, pair};
use crate::error::{Side, TaskError};
use crate::forward_runner::values;
use crate::intervals::bootstrap;
use crate::metrics::perplexity;
use calib::{Hidden, NoTap, Stage};
use rayon::prelude::*;
use serde::Serialize;

/// Logits of one run that exist at once in one thread: the more positions, the less often the head is read.
const LOGITS: usize = 1 << 24;
/// Positions that are worth reading the head for.
const FEWEST_POSITIONS: usize = 64;

/// What a run costs at the end of the model.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct TokenCost {
    /// Perplexity of the original.
    pub original: f64,
    /// Perplexity with this way of attending.
    pub perplexity: f64,
    /// Its ratio to the original's, less one.
    pub delta: f64,
    /// 95 % interval of the delta, windows resampled; absent with one window.
    pub delta_ci95: Option<[f64; 2]>,
    /// Mean KL divergence of the next-token distributions, nats.
    pub divergence: f64,
    /// Share of positions with the same likeliest token.
    pub top1_agreement: f64,
    /// Tokens scored.
    pub tokens: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    tokens: f64,
    original: f64,
    changed: f64,
    divergence: f64,
    agreeing: f64,
}

impl Sums {
    fn add(self, other: Self) -> Self {
        Self {
            tokens: self.tokens + other.tokens,
            original: self.original + other.original,
            changed: self.changed + other.changed,
            divergence: self.divergence + other.divergence,
            agreeing: self.agreeing + other.agreeing,
        }
    }

    fn add_pair(&mut self, pair: &Pair) {
        self.tokens += 1.0;
        self.original += pair.original_loss;
        self.changed += pair.quantized_loss;
        self.divergence += pair.divergence;
        self.agreeing += f64::from(u8::from(pair.agree));
    }

    fn delta(&self) -> f64 {
        perplexity(self.changed, self.tokens) / perplexity(self.original, self.tokens) - 1.0
    }
}

/// Runs `head`, which knows `vocabulary` tokens, on what enters it, of the original and of every run, window by window; `ids` are the tokens of the windows.
/// One cost for each run.
///
/// # Errors
/// A head that cannot be run, logits that are not finite.
pub fn token_costs(
    (head, vocabulary): (&dyn Stage, usize),
    ids: &[&[u32]],
    original: &[Hidden],
    runs: &[&[Hidden]],
    seed: u64,
) -> Result<Vec<TokenCost>, TaskError> {
    let positions = (LOGITS / vocabulary.max(1)).max(FEWEST_POSITIONS);
    let windows = (0..ids.len()).into_par_iter().map(|window| {
        let changed: Vec<&Hidden> = runs.iter().map(|states| &states[window]).collect();
        of_window((head, positions), ids[window], &original[window], &changed)
    });
    let by_window: Vec<Vec<Sums>> = windows.collect::<Result<_, _>>()?;
    let costs = (0..runs.len()).map(|run| {
        let sums: Vec<Sums> = by_window.iter().map(|window| window[run]).collect();
        cost(&sums, seed)
    });
    Ok(costs.collect())
}

/// What the windows of one run say.
fn cost(sums: &[Sums], seed: u64) -> TokenCost {
    let all = sums.iter().copied().fold(Sums::default(), Sums::add);
    let [delta] = bootstrap(sums.len(), seed, |rows| {
        let drawn = rows.iter().map(|&row| sums[row]);
        [drawn.fold(Sums::default(), Sums::add).delta()]
    });
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a count"
    )]
    let tokens = all.tokens as u64;
    TokenCost {
        original: perplexity(all.original, all.tokens),
        perplexity: perplexity(all.changed, all.tokens),
        delta: all.delta(),
        delta_ci95: delta.map(|interval| interval.ci95),
        divergence: all.divergence / all.tokens,
        top1_agreement: all.agreeing / all.tokens,
        tokens,
    }
}

fn of_window(
    (head, positions): (&dyn Stage, usize),
    ids: &[u32],
    original: &Hidden,
    changed: &[&Hidden],
) -> Result<Vec<Sums>, TaskError> {
    let logits = |hidden: &Hidden, start, length, side| {
        let states = hidden.clone().into_states(|| "head".to_owned());
        let part = states.map(|states| Hidden::States(states.narrow(1, start, length)));
        let logits = part.and_then(|part| head.forward(part, &mut NoTap));
        values(
            logits.map_err(|source| TaskError::Stage { side, source })?,
            side,
        )
    };
    let scored = ids.len().saturating_sub(1);
    let mut sums = vec![Sums::default(); changed.len()];
    for start in (0..scored).step_by(positions) {
        let length = positions.min(scored - start);
        let ([_, _, width], exact) = logits(original, start, length, Side::Original)?;
        for (sums, changed) in sums.iter_mut().zip(changed) {
            let (_, found) = logits(changed, start, length, Side::Quantized)?;
            let rows = exact.chunks_exact(width).zip(found.chunks_exact(width));
            for ((exact, found), &target) in rows.zip(&ids[start + 1..]) {
                let pair =
                    pair(exact, found, target as usize).ok_or_else(|| TaskError::Values {
                        side: Side::Quantized,
                        found: "a logit that is not finite".to_owned(),
                    })?;
                sums.add_pair(&pair);
            }
        }
    }
    Ok(sums)
}
