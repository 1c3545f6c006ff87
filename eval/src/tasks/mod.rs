//! Evaluation tasks: data in, figures of both models out.
//!
//! A new task is one file here, its `mod` line, and its line in [`TASKS`].

mod classes;
mod classification;
mod image_classification;
mod perplexity;
mod retrieval;
mod sentence_similarity;
mod sequences;
mod spec;
mod table_texts;
mod task;
mod zero_shot_classification;
mod token_scores;
mod masked_token;

pub use crate::error::{Side, TaskError};
pub use crate::forward_runner::HIDDEN_BYTES;
pub use crate::runner::Progress;
pub use classification::Classification;
pub use image_classification::ImageClassification;
pub use masked_token::MaskedToken;
pub use perplexity::Perplexity;
pub use retrieval::RetrievalTask;
pub use sentence_similarity::SentenceSimilarity;
pub use sequences::{BYTES_PER_TOKEN, LENGTH};
pub use spec::{TaskSpec, find};
pub use task::{ConfiguredTask, Task, TaskInput, options};
pub use token_scores::LOGIT_BYTES;
pub use zero_shot_classification::ZeroShotClassification;

use crate::kind::ModelKind;
use crate::score::{Metric, Score};
use crate::subject::Subject;
use calib::data::Content;

/// Every task, in the order `quench list tasks` prints them.
pub static TASKS: &[&dyn Task] = &[
    &Perplexity,
    &Classification,
    &SentenceSimilarity,
    &MaskedToken,
    &RetrievalTask,
    &ImageClassification,
    &ZeroShotClassification,
];

/// Runs the task of `registry` that `spec` names over `content`, on every model of `subject`.
///
/// # Errors
/// What [`TaskSpec::configure`] and the task say; a model the task does not judge.
pub fn evaluate(
    registry: &[&dyn Task],
    subject: &Subject<'_>,
    spec: &TaskSpec,
    content: &Content,
    seed: u64,
    progress: &dyn Progress,
) -> Result<Vec<Score>, TaskError> {
    let (task, configured) = spec.configure(registry)?;
    let model = subject.model().ok_or(TaskError::NoModel)?;
    check_kind(registry, task, ModelKind::of(model))?;
    let mut scores = configured.run(&TaskInput {
        subject,
        content,
        origin: &spec.data,
        limit: spec.limit.unwrap_or(usize::MAX),
        seed,
        progress,
    })?;
    for score in &mut scores {
        task.name().clone_into(&mut score.task);
        score.data.clone_from(&spec.data);
    }
    Ok(scores)
}

/// Tries everything that [`evaluate`] will need, without running a model.
///
/// # Errors
/// As [`evaluate`], as far as it can be known.
pub fn check(
    registry: &[&dyn Task],
    subject: &Subject<'_>,
    spec: &TaskSpec,
    content: &Content,
    progress: &dyn Progress,
) -> Result<(), TaskError> {
    let (task, configured) = spec.configure(registry)?;
    let model = subject.model().ok_or(TaskError::NoModel)?;
    check_kind(registry, task, ModelKind::of(model))?;
    configured.check(&TaskInput {
        subject,
        content,
        origin: &spec.data,
        limit: spec.limit.unwrap_or(usize::MAX),
        seed: 0,
        progress,
    })
}

/// The first task of `registry` that judges models of `kind`: the default for them.
pub fn fitting<'r>(registry: &[&'r dyn Task], kind: ModelKind) -> Option<&'r dyn Task> {
    registry.iter().find(|task| task.judges(kind)).copied()
}

/// Whether `task` judges models of `kind`.
///
/// # Errors
/// It does not; names one of `registry` that does.
pub fn check_kind(
    registry: &[&dyn Task],
    task: &dyn Task,
    kind: ModelKind,
) -> Result<(), TaskError> {
    if task.judges(kind) {
        return Ok(());
    }
    Err(TaskError::Kind {
        task: task.name(),
        kind,
        fitting: fitting(registry, kind).map(Task::name),
    })
}

/// The metric called `name` of any task of [`TASKS`].
pub fn metric(name: &str) -> Option<&'static Metric> {
    metrics().find(|metric| metric.name == name)
}

/// The metrics of all tasks of [`TASKS`]; one that several tasks share comes once for each.
pub fn metrics() -> impl Iterator<Item = &'static Metric> {
    TASKS.iter().flat_map(|task| task.metrics())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_with_one_name_are_the_same() {
        for one in metrics() {
            assert_eq!(metric(one.name), Some(one));
        }
    }

    #[test]
    fn an_unknown_task_or_key_names_the_nearest() {
        let error = |spec: &TaskSpec| spec.configure(TASKS).err().unwrap();
        let unknown = error(&TaskSpec::new("perplexty", "a"));
        assert_eq!(unknown.hint().unwrap(), "did you mean `perplexity`?");
        let key = error(&TaskSpec::new("image_classification", "a").with("stride", 3));
        assert_eq!(
            key.to_string(),
            "unknown key `stride` for task `image_classification`"
        );
        let near = error(&TaskSpec::new("classification", "a").with("max_lenght", 3));
        assert_eq!(near.hint().unwrap(), "did you mean `max_length`?");
    }

    #[test]
    fn the_published_example_is_understood() {
        let spec: TaskSpec = toml::from_str(
            "task = \"sentence_similarity\"\ndata = \"stsb.tsv\"\nmax_length = 128\n\
             columns = { left = \"sentence1\", right = \"sentence2\", score = \"score\" }",
        )
        .unwrap();
        assert!(spec.configure(TASKS).is_ok());
        let again: TaskSpec = toml::from_str(&toml::to_string(&spec).unwrap()).unwrap();
        assert_eq!(again, spec);
    }

    #[test]
    fn values_that_mean_nothing_are_errors() {
        for text in [
            "sequence_length = 1",
            "sequence_length = \"8\"",
            "stride = 0",
            "limit = 0",
            "separator = \"x\"",
            "mode = \"documents\"\nstride = 4",
        ] {
            let spec: TaskSpec =
                toml::from_str(&format!("task = \"perplexity\"\ndata = \"a\"\n{text}")).unwrap();
            let error = spec.configure(TASKS).err().unwrap();
            assert!(
                matches!(error, TaskError::Value { .. } | TaskError::Options { .. }),
                "{text}"
            );
        }
    }
}
