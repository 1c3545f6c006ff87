//! Text compiled in: evaluation of the demo model without any file.

use super::{Content, DataError, DataSpec, Request, Source};

/// What the demo model wrote, with a seed nobody calibrates on.
const TEXT: &str = include_str!("../../../tests/fixtures/text/sampled.txt");

/// The source `demo`.
#[derive(Debug, Clone, Copy)]
pub struct Embedded;

impl Source for Embedded {
    fn name(&self) -> &'static str {
        "demo"
    }

    fn summary(&self) -> &'static str {
        "text the demo model wrote, compiled into the program"
    }

    fn accepts(&self, spec: &DataSpec) -> bool {
        matches!(spec, DataSpec::Embedded)
    }

    fn load(&self, _spec: &DataSpec, _request: &mut Request<'_>) -> Result<Content, DataError> {
        Ok(Content::Text(TEXT.to_owned()))
    }
}
