//! Perplexity of both models, and what their next-token distributions say about each other.

use super::sequences::{SequenceOptions, Sequences};
use super::task::{ConfiguredTask, Task, TaskInput, options};
use super::token_scores::{ScoredSequences, Tally, Targets, tallies};
use crate::compare::{KL_DIVERGENCE, TOP1_AGREEMENT};
use crate::error::TaskError;
use crate::intervals::bootstrap;
use crate::kind::ModelKind;
use crate::metrics::{perplexity, quantile};
use crate::score::{Better, Metric, Score, Unit};

/// Next-token loss over text.
#[derive(Debug, Clone, Copy)]
pub struct Perplexity;

const NAME: &str = "perplexity";

impl Task for Perplexity {
    fn name(&self) -> &'static str {
        NAME
    }

    fn summary(&self) -> &'static str {
        "next-token loss over windows or documents: perplexity, KL divergence, top-1 agreement"
    }

    fn parameters(&self) -> &'static [(&'static str, &'static str)] {
        SequenceOptions::KEYS
    }

    fn metrics(&self) -> &'static [Metric] {
        const {
            &[
                Metric {
                    name: "perplexity",
                    label: "perplexity",
                    summary: "exp of the mean loss per scored token",
                    better: Better::Lower,
                    unit: Unit::Plain(4),
                    per_model: true,
                },
                KL_DIVERGENCE,
                Metric {
                    name: "kl_divergence_p99",
                    label: "KL divergence (99th percentile)",
                    summary: "99th percentile over scored tokens of the same",
                    better: Better::Lower,
                    unit: Unit::Significant(4),
                    per_model: false,
                },
                TOP1_AGREEMENT,
            ]
        }
    }

    fn judges(&self, kind: ModelKind) -> bool {
        kind == ModelKind::Decoder
    }

    fn configure(&self, table: &toml::Table) -> Result<Box<dyn ConfiguredTask>, TaskError> {
        let options: SequenceOptions = options(NAME, table)?;
        options.check(NAME)?;
        Ok(Box::new(options))
    }
}

impl ConfiguredTask for SequenceOptions {
    fn sequence_length(&self) -> Option<usize> {
        self.sequence_length
    }

    fn check(&self, input: &TaskInput<'_>) -> Result<(), TaskError> {
        Sequences::check(NAME, self, input)
    }

    fn run(&self, input: &TaskInput<'_>) -> Result<Vec<Score>, TaskError> {
        let sequences = Sequences::of(NAME, self, input)?;
        let (subject, progress) = (input.subject, input.progress);
        // The logits at a position predict the token after it; the last position predicts nothing here.
        let targets = |at: usize| {
            let (ids, first) = (&sequences.ids[at], sequences.first[at]);
            Targets {
                positions: (first - 1..ids.len() - 1).collect(),
                tokens: ids[first..].to_vec(),
            }
        };
        let scored = ScoredSequences {
            ids: &sequences.ids,
            targets: &targets,
        };
        let tallies = tallies(NAME, subject, &scored, progress)?;
        let sides = [subject.original.is_some(), subject.quantized.is_some()];
        Ok(scores(&tallies, sides, input.seed))
    }
}

/// Figures of the tallies of all sequences; intervals resample sequences.
fn scores(tallies: &[Tally], [original, quantized]: [bool; 2], seed: u64) -> Vec<Score> {
    let divergence: Vec<f64> = tallies
        .iter()
        .map(|tally| tally.divergences.iter().sum())
        .collect();
    let sums = |rows: &mut dyn Iterator<Item = usize>| {
        let mut sums = [0.0; 5];
        for row in rows {
            let tally = &tallies[row];
            sums[0] += tally.tokens;
            sums[1] += tally.original_loss;
            sums[2] += tally.quantized_loss;
            sums[3] += tally.agreeing;
            sums[4] += divergence[row];
        }
        sums
    };
    let [tokens, o_loss, q_loss, agreeing, diverging] = sums(&mut (0..tallies.len()));
    let [lone, delta, ratio, mean_divergence, agreement] = bootstrap(tallies.len(), seed, |rows| {
        let [tokens, o_loss, q_loss, agreeing, diverging] = sums(&mut rows.iter().copied());
        let (o, q) = (perplexity(o_loss, tokens), perplexity(q_loss, tokens));
        let lone = if original { o } else { q };
        [lone, q - o, q / o, diverging / tokens, agreeing / tokens]
    });
    let both = original && quantized;
    let mut first = Score::of_models(
        "perplexity",
        original.then(|| perplexity(o_loss, tokens)),
        quantized.then(|| perplexity(q_loss, tokens)),
    )
    .with_interval(if both { delta } else { lone });
    let mut scores = Vec::new();
    if both {
        first.ratio_ci95 = ratio.map(|ratio| ratio.ci95);
        let mut sorted: Vec<f64> = tallies
            .iter()
            .flat_map(|tally| tally.divergences.iter().copied())
            .collect();
        sorted.sort_by(f64::total_cmp);
        scores.extend([
            Score::of_comparison("kl_divergence", diverging / tokens)
                .with_interval(mean_divergence),
            Score::of_comparison("kl_divergence_p99", quantile(&sorted, 0.99)),
            Score::of_comparison("top1_agreement", agreeing / tokens).with_interval(agreement),
        ]);
    }
    scores.insert(0, first);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a count"
    )]
    let tokens = tokens as u64;
    for score in &mut scores {
        score.samples = tallies.len() as u64;
        score.tokens = Some(tokens);
    }
    scores
}
