//! Sentence similarity: cosine of two embeddings against a score people gave.

use super::table_texts::{column, encode, rows_with_text, table, try_to_encode};
use super::task::{ConfiguredTask, Task, TaskInput, options};
use crate::error::{Side, TaskError};
use crate::intervals::bootstrap;
use crate::kind::ModelKind;
use crate::metrics::{cosine, mean, spearman};
use crate::runner::Wanted;
use crate::score::{Better, Metric, Score, Unit};
use calib::inputs::Inputs;
use serde::Deserialize;

/// Spearman correlation of cosine similarity with the scores of a table of pairs.
#[derive(Debug, Clone, Copy)]
pub struct SentenceSimilarity;

const NAME: &str = "sentence_similarity";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    #[serde(default)]
    columns: Columns,
    /// Tokens a sentence is cut at, special tokens included.
    max_length: Option<usize>,
    /// What stands in front of every sentence (`query: ` of the E5 family).
    #[serde(default)]
    prefix: String,
}

/// Names of columns.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Columns {
    /// First sentence of a pair.
    left: Option<String>,
    /// Second sentence of a pair.
    right: Option<String>,
    /// Similarity of a pair.
    score: Option<String>,
}

impl Task for SentenceSimilarity {
    fn name(&self) -> &'static str {
        NAME
    }

    fn summary(&self) -> &'static str {
        "cosine of sentence pairs of a table against their scores: Spearman x100, cosine to the original"
    }

    fn parameters(&self) -> &'static [(&'static str, &'static str)] {
        &[
            ("columns", "names of the columns: { left, right, score }"),
            (
                "max_length",
                "tokens a sentence is cut at, special tokens included",
            ),
            (
                "prefix",
                "put in front of every sentence, such as `query: ` for E5; none unless given",
            ),
        ]
    }

    fn metrics(&self) -> &'static [Metric] {
        const {
            &[
                Metric {
                    name: "spearman",
                    label: "Spearman x100",
                    summary: "100 times the rank correlation of cosine and score",
                    better: Better::Higher,
                    unit: Unit::Plain(3),
                    per_model: true,
                },
                Metric {
                    name: "embedding_cosine",
                    label: "cosine to the original",
                    summary: "mean cosine of a sentence's quantized and original embedding",
                    better: Better::Higher,
                    unit: Unit::Plain(5),
                    per_model: false,
                },
            ]
        }
    }

    fn judges(&self, kind: ModelKind) -> bool {
        kind == ModelKind::TextEncoder
    }

    fn configure(&self, table: &toml::Table) -> Result<Box<dyn ConfiguredTask>, TaskError> {
        Ok(Box::new(options::<Options>(NAME, table)?))
    }
}

impl ConfiguredTask for Options {
    fn check(&self, input: &TaskInput<'_>) -> Result<(), TaskError> {
        let pairs = self.pairs(input)?;
        try_to_encode(NAME, input, self.max_length, &references(&pairs.texts))
    }

    fn run(&self, input: &TaskInput<'_>) -> Result<Vec<Score>, TaskError> {
        let Pairs { texts, truth } = self.pairs(input)?;
        let subject = input.subject;
        let ids = encode(NAME, input, self.max_length, &references(&texts))?;
        let sentences = texts.len() * subject.sides().count();
        input.progress.begin(sentences as u64, "sentences");
        let wanted = Wanted::Embedding(subject.inputs.pooling);
        let embeddings = subject.rows(&Inputs::Tokens(ids), wanted, input.progress)?;
        let original = finite(embeddings.original, Side::Original)?;
        let quantized = finite(embeddings.quantized, Side::Quantized)?;
        scores(
            [original.as_deref(), quantized.as_deref()],
            &truth,
            input.origin,
            input.seed,
        )
    }
}

/// Pairs of sentences and what people said of them.
struct Pairs {
    /// The left sentences of all pairs, then the right ones, each behind the prefix.
    texts: Vec<String>,
    /// Similarity of each pair.
    truth: Vec<f64>,
}

impl Options {
    /// The rows that have both sentences.
    fn pairs(&self, input: &TaskInput<'_>) -> Result<Pairs, TaskError> {
        let table = table(input)?;
        let columns = &self.columns;
        let left = column(table, columns.left.as_deref(), &["sentence1", "left"]);
        let right = column(table, columns.right.as_deref(), &["sentence2", "right"]);
        let scores = table.numbers(columns.score.as_deref().unwrap_or("score"))?;
        let kept = rows_with_text(table, &[left, right], input)?;
        let truth: Vec<f64> = kept.iter().map(|&row| scores[row]).collect();
        require_order(&truth, "scores", input.origin)?;
        let mut texts = Vec::with_capacity(2 * kept.len());
        for side in [left, right] {
            let cells = table.optional(side)?;
            let found = kept.iter().filter_map(|&row| cells[row]);
            texts.extend(found.map(|text| format!("{}{text}", self.prefix)));
        }
        Ok(Pairs { texts, truth })
    }
}

fn references(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}

/// Refuses values that are all the same: no rank correlation has a value over them.
fn require_order(values: &[f64], what: &str, data: &str) -> Result<(), TaskError> {
    let same = |pair: &[f64]| pair[0].to_bits() == pair[1].to_bits();
    if values.windows(2).all(same) {
        return Err(TaskError::NoOrder {
            data: data.to_owned(),
            what: what.to_owned(),
            pairs: values.len(),
        });
    }
    Ok(())
}

fn finite(rows: Option<Vec<Vec<f32>>>, side: Side) -> Result<Option<Vec<Vec<f32>>>, TaskError> {
    let not_finite = |row: &Vec<f32>| row.iter().any(|value| !value.is_finite());
    match rows.iter().flatten().position(not_finite) {
        Some(row) => Err(TaskError::NotFinite {
            side,
            place: format!("sentence {}", row + 1),
        }),
        None => Ok(rows),
    }
}

/// Figures of embeddings: the left sentences of all pairs, then the right ones.
fn scores(
    [original, quantized]: [Option<&[Vec<f32>]>; 2],
    truth: &[f64],
    data: &str,
    seed: u64,
) -> Result<Vec<Score>, TaskError> {
    let pairs = truth.len();
    let cosines = |embeddings: &[Vec<f32>]| -> Vec<f64> {
        let (left, right) = embeddings.split_at(pairs);
        left.iter()
            .zip(right)
            .map(|(left, right)| cosine(left, right))
            .collect()
    };
    let (o, q) = (original.map(cosines), quantized.map(cosines));
    for (side, cosines) in [(Side::Original, &o), (Side::Quantized, &q)] {
        if let Some(cosines) = cosines {
            require_order(cosines, &format!("cosines of {side}"), data)?;
        }
    }
    let correlation =
        |cosines: &[f64]| spearman(cosines, truth).map_or(f64::NAN, |rho| 100.0 * rho);
    let (o_all, q_all) = (o.as_deref().map(correlation), q.as_deref().map(correlation));
    let [interval] = bootstrap(pairs, seed, |rows| {
        let truth: Vec<f64> = rows.iter().map(|&row| truth[row]).collect();
        let of = |cosines: &[f64]| {
            let cosines: Vec<f64> = rows.iter().map(|&row| cosines[row]).collect();
            spearman(&cosines, &truth).map_or(f64::NAN, |rho| 100.0 * rho)
        };
        [match (&o, &q) {
            (Some(o), Some(q)) => of(q) - of(o),
            (Some(one), None) | (None, Some(one)) => of(one),
            (None, None) => f64::NAN,
        }]
    });
    let mut scores = vec![Score::of_models("spearman", o_all, q_all).with_interval(interval)];
    if let (Some(original), Some(quantized)) = (original, quantized) {
        scores.push(likeness(original, quantized, pairs, seed)?);
    }
    for score in &mut scores {
        score.samples = pairs as u64;
    }
    Ok(scores)
}

/// Mean cosine of each sentence's two embeddings; pairs are resampled as a whole.
fn likeness(
    original: &[Vec<f32>],
    quantized: &[Vec<f32>],
    pairs: usize,
    seed: u64,
) -> Result<Score, TaskError> {
    let mut each = Vec::with_capacity(original.len());
    for (o, q) in original.iter().zip(quantized) {
        if o.len() != q.len() {
            return Err(TaskError::Shapes {
                original: o.len(),
                quantized: q.len(),
            });
        }
        each.push(cosine(o, q));
    }
    let of_pair: Vec<f64> = (0..pairs)
        .map(|row| f64::midpoint(each[row], each[pairs + row]))
        .collect();
    let [interval] = bootstrap(pairs, seed, |rows| {
        [rows.iter().map(|&row| of_pair[row]).sum::<f64>() / rows.len() as f64]
    });
    Ok(Score::of_comparison("embedding_cosine", mean(&each)).with_interval(interval))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_of_cosines_decides() {
        // Cosines 1, 0, 0.6 against scores 5, 1, 3: the same order. The quantized model swaps two.
        let right = [vec![1.0, 0.0], vec![0.0, 1.0], vec![0.6, 0.8]];
        let left = vec![vec![1.0_f32, 0.0]; 3];
        let original = [left.clone(), right.to_vec()].concat();
        let swapped = [right[2].clone(), right[1].clone(), right[0].clone()];
        let quantized = [left, swapped.to_vec()].concat();
        let truth = [5.0, 1.0, 3.0];
        let found = scores([Some(&original), Some(&quantized)], &truth, "x", 0).unwrap();
        assert!((found[0].original.unwrap() - 100.0).abs() < 1e-9);
        assert!((found[0].quantized.unwrap() - 50.0).abs() < 1e-9);
        // Sentences: 3 left and one right unchanged, two rights at cosine 0.6.
        assert!((found[1].quantized.unwrap() - 5.2 / 6.0).abs() < 1e-7);
        assert_eq!(found[1].samples, 3);
    }

    #[test]
    fn values_without_an_order_are_an_error() {
        assert!(require_order(&[1.0], "scores", "x").is_err());
        assert!(require_order(&[2.0, 2.0, 2.0], "scores", "x").is_err());
        assert!(require_order(&[2.0, 2.0, 1.0], "scores", "x").is_ok());
    }
}
