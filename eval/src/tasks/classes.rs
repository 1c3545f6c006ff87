//! Figures of two models that give every row one class.

use super::task::TaskInput;
use crate::compare::{self, KL_DIVERGENCE, TOP1_AGREEMENT};
use crate::error::{Side, TaskError};
use crate::intervals::{bootstrap, mcnemar, wilson};
use crate::metrics::mean;
use crate::score::{Better, Metric, Score, Unit};
use crate::subject::Rows;
use calib::Model;
use calib::class_names::{self, ClassNames};
use calib::data::Remark;

/// Figures [`scores`] returns.
pub(super) static METRICS: &[Metric] = &[
    Metric {
        name: "accuracy",
        label: "accuracy",
        summary: "share of rows whose largest logit is the label",
        better: Better::Higher,
        unit: Unit::Share,
        per_model: true,
    },
    Metric {
        name: "cross_entropy",
        label: "cross-entropy",
        summary: "mean loss per row, nats",
        better: Better::Lower,
        unit: Unit::Plain(4),
        per_model: true,
    },
    KL_DIVERGENCE,
    TOP1_AGREEMENT,
];

/// The classes a model chooses from.
pub(super) struct Known<'a> {
    /// What they are called.
    pub(super) names: &'a ClassNames,
    /// How many they are; no label is beyond where that is not known.
    pub(super) count: usize,
}

/// The classes of `model`; says what is odd about their names.
///
/// # Errors
/// A model that does not choose one class.
pub(super) fn known<'a>(input: &TaskInput<'a>, model: &dyn Model) -> Result<Known<'a>, TaskError> {
    let names = &input.subject.inputs.classes;
    if let Some(problem) = names.no_single_class() {
        return Err(TaskError::NoClass {
            problem: problem.to_owned(),
        });
    }
    if let Some(odd) = names.disagreement() {
        input.progress.remark(&Remark::Note(odd));
    }
    Ok(Known {
        names,
        count: class_names::classes(model).unwrap_or(usize::MAX),
    })
}

/// What one model says about one row.
#[derive(Debug, Clone, Copy)]
struct Verdict {
    loss: f64,
    right: f64,
}

/// Figures of class logits, one vector per row and model, against `labels`.
///
/// # Errors
/// A label without a logit, logits that are not finite or not of one width.
pub(super) fn scores(logits: &Rows, labels: &[usize], seed: u64) -> Result<Vec<Score>, TaskError> {
    let width = logits.width();
    if let Some(label) = labels.iter().find(|&&label| label >= width) {
        return Err(TaskError::NoLogit {
            label: *label,
            classes: width,
        });
    }
    let mut scores = match (&logits.original, &logits.quantized) {
        (Some(original), Some(quantized)) => compared(original, quantized, labels, seed)?,
        (Some(rows), None) => alone(
            &verdicts(rows, labels, Side::Original)?,
            Side::Original,
            seed,
        ),
        (None, Some(rows)) => alone(
            &verdicts(rows, labels, Side::Quantized)?,
            Side::Quantized,
            seed,
        ),
        (None, None) => return Err(TaskError::NoModel),
    };
    for score in &mut scores {
        score.samples = labels.len() as u64;
    }
    Ok(scores)
}

fn verdicts(rows: &[Vec<f32>], labels: &[usize], side: Side) -> Result<Vec<Verdict>, TaskError> {
    rows.iter()
        .zip(labels)
        .enumerate()
        .map(|(at, (row, &label))| {
            let found = compare::row(row, label).ok_or_else(|| not_finite(side, at))?;
            Ok(Verdict {
                loss: found.loss,
                right: f64::from(u8::from(found.top == label)),
            })
        })
        .collect()
}

fn not_finite(side: Side, row: usize) -> TaskError {
    TaskError::NotFinite {
        side,
        place: format!("row {}", row + 1),
    }
}

/// Accuracy and cross-entropy of one model.
fn alone(verdicts: &[Verdict], side: Side, seed: u64) -> Vec<Score> {
    let place = |value| match side {
        Side::Original => (Some(value), None),
        Side::Quantized => (None, Some(value)),
    };
    let right: Vec<f64> = verdicts.iter().map(|verdict| verdict.right).collect();
    let loss: Vec<f64> = verdicts.iter().map(|verdict| verdict.loss).collect();
    let intervals = bootstrap(verdicts.len(), seed, |rows| {
        [mean_of(&right, rows), mean_of(&loss, rows)]
    });
    [("accuracy", right), ("cross_entropy", loss)]
        .into_iter()
        .zip(intervals)
        .map(|((metric, values), interval)| {
            let (original, quantized) = place(mean(&values));
            Score::of_models(metric, original, quantized).with_interval(interval)
        })
        .collect()
}

fn mean_of(values: &[f64], rows: &[usize]) -> f64 {
    rows.iter().map(|&row| values[row]).sum::<f64>() / rows.len() as f64
}

fn compared(
    original: &[Vec<f32>],
    quantized: &[Vec<f32>],
    labels: &[usize],
    seed: u64,
) -> Result<Vec<Score>, TaskError> {
    let originals = verdicts(original, labels, Side::Original)?;
    let quantizeds = verdicts(quantized, labels, Side::Quantized)?;
    let (mut divergences, mut agreeing) = (Vec::new(), 0_u64);
    for (at, (o, q)) in original.iter().zip(quantized).enumerate() {
        if o.len() != q.len() {
            return Err(TaskError::Shapes {
                original: o.len(),
                quantized: q.len(),
            });
        }
        let pair = compare::pair(o, q, labels[at]);
        let pair = pair.ok_or_else(|| not_finite(Side::Quantized, at))?;
        divergences.push(pair.divergence);
        agreeing += u64::from(pair.agree);
    }
    let right = |verdicts: &[Verdict]| verdicts.iter().map(|v| v.right).collect::<Vec<f64>>();
    let loss = |verdicts: &[Verdict]| verdicts.iter().map(|v| v.loss).collect::<Vec<f64>>();
    let (o_right, q_right) = (right(&originals), right(&quantizeds));
    let (o_loss, q_loss) = (loss(&originals), loss(&quantizeds));
    let [accuracy, cross_entropy, divergence] = bootstrap(labels.len(), seed, |rows| {
        [
            mean_of(&q_right, rows) - mean_of(&o_right, rows),
            mean_of(&q_loss, rows) - mean_of(&o_loss, rows),
            mean_of(&divergences, rows),
        ]
    });
    let only = |winners: &[f64], losers: &[f64]| {
        winners
            .iter()
            .zip(losers)
            .filter(|(winner, loser)| winner > loser)
            .count() as u64
    };
    let mut first = Score::of_models("accuracy", Some(mean(&o_right)), Some(mean(&q_right)))
        .with_interval(accuracy);
    first.p_value = Some(mcnemar(only(&o_right, &q_right), only(&q_right, &o_right)));
    let rows = labels.len() as u64;
    let mut agreement = Score::of_comparison("top1_agreement", agreeing as f64 / rows as f64);
    agreement.ci95 = wilson(agreeing, rows);
    Ok(vec![
        first,
        Score::of_models("cross_entropy", Some(mean(&o_loss)), Some(mean(&q_loss)))
            .with_interval(cross_entropy),
        Score::of_comparison("kl_divergence", mean(&divergences)).with_interval(divergence),
        agreement,
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(original: Option<Vec<Vec<f32>>>, quantized: Option<Vec<Vec<f32>>>) -> Rows {
        Rows {
            original,
            quantized,
        }
    }

    fn find<'a>(scores: &'a [Score], metric: &str) -> &'a Score {
        scores.iter().find(|score| score.metric == metric).unwrap()
    }

    #[test]
    fn two_models_on_four_rows_by_hand() {
        // Labels 0 0 1 1; the original is right on rows 0 1 2, the quantized on 0 2 only.
        let original = vec![
            vec![2.0, 0.0],
            vec![1.0, 0.0],
            vec![0.0, 1.0],
            vec![1.0, 0.0],
        ];
        let quantized = vec![
            vec![2.0, 0.0],
            vec![0.0, 1.0],
            vec![0.0, 1.0],
            vec![1.0, 0.0],
        ];
        let scores = scores(&rows(Some(original), Some(quantized)), &[0, 0, 1, 1], 0).unwrap();
        let names: Vec<&str> = scores.iter().map(|score| score.metric.as_str()).collect();
        let expected: Vec<&str> = METRICS.iter().map(|metric| metric.name).collect();
        assert_eq!(names, expected);
        let accuracy = find(&scores, "accuracy");
        assert_eq!(
            (accuracy.original, accuracy.quantized),
            (Some(0.75), Some(0.5))
        );
        assert_eq!((accuracy.delta, accuracy.p_value), (Some(-0.25), Some(1.0)));
        assert_eq!(find(&scores, "top1_agreement").quantized, Some(0.75));
        // Row 1 alone diverges: p = (s, 1 - s), q swapped, s = 1 / (1 + 1/e): KL = (2 s - 1) * 1.
        let s = 1.0 / (1.0 + (-1.0_f64).exp());
        let found = find(&scores, "kl_divergence").quantized.unwrap();
        assert!((found - (2.0 * s - 1.0) / 4.0).abs() < 1e-15);
        assert!(
            scores
                .iter()
                .all(|score| score.samples == 4 && score.ci95.is_some())
        );
    }

    #[test]
    fn one_model_alone_has_no_delta() {
        let logits = vec![vec![2.0, 0.0], vec![0.0, 2.0]];
        let scores = scores(&rows(None, Some(logits)), &[0, 0], 0).unwrap();
        let accuracy = find(&scores, "accuracy");
        assert_eq!(
            (accuracy.original, accuracy.quantized, accuracy.delta),
            (None, Some(0.5), None)
        );
        assert_eq!(scores.len(), 2);
    }

    #[test]
    fn rows_that_are_not_finite_or_of_unequal_width_are_errors() {
        let bad = vec![vec![f32::NAN, 0.0]];
        let good = vec![vec![0.0, 0.0]];
        let error = scores(&rows(Some(good.clone()), Some(bad)), &[0], 0).unwrap_err();
        assert_eq!(
            error.to_string(),
            "output of the quantized model is not finite (row 1)"
        );
        let wide = vec![vec![0.0; 3]];
        let error = scores(&rows(Some(good), Some(wide)), &[0], 0);
        assert!(matches!(
            error,
            Err(TaskError::Shapes {
                original: 2,
                quantized: 3
            })
        ));
    }
}
