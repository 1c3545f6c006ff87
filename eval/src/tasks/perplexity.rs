//! Perplexity of both models, and what their next-token distributions say about each other.

use super::next_token::{Sequences, Tally, tallies};
use super::{Mode, Progress, Task, TaskError, TaskSpec};
use crate::intervals::bootstrap;
use crate::metrics::{perplexity, quantile};
use crate::score::Score;
use crate::subject::Subject;
use calib::data::{Content, DataError};
use calib::model::Output;
use calib::sampling::{TextMode, text_sequences};

/// Next-token loss over text.
#[derive(Debug, Clone, Copy)]
pub struct Perplexity;

const NAME: &str = "perplexity";
/// Window length where neither recipe nor model gives one, and the longest default.
const LENGTH: usize = 2048;

impl Task for Perplexity {
    fn name(&self) -> &'static str {
        NAME
    }

    fn summary(&self) -> &'static str {
        "next-token loss over windows or documents: perplexity, KL divergence, top-1 agreement"
    }

    fn metrics(&self) -> &'static [&'static str] {
        &["perplexity", "kl_divergence", "kl_divergence_p99", "top1_agreement"]
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
        let sequences = sequences(subject, spec, content)?;
        progress.begin(sequences.ids.len() as u64, "sequences");
        let tallies = tallies(subject, &sequences, progress)?;
        let sides = [subject.original.is_some(), subject.quantized.is_some()];
        Ok(scores(&tallies, sides, seed))
    }
}

fn sequences(
    subject: &Subject<'_>,
    spec: &TaskSpec,
    content: &Content,
) -> Result<Sequences, TaskError> {
    let positions = subject.model().and_then(|model| model.max_positions());
    let default = positions.map_or(LENGTH, |positions| positions.min(LENGTH));
    let length = spec.sequence_length.unwrap_or(default);
    if let Some(positions) = positions.filter(|&positions| length > positions) {
        return Err(TaskError::Value {
            task: spec.task.clone(),
            key: "sequence_length",
            expected: format!("at most the {positions} positions of the model"),
            found: length.to_string(),
        });
    }
    let mut ids = token_ids(subject, spec, content, length)?;
    ids.retain(|ids| ids.len() > 1);
    ids.truncate(spec.limit.unwrap_or(usize::MAX));
    if ids.is_empty() {
        let origin = spec.data.clone();
        return Err(DataError::TooShort { origin, needed: length, found: 0 }.into());
    }
    // An overlapping window scores what the one before did not hold.
    let held = length.saturating_sub(spec.stride.unwrap_or(length)).max(1);
    let first = (0..ids.len()).map(|at| if at == 0 { 1 } else { held }).collect();
    Ok(Sequences { ids, first })
}

fn token_ids(
    subject: &Subject<'_>,
    spec: &TaskSpec,
    content: &Content,
    length: usize,
) -> Result<Vec<Vec<u32>>, TaskError> {
    let tokenizer = || {
        let tokenizer = subject.inputs.tokenizer.as_ref();
        tokenizer.ok_or(TaskError::MissingFile { task: NAME, file: "tokenizer.json" })
    };
    let separator = || spec.separator.clone().unwrap_or_else(|| "<|endoftext|>".to_owned());
    let documents = spec.mode.unwrap_or_default() == Mode::Documents;
    let windows = TextMode::Windows { stride: spec.stride };
    match content {
        Content::Text(text) => {
            let mode = if documents {
                TextMode::Documents { separator: separator() }
            } else {
                windows
            };
            Ok(text_sequences(text, &mode, length, tokenizer()?, &spec.data)?)
        }
        // Rows are documents of their own, or paragraphs of one text.
        Content::Table(table) if documents => {
            let tokenizer = tokenizer()?;
            let begin = tokenizer.begin().ok_or(DataError::NoBeginToken)?;
            let row = |text: &String| {
                let mut ids = vec![begin];
                ids.extend(tokenizer.encode(text.trim())?);
                ids.truncate(length);
                Ok(ids)
            };
            table.texts()?.iter().map(row).collect()
        }
        Content::Table(table) => {
            let text = table.texts()?.join("\n\n");
            Ok(text_sequences(&text, &windows, length, tokenizer()?, &spec.data)?)
        }
        Content::Tokens(sequences) => Ok(sequences
            .iter()
            .map(|ids| ids[..ids.len().min(length)].to_vec())
            .collect()),
        Content::Images(_) => {
            let origin = spec.data.clone();
            Err(DataError::Kind { origin, expected: "text", found: content.kind() }.into())
        }
    }
}

/// Figures of the tallies of all sequences; intervals resample sequences.
fn scores(tallies: &[Tally], [original, quantized]: [bool; 2], seed: u64) -> Vec<Score> {
    let divergence: Vec<f64> = tallies.iter().map(|tally| tally.divergences.iter().sum()).collect();
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
        let mut sorted: Vec<f64> =
            tallies.iter().flat_map(|tally| tally.divergences.iter().copied()).collect();
        sorted.sort_by(f64::total_cmp);
        scores.extend([
            Score::of_comparison("kl_divergence", diverging / tokens).with_interval(mean_divergence),
            Score::of_comparison("kl_divergence_p99", quantile(&sorted, 0.99)),
            Score::of_comparison("top1_agreement", agreeing / tokens).with_interval(agreement),
        ]);
    }
    scores.insert(0, first);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
    let tokens = tokens as u64;
    for score in &mut scores {
        score.samples = tallies.len() as u64;
        score.tokens = Some(tokens);
    }
    scores
}
