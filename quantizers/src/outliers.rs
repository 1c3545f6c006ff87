//! Which weights go to the sparse part.

/// Placeholder until the sparse split lands.
#[derive(Debug, Clone)]
pub struct MagnitudeSurvey;
