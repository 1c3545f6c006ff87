//! Exact attention: what every other method is measured against.

use super::group::{Attended, GroupShape, HeadGroup, Seen};
use super::run::Run;
use super::{Attention, AttentionError, SparseAttention};
use crate::ParamError;
use crate::methods::parameters::Parameters;

/// The registry entry.
pub(super) struct Exact;

impl Attention for Exact {
    fn name(&self) -> &'static str {
        "exact"
    }

    fn summary(&self) -> &'static str {
        "softmax attention over all keys"
    }

    fn parameters(&self) -> &'static [(&'static str, &'static str)] {
        &[]
    }

    fn configure(&self, table: &toml::Table) -> Result<Box<dyn SparseAttention>, ParamError> {
        Parameters::new(self.name(), self.parameters(), table)?;
        Ok(Box::new(ExactAttention))
    }
}

/// Exact attention, configured; there is nothing to configure.
#[derive(Debug, Clone, Copy)]
pub struct ExactAttention;

impl SparseAttention for ExactAttention {
    fn plan(&self, _shape: &GroupShape) -> Result<Vec<String>, AttentionError> {
        Ok(Vec::new())
    }

    fn attend(
        &self,
        group: &HeadGroup<'_>,
        seen: Option<&mut dyn Seen>,
    ) -> Result<Attended, AttentionError> {
        let mut run = Run::new(group, seen)?;
        run.exact_range(0..group.tokens());
        Ok(run.finish())
    }
}
