//! What a task is: an entry of the registry, and the same with its keys read.

use crate::error::TaskError;
use crate::kind::ModelKind;
use crate::runner::Progress;
use crate::score::{Metric, Score};
use crate::subject::Subject;
use calib::data::{Content, DataError, Remark};
use serde::de::DeserializeOwned;

/// One kind of evaluation.
pub trait Task: Sync {
    /// Name in recipes and reports.
    fn name(&self) -> &'static str;
    /// One line for `quench list tasks`.
    fn summary(&self) -> &'static str;
    /// Keys [`Task::configure`] reads, with one line of help each; `task`, `data` and `limit` are read
    /// for every task and are not among them.
    fn parameters(&self) -> &'static [(&'static str, &'static str)];
    /// The figures it returns, in order.
    fn metrics(&self) -> &'static [Metric];
    /// Whether it can evaluate a model of this kind.
    fn judges(&self, kind: ModelKind) -> bool;
    /// Reads the keys of an `[[evaluate]]` table, all of which are among [`Task::parameters`].
    ///
    /// # Errors
    /// A value of the wrong type or out of range.
    fn configure(&self, table: &toml::Table) -> Result<Box<dyn ConfiguredTask>, TaskError>;
}

/// A task whose keys have been read.
pub trait ConfiguredTask: Send + Sync {
    /// Tokens of one sequence, where the task fixes them; read by data sources that make their own text.
    fn sequence_length(&self) -> Option<usize> {
        None
    }
    /// Tokens of all texts, where the task makes them itself; else they are those of the data.
    fn tokens(&self) -> Option<usize> {
        None
    }
    /// Tries everything that [`ConfiguredTask::run`] will need, without running a model: files of the model folder,
    /// columns and labels, the first rows for real. What is refused here is refused before hours of work.
    ///
    /// # Errors
    /// As [`ConfiguredTask::run`], as far as it can be known.
    fn check(&self, _input: &TaskInput<'_>) -> Result<(), TaskError> {
        Ok(())
    }
    /// Evaluates; `task` and `data` of the scores are filled in by [`super::evaluate`].
    ///
    /// # Errors
    /// Data of another kind, a model that cannot do this, values that are not finite.
    fn run(&self, input: &TaskInput<'_>) -> Result<Vec<Score>, TaskError>;
}

/// Models, data and settings of one run of a task.
#[derive(Clone, Copy)]
pub struct TaskInput<'a> {
    /// The models.
    pub subject: &'a Subject<'a>,
    /// What they are run on.
    pub content: &'a Content,
    /// Where `content` comes from, for messages.
    pub origin: &'a str,
    /// At most so many sequences, rows or images.
    pub limit: usize,
    /// Of the bootstrap.
    pub seed: u64,
    /// Receives the progress.
    pub progress: &'a dyn Progress,
}

impl TaskInput<'_> {
    /// How many of the `available` inputs, called `unit`, are taken; says where they are fewer than asked for.
    ///
    /// # Errors
    /// There is none at all.
    pub fn taken(&self, available: usize, unit: &str) -> Result<usize, TaskError> {
        if available == 0 {
            return Err(DataError::NoRows {
                origin: self.origin.to_owned(),
            }
            .into());
        }
        if self.limit != usize::MAX && available < self.limit {
            self.progress.remark(&Remark::Note(format!(
                "evaluated on {available} of {} {unit}: `{}` gives no more",
                self.limit, self.origin
            )));
        }
        Ok(available.min(self.limit))
    }
}

/// The keys of `task` as a type of its own.
///
/// # Errors
/// A value of the wrong type, an unknown key inside of one.
pub fn options<T: DeserializeOwned>(
    task: &'static str,
    table: &toml::Table,
) -> Result<T, TaskError> {
    table
        .clone()
        .try_into()
        .map_err(|error: toml::de::Error| TaskError::Options {
            task,
            message: error.message().trim().replace('\n', ", "),
        })
}
