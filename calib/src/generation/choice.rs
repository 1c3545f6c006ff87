//! Which token comes next.
//!
//! In the order of transformers: repetition penalty, temperature, `top_k`, `top_p`, `min_p`, and a draw from what is
//! left. Without temperature the likeliest token, of several the lowest.

use super::exponentials::{exponentials, largest, log_sum};
use crate::sampling::{generator, unit};
use quantizers::scratch::Scratch;
use serde_json::Value;

/// How the next token is drawn.
#[derive(Debug, Clone, PartialEq)]
pub struct Sampling {
    /// Logits are divided by it; at 0 the likeliest token is taken.
    pub temperature: f64,
    /// So many of the likeliest tokens are left, and those as likely as the last of them; 0: all.
    pub top_k: usize,
    /// The likeliest tokens are left that together have at least this probability; 1: all.
    pub top_p: f64,
    /// Tokens are left that are at least so likely as this share of the likeliest one; 0: all.
    pub min_p: f64,
    /// Positive logits of tokens that were there before are divided by it, negative ones multiplied; 1: nothing.
    pub repetition_penalty: f64,
    /// Logits of tokens that came after the prompt are made smaller by this for each time they came.
    pub frequency_penalty: f64,
    /// They are made smaller by this besides.
    pub presence_penalty: f64,
    /// Of the draws.
    pub seed: u64,
}

impl Default for Sampling {
    /// The likeliest token, always.
    fn default() -> Self {
        Self {
            temperature: 0.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            frequency_penalty: 0.0,
            presence_penalty: 0.0,
            seed: 0,
        }
    }
}

/// A token that was taken.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Choice {
    /// Its id.
    pub token: u32,
    /// Logarithm of its probability by the logits as they came.
    pub log_probability: f64,
}

impl Sampling {
    /// What `generation_config.json` asks for; the likeliest token where it says nothing, or `do_sample` is not true.
    pub fn of_config(config: &Value) -> Self {
        let number = |key: &str| config[key].as_f64();
        let greedy = Self::default();
        let penalty = number("repetition_penalty").unwrap_or(greedy.repetition_penalty);
        if config["do_sample"] != true {
            return Self {
                repetition_penalty: penalty,
                ..greedy
            };
        }
        let top_k = config["top_k"]
            .as_u64()
            .and_then(|k| usize::try_from(k).ok());
        Self {
            temperature: number("temperature").unwrap_or(1.0),
            // What transformers takes where the file says nothing.
            top_k: top_k.unwrap_or(50),
            top_p: number("top_p").unwrap_or(1.0),
            min_p: number("min_p").unwrap_or(0.0),
            repetition_penalty: penalty,
            ..greedy
        }
    }

    /// The token after `context` by `logits` `[vocabulary]`; `step` counts the tokens at its end that were generated,
    /// and each has a random number of its own. `None` where a logit is not a number, or none is finite.
    pub fn choose(&self, logits: &[f32], context: &[u32], step: usize) -> Option<Choice> {
        let total = log_sum(logits)?;
        if self.takes_the_likeliest() {
            let most = largest(logits);
            let token = logits.iter().position(|logit| *logit >= most)?;
            return chosen(token, logits, total);
        }
        let mut scores = Scratch::collected(logits.iter().copied().map(f64::from));
        self.penalise(&mut scores, context);
        self.penalise_new(&mut scores, &context[context.len().saturating_sub(step)..]);
        let token = if self.temperature > 0.0 {
            for score in scores.iter_mut() {
                *score /= self.temperature;
            }
            let kept = self.kept(&scores)?;
            draw(
                &kept,
                unit(&mut generator("generate", self.seed, step as u64)),
            )?
        } else {
            likeliest(&scores)?
        };
        chosen(token, logits, total)
    }

    /// Whether nothing is asked for that changes which token is the likeliest.
    fn takes_the_likeliest(&self) -> bool {
        let is_penalised = self.penalises() || self.penalises_new();
        self.temperature <= 0.0 && !is_penalised
    }

    fn penalises(&self) -> bool {
        self.repetition_penalty.to_bits() != 1.0_f64.to_bits()
    }

    fn penalises_new(&self) -> bool {
        self.frequency_penalty.abs() + self.presence_penalty.abs() > 0.0
    }

    fn penalise(&self, scores: &mut [f64], context: &[u32]) {
        if !self.penalises() {
            return;
        }
        for id in ascending(context).chunk_by(u32::eq) {
            if let Some(score) = scores.get_mut(id[0] as usize) {
                *score = if *score > 0.0 {
                    *score / self.repetition_penalty
                } else {
                    *score * self.repetition_penalty
                };
            }
        }
    }

    fn penalise_new(&self, scores: &mut [f64], new: &[u32]) {
        if !self.penalises_new() {
            return;
        }
        for id in ascending(new).chunk_by(u32::eq) {
            if let Some(score) = scores.get_mut(id[0] as usize) {
                *score -= id.len() as f64 * self.frequency_penalty + self.presence_penalty;
            }
        }
    }

    /// The tokens that are left, ascending, with their shares of the probability of them all.
    fn kept(&self, scores: &[f64]) -> Option<Scratch<(usize, f64)>> {
        let mut kept = Scratch::collected(scores.iter().copied().enumerate());
        if self.top_k > 0 && self.top_k < kept.len() {
            let at = self.top_k - 1;
            kept.select_nth_unstable_by(at, |one, other| other.1.total_cmp(&one.1));
            let least = kept[at].1;
            kept.retain(|(_, score)| *score >= least);
        }
        make_shares(&mut kept)?;
        if self.top_p < 1.0 {
            kept.sort_unstable_by(|one, other| other.1.total_cmp(&one.1));
            let mut before = 0.0;
            let count = kept.iter().take_while(|(_, probability)| {
                let is_left = before < self.top_p;
                before += probability;
                is_left
            });
            let count = count.count().max(1);
            kept.truncate(count);
        }
        let most = kept.iter().map(|(_, p)| *p).fold(0.0, f64::max);
        kept.retain(|(_, probability)| *probability >= self.min_p * most);
        kept.sort_unstable_by_key(|(token, _)| *token);
        Some(kept)
    }
}

fn chosen(token: usize, logits: &[f32], total: f64) -> Option<Choice> {
    Some(Choice {
        token: u32::try_from(token).ok()?,
        log_probability: f64::from(logits[token]) - total,
    })
}

/// `ids` from the lowest to the highest.
fn ascending(ids: &[u32]) -> Scratch<u32> {
    let mut ids = Scratch::copied(ids);
    ids.sort_unstable();
    ids
}

/// The token at `u`, in 0..1, of the summed probabilities.
fn draw(kept: &[(usize, f64)], u: f64) -> Option<usize> {
    let total: f64 = kept.iter().map(|(_, probability)| probability).sum();
    let mut left = u * total;
    for (token, probability) in kept {
        if left < *probability {
            return Some(*token);
        }
        left -= probability;
    }
    // Rounding may leave a little.
    let likely = kept
        .iter()
        .rev()
        .find(|(_, probability)| *probability > 0.0);
    likely.map(|(token, _)| *token)
}

fn likeliest(scores: &[f64]) -> Option<usize> {
    let all = scores.iter().enumerate();
    let best = all
        .max_by(|(one_at, one), (other_at, other)| one.total_cmp(other).then(other_at.cmp(one_at)));
    best.map(|(token, _)| token)
}

/// Makes shares of one, by their exponentials, of scores; `None` where that cannot be.
fn make_shares(scores: &mut [(usize, f64)]) -> Option<()> {
    let most = scores.iter().map(|(_, score)| *score);
    let most = most.fold(f64::NEG_INFINITY, f64::max);
    #[expect(clippy::cast_possible_truncation, reason = "near zero where it counts")]
    let below = scores.iter().map(|(_, score)| (*score - most) as f32);
    let mut shares = Scratch::collected(below);
    exponentials(&mut shares);
    let total: f64 = shares.iter().copied().map(f64::from).sum();
    for ((_, score), share) in scores.iter_mut().zip(&shares) {
        *score = f64::from(*share) / total;
    }
    total.is_finite().then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const LOGITS: [f32; 4] = [2.0, 1.0, 0.0, -1.0];

    fn kept(sampling: &Sampling) -> Scratch<(usize, f64)> {
        let scores: Vec<f64> = LOGITS
            .iter()
            .map(|logit| f64::from(*logit) / sampling.temperature)
            .collect();
        sampling.kept(&scores).unwrap()
    }

    fn warm() -> Sampling {
        Sampling {
            temperature: 1.0,
            ..Sampling::default()
        }
    }

    #[test]
    fn the_worked_example() {
        let close = |found: &[(usize, f64)], expected: &[f64]| {
            assert_eq!(found.len(), expected.len());
            for ((_, found), expected) in found.iter().zip(expected) {
                assert!((found - expected).abs() < 5e-5, "{found} {expected}");
            }
        };
        let all = [0.6439, 0.2369, 0.0871, 0.0321];
        close(&kept(&warm()), &all);
        let nucleus = Sampling {
            top_p: 0.9,
            ..warm()
        };
        close(&kept(&nucleus), &all[..3]);
        let likely = Sampling {
            min_p: 0.2,
            ..warm()
        };
        close(&kept(&likely), &all[..2]);
        let cold = Sampling {
            temperature: 0.7,
            ..warm()
        };
        close(&kept(&cold), &[0.7629, 0.1828, 0.0438, 0.0105]);
        let mut scores = LOGITS.map(f64::from);
        let penalty = Sampling {
            repetition_penalty: 1.3,
            ..warm()
        };
        penalty.penalise(&mut scores, &[0, 3, 0]);
        for (found, expected) in scores.iter().zip([1.5385, 1.0, 0.0, -1.3]) {
            assert!((found - expected).abs() < 5e-5, "{found} {expected}");
        }
    }

    #[test]
    fn the_likeliest_of_equals_is_the_first_and_ties_survive_top_k() {
        let choose = |logits: &[f32]| Sampling::default().choose(logits, &[], 0);
        assert_eq!(choose(&[0.0, 3.0, 3.0]).unwrap().token, 1);
        assert!(choose(&[0.0, f32::NAN]).is_none());
        assert!(choose(&[f32::NEG_INFINITY; 2]).is_none());
        let two = Sampling { top_k: 2, ..warm() };
        assert_eq!(two.kept(&[1.0, 5.0, 1.0, 0.0]).unwrap().len(), 3);
    }

    // Token 0 came twice and token 2 once after the prompt: 2 - 2·0.5 - 0.25 and 0 - 0.5 - 0.25.
    #[test]
    fn tokens_of_the_answer_are_penalised_by_how_often_they_came() {
        let mut scores = LOGITS.map(f64::from);
        let penalty = Sampling {
            frequency_penalty: 0.5,
            presence_penalty: 0.25,
            ..warm()
        };
        penalty.penalise_new(&mut scores, &[0, 2, 0]);
        let bits = |scores: [f64; 4]| scores.map(f64::to_bits);
        assert_eq!(bits(scores), bits([0.75, 1.0, -0.75, -1.0]));
        let choose = |context: &[u32], step| {
            let greedy = Sampling {
                presence_penalty: 2.0,
                ..Sampling::default()
            };
            greedy.choose(&LOGITS, context, step).unwrap().token
        };
        assert_eq!((choose(&[0, 3], 1), choose(&[3, 0], 1)), (0, 1));
    }

    #[test]
    fn draws_follow_the_probabilities() {
        let logits: Vec<f32> = [0.30_f32, 0.25, 0.2, 0.15, 0.07, 0.03]
            .iter()
            .map(|probability| probability.ln())
            .collect();
        let mut counts = [0_u32; 6];
        let draws = 100_000_usize;
        for step in 0..draws {
            let choice = warm().choose(&logits, &[], step).unwrap();
            counts[choice.token as usize] += 1;
        }
        let chi_square: f64 = counts
            .iter()
            .zip(&logits)
            .map(|(count, logit)| {
                let expected = f64::from(logit.exp()) * draws as f64;
                (f64::from(*count) - expected).powi(2) / expected
            })
            .sum();
        // The bound that one run in a thousand passes, of five degrees of freedom.
        assert!(chi_square < 20.5, "{chi_square} {counts:?}");
    }

    #[test]
    fn a_file_that_does_not_sample_is_followed() {
        let file = json!({"do_sample": false, "temperature": 0.6, "repetition_penalty": 1.1});
        let found = Sampling::of_config(&file);
        assert_eq!((found.temperature, found.repetition_penalty), (0.0, 1.1));
        let file = json!({"do_sample": true, "top_p": 0.9});
        let found = Sampling::of_config(&file);
        assert_eq!(
            (found.temperature, found.top_k, found.top_p),
            (1.0, 50, 0.9)
        );
    }
}
