//! Perplexity of both models, and what their next-token distributions say about each other.

use super::next_token::{Tally, tallies};
use super::sequences::Sequences;
use super::{Progress, Task, TaskError, TaskSpec};
use crate::intervals::bootstrap;
use crate::metrics::{perplexity, quantile};
use crate::score::Score;
use crate::subject::Subject;
use calib::data::Content;
use calib::model::Output;

/// Next-token loss over text.
#[derive(Debug, Clone, Copy)]
pub struct Perplexity;

pub(super) const NAME: &str = "perplexity";

impl Task for Perplexity {
    fn name(&self) -> &'static str {
        NAME
    }

    fn summary(&self) -> &'static str {
        "next-token loss over windows or documents: perplexity, KL divergence, top-1 agreement"
    }

    fn metrics(&self) -> &'static [&'static str] {
        &[
            "perplexity",
            "kl_divergence",
            "kl_divergence_p99",
            "top1_agreement",
        ]
    }

    fn keys(&self) -> &'static [&'static str] {
        &["mode", "sequence_length", "stride", "separator"]
    }

    fn output(&self) -> Output {
        Output::TokenLogits
    }

    fn run(
        &self,
        subject: &Subject<'_>,
        spec: &TaskSpec,
        content: &Content,
        seed: u64,
        progress: &dyn Progress,
    ) -> Result<Vec<Score>, TaskError> {
        let sequences = Sequences::of(subject, spec, content)?;
        progress.begin(sequences.ids.len() as u64, "sequences");
        let tallies = tallies(subject, &sequences, progress)?;
        let sides = [subject.original.is_some(), subject.quantized.is_some()];
        Ok(scores(&tallies, sides, seed))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runner::Runner;
    use crate::subject::InputFiles;
    use crate::tasks::toy::{Bigram, Weights};
    use burn::tensor::Device;
    use calib::Forward;

    fn subject<'a>(original: Option<&'a Weights>, quantized: Option<&'a Weights>) -> Subject<'a> {
        let forward = |weights: &'a Weights| -> Box<dyn Runner + 'a> {
            Box::new(Forward::new(&Bigram, weights, Device::flex()))
        };
        let (original, quantized) = (original.map(forward), quantized.map(forward));
        Subject {
            original,
            quantized,
            inputs: InputFiles::default(),
        }
    }

    /// Token sequences of different length.
    fn content() -> Content {
        let ids =
            |length: u32, step: u32| (0..length).map(|at| (at * step + at * at) % 11).collect();
        Content::Tokens(vec![
            ids(9, 3),
            ids(14, 5),
            ids(2, 1),
            ids(14, 7),
            ids(1, 0),
        ])
    }

    fn run(subject: &Subject<'_>, spec: &TaskSpec) -> Vec<Score> {
        crate::tasks::evaluate(subject, spec, &content(), 0, &()).unwrap()
    }

    fn log_softmax(logits: &[f64]) -> Vec<f64> {
        let sum: f64 = logits.iter().map(|logit| logit.exp()).sum();
        logits.iter().map(|logit| logit - sum.ln()).collect()
    }

    #[test]
    fn figures_equal_the_textbook_over_all_tokens_at_once() {
        let (original, quantized) = (Weights::new(1, 0.0), Weights::new(1, 0.05));
        let scores = run(
            &subject(Some(&original), Some(&quantized)),
            &TaskSpec::new(NAME, "toy"),
        );
        let (mut tokens, mut o_loss, mut q_loss) = (0.0, 0.0, 0.0);
        let (mut divergences, mut agreeing) = (Vec::new(), 0.0);
        let Content::Tokens(sequences) = content() else {
            unreachable!("tokens")
        };
        for pair in sequences.iter().flat_map(|ids| ids.windows(2)) {
            let o = log_softmax(&original.logits(pair[0]));
            let q = log_softmax(&quantized.logits(pair[0]));
            tokens += 1.0;
            o_loss -= o[pair[1] as usize];
            q_loss -= q[pair[1] as usize];
            divergences.push(
                o.iter()
                    .zip(&q)
                    .map(|(o, q)| o.exp() * (o - q))
                    .sum::<f64>(),
            );
            let top = |values: &[f64]| {
                (0..values.len())
                    .max_by(|&a, &b| values[a].total_cmp(&values[b]))
                    .unwrap()
            };
            agreeing += f64::from(u8::from(top(&o) == top(&q)));
        }
        let near = |found: Option<f64>, expected: f64| {
            let found = found.unwrap();
            assert!(
                (found - expected).abs() < 2e-6 * expected.max(1e-3),
                "{found} {expected}"
            );
        };
        near(scores[0].original, (o_loss / tokens).exp());
        near(scores[0].quantized, (q_loss / tokens).exp());
        near(scores[0].ratio, ((q_loss - o_loss) / tokens).exp());
        near(
            scores[1].quantized,
            divergences.iter().sum::<f64>() / tokens,
        );
        divergences.sort_by(f64::total_cmp);
        near(scores[2].quantized, quantile(&divergences, 0.99));
        near(scores[3].quantized, agreeing / tokens);
        let [low, high] = scores[0].ci95.unwrap();
        let delta = scores[0].delta.unwrap();
        assert!(low <= delta && delta <= high && low < high);
        // The sequence of one token scores nothing.
        assert!(
            scores
                .iter()
                .all(|score| score.samples == 4 && score.tokens == Some(35))
        );
        let names: Vec<&str> = scores.iter().map(|score| score.metric.as_str()).collect();
        assert_eq!(names, Perplexity.metrics());
    }

    #[test]
    fn one_model_gives_its_figure_on_its_side() {
        let weights = Weights::new(2, 0.0);
        let spec = TaskSpec::new(NAME, "toy");
        let alone = run(&subject(None, Some(&weights)), &spec);
        let both = run(&subject(Some(&weights), Some(&weights)), &spec);
        assert_eq!((alone.len(), alone[0].original), (1, None));
        assert_eq!(alone[0].quantized, both[0].original);
        assert_eq!(
            (both[0].delta, both[1].quantized, both[3].quantized),
            (Some(0.0), Some(0.0), Some(1.0))
        );
    }

    #[test]
    fn threads_do_not_change_a_bit() {
        let (original, quantized) = (Weights::new(1, 0.0), Weights::new(1, 0.05));
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            let spec = TaskSpec::new(NAME, "toy");
            pool.install(|| run(&subject(Some(&original), Some(&quantized)), &spec))
        };
        assert_eq!(run(1), run(4));
    }

    #[test]
    fn weights_that_are_no_numbers_are_named() {
        let (original, quantized) = (Weights::new(1, 0.0), Weights::new(1, f32::NAN));
        let subject = subject(Some(&original), Some(&quantized));
        let spec = TaskSpec::new(NAME, "toy");
        let error = crate::tasks::evaluate(&subject, &spec, &content(), 0, &()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "output of the quantized model is not finite (sequence 1, position 1)"
        );
    }

    #[test]
    fn too_long_windows_and_other_data_are_refused_before_any_work() {
        let weights = Weights::new(1, 0.0);
        let subject = subject(Some(&weights), None);
        let refused = |spec: &TaskSpec, content: &Content| {
            crate::tasks::evaluate(&subject, spec, content, 0, &())
                .unwrap_err()
                .to_string()
        };
        let mut spec = TaskSpec::new(NAME, "toy");
        assert_eq!(
            refused(&spec, &Content::Text("a".into())),
            "task `perplexity` needs `tokenizer.json`, and the model folder has none"
        );
        spec.sequence_length = Some(33);
        assert_eq!(
            refused(&spec, &content()),
            "task `perplexity`: `sequence_length`: expected at most the 32 positions of the model, found 33"
        );
        let spec = TaskSpec::new("classification", "toy");
        assert_eq!(
            refused(&spec, &content()),
            "task `classification` needs a model that returns class logits, this one returns next-token logits"
        );
    }
}
