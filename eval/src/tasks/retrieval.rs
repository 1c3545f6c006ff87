//! What both models find again in a text that hides it: a grid of lengths and depths, filled with sentences of the data.

use super::table_texts::of_another_kind;
use super::task::{ConfiguredTask, Task, TaskInput, options};
use super::token_scores::{ScoredSequences, Tally, Targets, tallies};
use crate::compare::KL_DIVERGENCE;
use crate::error::TaskError;
use crate::intervals::bootstrap;
use crate::kind::ModelKind;
use crate::retrieval::{Depths, Filler, Probe, RETRIEVALS, Retrieval, probes};
use crate::score::{Better, Metric, Score, Unit};
use calib::data::{Content, DataError};
use calib::inputs::check_tokens;
use calib::model::Model;
use quantizers::nearest::nearest;
use serde::Deserialize;

/// Answers hidden in long texts.
#[derive(Debug, Clone, Copy)]
pub struct RetrievalTask;

const NAME: &str = "retrieval";
/// Tokens of a text unless given, where the model has as many positions.
const LENGTH: usize = 1024;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    /// Name of a kind of text, or `all`.
    #[serde(default = "kind")]
    kind: String,
    /// Tokens of a text.
    lengths: Option<Vec<usize>>,
    /// In per cent of the text.
    #[serde(default = "depths")]
    depths: Vec<usize>,
    /// Texts for each kind, length and depth.
    #[serde(default = "samples")]
    samples: usize,
}

fn kind() -> String {
    "passkey".to_owned()
}

fn depths() -> Vec<usize> {
    vec![0, 25, 50, 75, 100]
}

fn samples() -> usize {
    4
}

impl Task for RetrievalTask {
    fn name(&self) -> &'static str {
        NAME
    }

    fn summary(&self) -> &'static str {
        "what is hidden in long texts and asked for at their end: answers that are right in every token"
    }

    fn parameters(&self) -> &'static [(&'static str, &'static str)] {
        &[
            (
                "kind",
                "name of a kind of text, `passkey` unless given, or `all`",
            ),
            (
                "lengths",
                "tokens of a text, a list; 1024 or all positions of the model unless given",
            ),
            (
                "depths",
                "where it is hidden, in per cent of the text, a list; 0, 25, 50, 75 and 100 unless given",
            ),
            (
                "samples",
                "texts for each kind, length and depth; 4 unless given",
            ),
        ]
    }

    fn metrics(&self) -> &'static [Metric] {
        const {
            &[
                Metric {
                    name: "retrieval",
                    label: "retrieval",
                    summary: "share of texts whose answer is right in every token",
                    better: Better::Higher,
                    unit: Unit::Share,
                    per_model: true,
                },
                KL_DIVERGENCE,
            ]
        }
    }

    fn judges(&self, kind: ModelKind) -> bool {
        kind == ModelKind::Decoder
    }

    fn configure(&self, table: &toml::Table) -> Result<Box<dyn ConfiguredTask>, TaskError> {
        let options: Options = options(NAME, table)?;
        let value = |key, expected: String, found: String| TaskError::Value {
            task: NAME,
            key,
            expected,
            found,
        };
        if options.kinds().is_empty() {
            let names = RETRIEVALS.iter().map(|kind| kind.name());
            let near = nearest(&options.kind, names.clone());
            let names: Vec<&str> = names.chain(["all"]).collect();
            let near = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
            return Err(value(
                "kind",
                format!("{}{near}", names.join(", ")),
                format!("`{}`", options.kind),
            ));
        }
        if options.lengths.as_ref().is_some_and(Vec::is_empty) {
            return Err(value(
                "lengths",
                "at least one".to_owned(),
                "none".to_owned(),
            ));
        }
        let outside = options.depths.iter().find(|depth| **depth > 100);
        if options.depths.is_empty() || outside.is_some() {
            let found = outside.map_or("none".to_owned(), ToString::to_string);
            return Err(value("depths", "numbers from 0 to 100".to_owned(), found));
        }
        if options.samples == 0 {
            return Err(value("samples", "at least 1".to_owned(), "0".to_owned()));
        }
        Ok(Box::new(options))
    }
}

impl Options {
    fn kinds(&self) -> Vec<&'static dyn Retrieval> {
        let kinds = RETRIEVALS.iter().copied();
        kinds
            .filter(|kind| self.kind == "all" || kind.name() == self.kind)
            .collect()
    }

    /// The texts, at most as many as are asked for.
    fn probes(&self, input: &TaskInput<'_>) -> Result<Vec<Probe>, TaskError> {
        let tokenizer = input.subject.inputs.tokenizer.as_ref();
        let tokenizer = tokenizer.ok_or(TaskError::MissingFile {
            task: NAME,
            file: "tokenizer.json",
        })?;
        let text = match input.content {
            Content::Text(text) => text,
            other => return Err(of_another_kind(input, "text", other)),
        };
        let filler = Filler::of_text(text).ok_or_else(|| DataError::NoRows {
            origin: input.origin.to_owned(),
        })?;
        let positions = input.subject.model().and_then(Model::max_positions);
        let usual = positions.map_or(LENGTH, |positions| positions.min(LENGTH));
        let lengths = self.lengths.clone().unwrap_or_else(|| vec![usual]);
        if let Some((length, positions)) = lengths
            .iter()
            .filter_map(|length| Some((*length, positions?)))
            .find(|(length, positions)| length > positions)
        {
            return Err(TaskError::Value {
                task: NAME,
                key: "lengths",
                expected: format!("at most the {positions} positions of the model"),
                found: length.to_string(),
            });
        }
        let asked = Depths {
            lengths,
            depths: self.depths.clone(),
            samples: self.samples,
        };
        let mut found = Vec::new();
        for kind in self.kinds() {
            let made = probes(kind, tokenizer, &filler, &asked, input.seed);
            found.extend(made?);
        }
        found.truncate(input.limit);
        let ids: Vec<Vec<u32>> = found.iter().map(|probe| probe.tokens.clone()).collect();
        let rows = input.subject.model().and_then(Model::vocabulary);
        check_tokens(&ids, rows, Some(tokenizer), input.origin)?;
        Ok(found)
    }
}

impl ConfiguredTask for Options {
    fn sequence_length(&self) -> Option<usize> {
        self.lengths.as_ref()?.iter().copied().max()
    }

    fn tokens(&self) -> Option<usize> {
        let usual = [LENGTH];
        let lengths = self.lengths.as_deref().unwrap_or(&usual);
        let of_each_length = self.kinds().len() * self.depths.len() * self.samples;
        Some(of_each_length * lengths.iter().sum::<usize>())
    }

    fn check(&self, input: &TaskInput<'_>) -> Result<(), TaskError> {
        self.probes(input).map(drop)
    }

    fn run(&self, input: &TaskInput<'_>) -> Result<Vec<Score>, TaskError> {
        let probes = self.probes(input)?;
        let ids: Vec<Vec<u32>> = probes.iter().map(|probe| probe.tokens.clone()).collect();
        // The logits at a position predict the token after it.
        let targets = |at: usize| {
            let (tokens, answer) = (&probes[at].tokens, probes[at].answer);
            let first = tokens.len() - answer;
            Targets {
                positions: (first - 1..tokens.len() - 1).collect(),
                tokens: tokens[first..].to_vec(),
            }
        };
        let scored = ScoredSequences {
            ids: &ids,
            targets: &targets,
        };
        let subject = input.subject;
        let tallies = tallies(NAME, subject, &scored, input.progress)?;
        let sides = [subject.original.is_some(), subject.quantized.is_some()];
        Ok(scores(&tallies, sides, input.seed))
    }
}

/// Figures of the tallies of all texts; intervals resample texts.
fn scores(tallies: &[Tally], [original, quantized]: [bool; 2], seed: u64) -> Vec<Score> {
    let is_right = |right: f64, tally: &Tally| f64::from(u8::from(right >= tally.tokens));
    let sums = |rows: &mut dyn Iterator<Item = usize>| {
        let mut sums = [0.0; 4];
        for row in rows {
            let tally = &tallies[row];
            sums[0] += is_right(tally.original_right, tally);
            sums[1] += is_right(tally.quantized_right, tally);
            sums[2] += tally.tokens;
            sums[3] += tally.divergences.iter().sum::<f64>();
        }
        sums
    };
    let texts = tallies.len().max(1) as f64;
    let [o, q, tokens, diverging] = sums(&mut (0..tallies.len()));
    let [right, divergence] = bootstrap(tallies.len(), seed, |rows| {
        let [o, q, tokens, diverging] = sums(&mut rows.iter().copied());
        let figure = match (original, quantized) {
            (true, true) => q - o,
            (true, false) => o,
            (false, _) => q,
        };
        [figure / texts, diverging / tokens]
    });
    let share = |is_there: bool, right: f64| is_there.then_some(right / texts);
    let mut scores =
        vec![Score::of_models(NAME, share(original, o), share(quantized, q)).with_interval(right)];
    if original && quantized {
        let divergence =
            Score::of_comparison("kl_divergence", diverging / tokens).with_interval(divergence);
        scores.push(divergence);
    }
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

    #[test]
    fn an_answer_counts_where_every_token_is_right() {
        let tally = |original_right, quantized_right| Tally {
            tokens: 3.0,
            original_right,
            quantized_right,
            divergences: vec![0.5; 3],
            ..Tally::default()
        };
        let tallies = [
            tally(3.0, 3.0),
            tally(3.0, 2.0),
            tally(2.0, 3.0),
            tally(3.0, 0.0),
        ];
        let both = scores(&tallies, [true, true], 0);
        assert_eq!(
            (both[0].original, both[0].quantized),
            (Some(0.75), Some(0.5))
        );
        assert_eq!((both[1].quantized, both[1].tokens), (Some(0.5), Some(12)));
        let alone = scores(&tallies, [false, true], 0);
        assert_eq!((alone[0].original, alone.len()), (None, 1));
    }

    #[test]
    fn keys_that_mean_nothing_are_errors() {
        for (text, expected) in [
            ("kind = \"pass\"", "did you mean `passkey`?"),
            ("lengths = []", "at least one"),
            ("depths = [50, 101]", "from 0 to 100"),
            ("samples = 0", "at least 1"),
            ("lengths = 7", "expected a sequence"),
        ] {
            let error = RetrievalTask
                .configure(&text.parse().unwrap())
                .err()
                .unwrap();
            assert!(error.to_string().contains(expected), "{text}: {error}");
        }
        let all = RetrievalTask.configure(
            &"kind = \"all\"\nlengths = [64, 32]\nsamples = 1"
                .parse()
                .unwrap(),
        );
        let all = all.unwrap();
        assert_eq!(all.sequence_length(), Some(64));
        assert_eq!(all.tokens(), Some(RETRIEVALS.len() * 5 * 96));
    }
}
