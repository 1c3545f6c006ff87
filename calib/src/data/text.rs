//! Plain text.

use super::{Content, DataError, DataSpec, Request, Source, read_text};

/// Endings taken as plain text.
const ENDINGS: [&str; 4] = ["txt", "md", "raw", "text"];

/// A file of UTF-8 text, cut later into windows or documents.
#[derive(Debug, Clone, Copy)]
pub struct PlainText;

impl Source for PlainText {
    fn name(&self) -> &'static str {
        "text"
    }

    fn summary(&self) -> &'static str {
        "UTF-8 text (.txt, .md, .raw, .text), cut into windows or documents"
    }

    fn accepts(&self, spec: &DataSpec) -> bool {
        matches!(spec, DataSpec::Path { .. }) && ENDINGS.contains(&spec.ending().as_str())
    }

    fn load(&self, spec: &DataSpec, _request: &mut Request<'_>) -> Result<Content, DataError> {
        read_text(spec).map(|(_, text)| Content::Text(text))
    }
}
