//! Sentence similarity: cosine of two embeddings against a score people gave.

use super::classification::{column, encode, not_a_table};
use super::{Progress, Side, Task, TaskError, TaskSpec};
use crate::intervals::bootstrap;
use crate::metrics::{cosine, mean, spearman};
use crate::runner::Wanted;
use crate::score::Score;
use crate::subject::Subject;
use calib::data::Content;
use calib::inputs::Inputs;
use calib::model::Output;

/// Spearman correlation of cosine similarity with the scores of a table of pairs.
#[derive(Debug, Clone, Copy)]
pub struct SentenceSimilarity;

const NAME: &str = "sentence_similarity";

impl Task for SentenceSimilarity {
    fn name(&self) -> &'static str {
        NAME
    }

    fn summary(&self) -> &'static str {
        "cosine of sentence pairs of a table against their scores: Spearman x100, cosine to the original"
    }

    fn metrics(&self) -> &'static [&'static str] {
        &["spearman", "embedding_cosine"]
    }

    fn keys(&self) -> &'static [&'static str] {
        &[
            "columns.left",
            "columns.right",
            "columns.score",
            "max_length",
        ]
    }

    fn output(&self) -> Output {
        Output::HiddenStates
    }

    fn run(
        &self,
        subject: &Subject<'_>,
        spec: &TaskSpec,
        content: &Content,
        seed: u64,
        progress: &dyn Progress,
    ) -> Result<Vec<Score>, TaskError> {
        let Content::Table(table) = content else {
            return Err(not_a_table(spec, content));
        };
        let columns = &spec.columns;
        let left = column(table, columns.left.as_deref(), &["sentence1", "left"])?;
        let right = column(table, columns.right.as_deref(), &["sentence2", "right"])?;
        let pairs = left.len().min(spec.limit.unwrap_or(usize::MAX));
        let truth = table.numbers(columns.score.as_deref().unwrap_or("score"))?;
        let mut ids = encode(NAME, subject, spec, &left[..pairs])?;
        ids.extend(encode(NAME, subject, spec, &right[..pairs])?);
        let inputs = Inputs::Tokens(ids);

        let models = [
            (&subject.original, Side::Original),
            (&subject.quantized, Side::Quantized),
        ];
        let present = models.iter().filter(|(runner, _)| runner.is_some()).count();
        progress.begin((2 * pairs * present) as u64, "sentences");
        let mut embeddings = [None, None];
        let wanted = Wanted::Embedding(subject.inputs.pooling);
        for (slot, (runner, side)) in embeddings.iter_mut().zip(models) {
            if let Some(runner) = runner {
                let rows = runner.rows(side, &inputs, wanted, progress)?;
                *slot = Some(finite(rows, side)?);
            }
        }
        let [original, quantized] = embeddings;
        scores(
            original.as_deref(),
            quantized.as_deref(),
            &truth[..pairs],
            seed,
        )
    }
}

fn finite(rows: Vec<Vec<f32>>, side: Side) -> Result<Vec<Vec<f32>>, TaskError> {
    match rows
        .iter()
        .position(|row| row.iter().any(|value| !value.is_finite()))
    {
        Some(row) => Err(TaskError::NotFinite {
            side,
            place: format!("sentence {}", row + 1),
        }),
        None => Ok(rows),
    }
}

/// Figures of embeddings: the left sentences of all pairs, then the right ones.
fn scores(
    original: Option<&[Vec<f32>]>,
    quantized: Option<&[Vec<f32>]>,
    truth: &[f64],
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
        let found = scores(Some(&original), Some(&quantized), &truth, 0).unwrap();
        assert!((found[0].original.unwrap() - 100.0).abs() < 1e-9);
        assert!((found[0].quantized.unwrap() - 50.0).abs() < 1e-9);
        // Sentences: 3 left and one right unchanged, two rights at cosine 0.6.
        assert!((found[1].quantized.unwrap() - 5.2 / 6.0).abs() < 1e-7);
        assert_eq!(found[1].samples, 3);
    }
}
