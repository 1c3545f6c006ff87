//! The traits of an attention method: as recipes name it, and configured.

use super::AttentionError;
use super::group::{Attended, GroupShape, HeadGroup, Seen};
use crate::ParamError;

/// An attention method as recipes name it.
pub trait Attention: Sync {
    /// Name in recipes.
    fn name(&self) -> &'static str;
    /// One line for `quench list`.
    fn summary(&self) -> &'static str;
    /// Parameter names accepted by [`Attention::configure`], with one line of help each.
    fn parameters(&self) -> &'static [(&'static str, &'static str)];
    /// Parameters worth trying on texts of `tokens`, as `key=value` with spaces between, where the defaults are made for
    /// longer ones; none by default.
    fn usual(&self, _tokens: usize) -> String {
        String::new()
    }
    /// Turns a recipe table (without `method`) into a method.
    ///
    /// # Errors
    /// An unknown key, a value of the wrong type or out of range.
    fn configure(&self, table: &toml::Table) -> Result<Box<dyn SparseAttention>, ParamError>;
}

/// A configured attention method.
///
/// `attend` runs on one thread: a layer has many head groups, and callers run those side by side.
pub trait SparseAttention: Send + Sync {
    /// What a reader of the plan should know: that a sequence is too short to lose a key, for example.
    ///
    /// # Errors
    /// A group the method is not defined for.
    fn plan(&self, shape: &GroupShape) -> Result<Vec<String>, AttentionError>;
    /// Attends as the method does. `seen` is told which keys the queries it asks for looked at.
    ///
    /// # Errors
    /// As [`SparseAttention::plan`]; matrices that do not fit together, values that are not finite.
    fn attend(
        &self,
        group: &HeadGroup<'_>,
        seen: Option<&mut dyn Seen>,
    ) -> Result<Attended, AttentionError>;
    /// Whether another seed gives another result, so that several have to be reported with their spread.
    fn randomised(&self) -> bool {
        false
    }
}
