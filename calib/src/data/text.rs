//! Plain text: files, and the text compiled into the program for the demo model.

use super::{Content, DataError, DataSpec, Extent, Remark, Request, Source, path_of, read_text};

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

    fn load(&self, spec: &DataSpec, request: &mut Request<'_>) -> Result<Content, DataError> {
        let (path, text) = read_text(spec)?;
        let windows = text.matches("\r\n").count();
        if windows > 0 {
            request.remarks.push(Remark::Note(format!(
                "`{}` has {windows} Windows line ends (CR LF), which are read as they are; Python reads LF in their place",
                path.display()
            )));
        }
        Ok(Content::Text(text))
    }

    fn extent(&self, spec: &DataSpec) -> Option<Extent> {
        Extent::of_text(path_of(spec)?)
    }
}

/// What the demo model wrote, with a seed that is not used for calibration.
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

    fn extent(&self, _spec: &DataSpec) -> Option<Extent> {
        Some(Extent {
            bytes: TEXT.len() as u64,
            items: None,
        })
    }
}
