//! Evaluation tasks: data in, figures of both models out.
//!
//! A new task is one file here, its `mod` line, and its line in [`TASKS`].

mod classes;
mod classification;
mod error;
mod image_classification;
mod next_token;
pub(crate) mod passes;
mod perplexity;
mod sentence_similarity;
mod sequences;
mod spec;
#[cfg(test)]
mod toy;

pub use classification::Classification;
pub use error::{Side, TaskError};
pub use image_classification::ImageClassification;
pub use perplexity::Perplexity;
pub use sentence_similarity::SentenceSimilarity;
pub use spec::{Columns, Mode, TaskSpec};

use crate::score::Score;
use crate::subject::Subject;
use calib::data::Content;
use calib::model::Output;

/// Every task, in the order `quench list tasks` prints them.
pub static TASKS: &[&dyn Task] = &[
    &Perplexity,
    &Classification,
    &SentenceSimilarity,
    &ImageClassification,
];

/// One kind of evaluation.
pub trait Task: Sync {
    /// Name in recipes and reports.
    fn name(&self) -> &'static str;
    /// One line for `quench list tasks`.
    fn summary(&self) -> &'static str;
    /// Names of the figures it returns, in order.
    fn metrics(&self) -> &'static [&'static str];
    /// Keys of [`TaskSpec`] it reads besides `task`, `data` and `limit`; columns as `columns.text`.
    fn keys(&self) -> &'static [&'static str];
    /// What the model must return.
    fn output(&self) -> Output;
    /// Evaluates; `task` and `data` of the scores are filled in by [`evaluate`].
    ///
    /// # Errors
    /// Data of another kind, a model that cannot do this, values that are not finite.
    fn run(
        &self,
        subject: &Subject<'_>,
        spec: &TaskSpec,
        content: &Content,
        seed: u64,
        progress: &dyn Progress,
    ) -> Result<Vec<Score>, TaskError>;
}

/// Who watches an evaluation.
pub trait Progress: Sync {
    /// `total` things called `unit` are about to be run.
    fn begin(&self, total: u64, unit: &str);
    /// `count` more of them are done.
    fn advance(&self, count: u64);
}

/// Nobody watches.
impl Progress for () {
    fn begin(&self, _total: u64, _unit: &str) {}
    fn advance(&self, _count: u64) {}
}

/// Runs the task that `spec` names over `content`, on every model of `subject`.
///
/// # Errors
/// What [`TaskSpec::check`] and the task say.
pub fn evaluate(
    subject: &Subject<'_>,
    spec: &TaskSpec,
    content: &Content,
    seed: u64,
    progress: &dyn Progress,
) -> Result<Vec<Score>, TaskError> {
    let task = spec.check()?;
    let model = subject.model().ok_or(TaskError::NoModel)?;
    if model.output() != task.output() {
        return Err(TaskError::Output {
            task: task.name(),
            expected: output_name(task.output()),
            found: output_name(model.output()),
        });
    }
    let mut scores = task.run(subject, spec, content, seed, progress)?;
    for score in &mut scores {
        task.name().clone_into(&mut score.task);
        score.data.clone_from(&spec.data);
    }
    Ok(scores)
}

fn output_name(output: Output) -> &'static str {
    match output {
        Output::TokenLogits => "next-token logits",
        Output::ClassLogits => "class logits",
        Output::HiddenStates => "hidden states",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::score::metric;

    #[test]
    fn every_task_names_known_metrics_and_itself_once() {
        for (at, task) in TASKS.iter().enumerate() {
            assert!(!task.summary().is_empty());
            assert!(TASKS[..at].iter().all(|other| other.name() != task.name()));
            assert!(!task.metrics().is_empty());
            assert!(
                task.metrics().iter().all(|name| metric(name).is_some()),
                "{}",
                task.name()
            );
        }
    }
}
