//! SEA (ICLR 2024): an estimated attention mask, from a predictor that is distilled from the model. Listed, so that a
//! reader looking for it learns what it needs; quench trains nothing, and there is no predictor to read.

use super::settings::Settings;
use super::{Attention, SparseAttention};
use crate::ParamError;

/// The registry entry.
pub(super) struct Sea;

impl Attention for Sea {
    fn name(&self) -> &'static str {
        "sea"
    }

    fn summary(&self) -> &'static str {
        "not available: estimates its mask with a predictor trained for the model"
    }

    fn parameters(&self) -> &'static [(&'static str, &'static str)] {
        &[(
            "predictor",
            "weights of the trained predictor; none can be read yet",
        )]
    }

    fn configure(&self, table: &toml::Table) -> Result<Box<dyn SparseAttention>, ParamError> {
        let settings = Settings::new(self.name(), self.parameters(), table)?;
        Err(settings.refuse(
            "predictor",
            "a predictor trained for this model, which quench does not make",
        ))
    }
}
