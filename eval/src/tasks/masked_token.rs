//! Guessing masked tokens: a share of each text's tokens is replaced by the mask token, and the models are asked for
//! them. Both models see the same masks, which depend on the seed and the place of the text in the data alone.

use super::table_texts::of_another_kind;
use super::task::{ConfiguredTask, Task, TaskInput, options};
use super::token_scores::{ScoredSequences, Tally, Targets, tallies};
use crate::compare::{KL_DIVERGENCE, TOP1_AGREEMENT};
use crate::error::TaskError;
use crate::intervals::bootstrap;
use crate::kind::ModelKind;
use crate::score::{Better, Metric, Score, Unit};
use calib::data::{Content, DataError};
use calib::inputs::check_tokens;
use calib::model::Model;
use calib::sampling::{Selection, select};
use calib::tokenizer::Tokenizer;
use serde::Deserialize;

/// Masked tokens of texts.
#[derive(Debug, Clone, Copy)]
pub struct MaskedToken;

const NAME: &str = "masked_token";
/// Share of the tokens that is masked, as in the pretraining of BERT (Devlin et al. 2019).
const SHARE: f64 = 0.15;
/// Texts that are tried before any work.
const TRIED: usize = 32;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    /// Tokens a text is cut at, special tokens included.
    max_length: Option<usize>,
    /// Of the tokens of each text, at least one.
    #[serde(default = "share")]
    share: f64,
}

fn share() -> f64 {
    SHARE
}

impl Task for MaskedToken {
    fn name(&self) -> &'static str {
        NAME
    }

    fn summary(&self) -> &'static str {
        "masked tokens of each line or row: accuracy, loss, KL divergence, agreement"
    }

    fn parameters(&self) -> &'static [(&'static str, &'static str)] {
        &[
            (
                "max_length",
                "tokens a text is cut at, special tokens included",
            ),
            (
                "share",
                "share of the tokens of a text that is masked, at least one of them; 0.15 unless given",
            ),
        ]
    }

    fn metrics(&self) -> &'static [Metric] {
        const {
            &[
                Metric {
                    name: "masked_accuracy",
                    label: "masked-token accuracy",
                    summary: "share of masked tokens that are the largest logit",
                    better: Better::Higher,
                    unit: Unit::Share,
                    per_model: true,
                },
                Metric {
                    name: "masked_loss",
                    label: "masked-token loss",
                    summary: "mean negative log likelihood of masked tokens, nats",
                    better: Better::Lower,
                    unit: Unit::Plain(4),
                    per_model: true,
                },
                KL_DIVERGENCE,
                TOP1_AGREEMENT,
            ]
        }
    }

    fn judges(&self, kind: ModelKind) -> bool {
        kind == ModelKind::MaskedModel
    }

    fn configure(&self, table: &toml::Table) -> Result<Box<dyn ConfiguredTask>, TaskError> {
        let options: Options = options(NAME, table)?;
        if !(options.share > 0.0 && options.share <= 1.0) {
            return Err(TaskError::Value {
                task: NAME,
                key: "share",
                expected: "a number above 0 and at most 1".to_owned(),
                found: options.share.to_string(),
            });
        }
        Ok(Box::new(options))
    }
}

impl ConfiguredTask for Options {
    fn check(&self, input: &TaskInput<'_>) -> Result<(), TaskError> {
        let tried = TaskInput {
            limit: input.limit.min(TRIED),
            ..*input
        };
        // A token beyond the model's table may stand anywhere.
        let rows = input.subject.model().and_then(Model::vocabulary);
        let tokenizer = input.subject.inputs.tokenizer.as_ref();
        let beyond = matches!((rows, tokenizer), (Some(rows), Some(t)) if t.reaches(rows));
        self.masked(if beyond { input } else { &tried }).map(drop)
    }

    fn run(&self, input: &TaskInput<'_>) -> Result<Vec<Score>, TaskError> {
        let masked = self.masked(input)?;
        input.taken(masked.ids.len(), "texts")?;
        let (subject, progress) = (input.subject, input.progress);
        let targets = |at: usize| Targets {
            positions: masked.positions[at].clone(),
            tokens: masked.tokens[at].clone(),
        };
        let scored = ScoredSequences {
            ids: &masked.ids,
            targets: &targets,
        };
        let tallies = tallies(NAME, subject, &scored, progress)?;
        let sides = [subject.original.is_some(), subject.quantized.is_some()];
        Ok(scores(&tallies, sides, input.seed))
    }
}

/// Sequences with mask tokens in them.
#[derive(Default)]
struct Masked {
    ids: Vec<Vec<u32>>,
    /// Where they are masked, ascending.
    positions: Vec<Vec<usize>>,
    /// What stood there.
    tokens: Vec<Vec<u32>>,
}

/// The texts of the data: rows of a table, or lines that are not blank.
fn texts<'a>(input: &TaskInput<'a>) -> Result<Vec<&'a str>, TaskError> {
    let found: Vec<&str> = match input.content {
        Content::Text(text) => text.lines().collect(),
        Content::Table(table) => {
            let texts = table.texts()?;
            if let Some(remark) = texts.remark() {
                input.progress.remark(&remark);
            }
            texts.texts().collect()
        }
        other => return Err(of_another_kind(input, "text", other)),
    };
    let written = found.into_iter().map(str::trim);
    Ok(written.filter(|text| !text.is_empty()).collect())
}

impl Options {
    fn masked(&self, input: &TaskInput<'_>) -> Result<Masked, TaskError> {
        let missing = |file| TaskError::MissingFile { task: NAME, file };
        let tokenizer = input.subject.inputs.tokenizer.as_ref();
        let tokenizer = tokenizer.ok_or(missing("tokenizer.json"))?;
        let mask = tokenizer
            .mask()
            .ok_or(missing("tokenizer.json with a mask token"))?;
        let model = input.subject.model();
        let positions = model.and_then(Model::max_positions);
        let limit = self.max_length.or(tokenizer.max_length());
        let limit = limit.into_iter().chain(positions).min();
        let mut masked = Masked::default();
        for text in texts(input)? {
            if masked.ids.len() == input.limit {
                break;
            }
            self.mask_text(text, limit, tokenizer, mask, input.seed, &mut masked)?;
        }
        if masked.ids.is_empty() {
            return Err(DataError::NoRows {
                origin: input.origin.to_owned(),
            }
            .into());
        }
        let rows = model.and_then(Model::vocabulary);
        check_tokens(&masked.ids, rows, Some(tokenizer), input.origin)?;
        check_tokens(&masked.tokens, rows, Some(tokenizer), input.origin)?;
        Ok(masked)
    }

    /// Adds `text`; a text without a token is left out.
    fn mask_text(
        &self,
        text: &str,
        limit: Option<usize>,
        tokenizer: &Tokenizer,
        mask: u32,
        seed: u64,
        masked: &mut Masked,
    ) -> Result<(), TaskError> {
        let (mut ids, of_text) = tokenizer.encode_marked(text, limit)?;
        let free: Vec<usize> = (0..ids.len()).filter(|&at| of_text[at]).collect();
        if free.is_empty() {
            return Ok(());
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share of a count"
        )]
        let count = ((self.share * free.len() as f64).round() as usize).max(1);
        // One draw a text, whatever the others are.
        let seed = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let seed = seed.wrapping_add(masked.ids.len() as u64);
        let chosen = select(free.len(), count, Selection::Random, seed);
        let positions: Vec<usize> = chosen.into_iter().map(|at| free[at]).collect();
        masked
            .tokens
            .push(positions.iter().map(|&at| ids[at]).collect());
        for &at in &positions {
            ids[at] = mask;
        }
        masked.positions.push(positions);
        masked.ids.push(ids);
        Ok(())
    }
}

/// Figures of the tallies of all texts; intervals resample texts.
fn scores(tallies: &[Tally], [original, quantized]: [bool; 2], seed: u64) -> Vec<Score> {
    let sums = |rows: &mut dyn Iterator<Item = usize>| {
        let mut sums = [0.0; 7];
        for row in rows {
            let tally = &tallies[row];
            sums[0] += tally.tokens;
            sums[1] += tally.original_right;
            sums[2] += tally.quantized_right;
            sums[3] += tally.original_loss;
            sums[4] += tally.quantized_loss;
            sums[5] += tally.agreeing;
            sums[6] += tally.divergences.iter().sum::<f64>();
        }
        sums
    };
    let means = |[tokens, sums @ ..]: [f64; 7]| sums.map(|sum| sum / tokens);
    let both = original && quantized;
    // Of the difference where there are two models, else of the figure itself.
    let figure = |o: f64, q: f64| match (original, quantized) {
        (true, true) => q - o,
        (true, false) => o,
        (false, _) => q,
    };
    let all = sums(&mut (0..tallies.len()));
    let [o_right, q_right, o_loss, q_loss, agreeing, diverging] = means(all);
    let [right, loss, agreement, divergence] = bootstrap(tallies.len(), seed, |rows| {
        let means = means(sums(&mut rows.iter().copied()));
        let [o_right, q_right, o_loss, q_loss, agreeing, diverging] = means;
        [
            figure(o_right, q_right),
            figure(o_loss, q_loss),
            agreeing,
            diverging,
        ]
    });
    let of_models = |metric, o: f64, q: f64| {
        Score::of_models(metric, original.then_some(o), quantized.then_some(q))
    };
    let mut scores = vec![
        of_models("masked_accuracy", o_right, q_right).with_interval(right),
        of_models("masked_loss", o_loss, q_loss).with_interval(loss),
    ];
    if both {
        scores.push(Score::of_comparison("kl_divergence", diverging).with_interval(divergence));
        scores.push(Score::of_comparison("top1_agreement", agreeing).with_interval(agreement));
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a count"
    )]
    let tokens = all[0] as u64;
    for score in &mut scores {
        score.samples = tallies.len() as u64;
        score.tokens = Some(tokens);
    }
    scores
}

#[cfg(test)]
mod tests {
    use super::*;

    // Two texts of two masked tokens: the original guesses 3 of 4, the quantized model 2.
    #[test]
    fn figures_by_hand() {
        let tally = |original_right, quantized_right| Tally {
            tokens: 2.0,
            original_loss: 1.0,
            quantized_loss: 2.0,
            original_right,
            quantized_right,
            agreeing: 1.0,
            divergences: vec![0.5, 0.5],
        };
        let scores = scores(&[tally(2.0, 1.0), tally(1.0, 1.0)], [true, true], 0);
        let figures: Vec<_> = scores
            .iter()
            .map(|score| (score.original, score.quantized))
            .collect();
        let expected = [
            (Some(0.75), Some(0.5)),
            (Some(0.5), Some(1.0)),
            (None, Some(0.5)),
            (None, Some(0.5)),
        ];
        assert_eq!(figures, expected);
        assert_eq!(scores[0].tokens, Some(4));
    }

    #[test]
    fn a_share_that_is_no_share_is_an_error() {
        for text in ["share = 0.0", "share = 1.5", "share = \"all\""] {
            assert!(
                MaskedToken.configure(&text.parse().unwrap()).is_err(),
                "{text}"
            );
        }
    }
}
