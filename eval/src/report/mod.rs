//! The report of a run: json for programs, markdown as the model card, html with plots.

pub mod calibration;
pub mod model;
pub mod figures;
mod html;
mod json;
mod markdown;
mod plots;
pub mod slots;
mod view;

pub use calibration::{CalibrationFacts, PointRatio, SyntheticRanges};
pub use html::html;
pub use json::{read, to_json};
pub use markdown::markdown;
pub use model::{
    ArtifactFacts, FrontierPoint, LayerFacts, ModelFacts, RecipeFacts, Report, RunFacts, SCHEMA,
    SizeFacts, WeightHistogram,
};
pub use slots::{CandidateFacts, SlotFacts};

use std::path::{Path, PathBuf};
use thiserror::Error;

/// A report that cannot be read, rendered or written.
#[derive(Debug, Error)]
pub enum ReportError {
    /// A file that cannot be read or written; the path is in the message.
    #[error(transparent)]
    File(#[from] std::io::Error),
    /// Not a report.
    #[error("`{path}` is no report")]
    Json {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// A report of another schema.
    #[error("`{path}`: expected schema {SCHEMA}, found {found}")]
    Schema {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: u32,
    },
    /// A template that does not render.
    #[error("cannot render `{template}`")]
    Template {
        /// Name of the template.
        template: &'static str,
        /// Why.
        #[source]
        source: Box<minijinja::Error>,
    },
}

/// Name of the report for programs.
pub const JSON_FILE: &str = "report.json";
/// Name of the model card.
pub const MARKDOWN_FILE: &str = "report.md";
/// Name of the report with plots.
pub const HTML_FILE: &str = "report.html";

/// Writes the three files into `folder`, each beside its place first and then renamed.
///
/// # Errors
/// A folder that cannot be written.
pub fn write(report: &Report, folder: &Path) -> Result<(), ReportError> {
    replace(&folder.join(JSON_FILE), &to_json(report))?;
    write_renderings(report, folder)
}

/// Writes markdown and html only, as after reading the json.
///
/// # Errors
/// A folder that cannot be written.
pub fn write_renderings(report: &Report, folder: &Path) -> Result<(), ReportError> {
    replace(&folder.join(MARKDOWN_FILE), &markdown(report)?)?;
    replace(&folder.join(HTML_FILE), &html(report)?)
}

/// How both templates are read: a line with nothing but a block leaves no trace.
fn syntax() -> Result<minijinja::syntax::SyntaxConfig, minijinja::Error> {
    let mut syntax = minijinja::syntax::SyntaxConfig::builder();
    syntax
        .trim_blocks(true)
        .lstrip_blocks(true)
        .keep_trailing_newline(true);
    syntax.build()
}

fn replace(path: &Path, text: &str) -> Result<(), ReportError> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    fs_err::write(&partial, text)?;
    Ok(fs_err::rename(&partial, path)?)
}

#[cfg(test)]
pub(crate) mod sample;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_reads_back_and_renders_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let report = sample::report();
        write(&report, folder.path()).unwrap();
        let mut names: Vec<String> = fs_err::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(
            names,
            [HTML_FILE, JSON_FILE, MARKDOWN_FILE],
            "nothing partial is left"
        );

        let again = read(&folder.path().join(JSON_FILE)).unwrap();
        assert_eq!(markdown(&again).unwrap(), markdown(&report).unwrap());
        assert_eq!(html(&again).unwrap(), html(&report).unwrap());
        // JSON numbers are read to one unit in the last place.
        for (again, report) in again.scores.iter().zip(&report.scores) {
            let pairs = again.quantized.into_iter().zip(report.quantized);
            assert!(
                pairs
                    .into_iter()
                    .all(|(a, b)| (a - b).abs() <= b.abs() * f64::EPSILON)
            );
        }
        assert_eq!((again.layers.len(), again.histograms.len()), (24, 3));
    }

    #[test]
    fn a_bare_evaluation_renders_without_layers_and_size() {
        let mut report = sample::report();
        report.recipe = None;
        report.size = None;
        report.artifact = None;
        report.layers.clear();
        report.histograms.clear();
        report.nonlinear.clear();
        report.calibration = None;
        report.gates.clear();
        report.warnings.clear();
        for score in &mut report.scores {
            (score.quantized, score.delta, score.ci95) = (None, None, None);
        }
        let text = markdown(&report).unwrap();
        assert!(
            !text.contains("## Size")
                && !text.contains("## Layers")
                && !text.contains("## Nonlinear slots")
                && !text.contains("## Synthetic data"),
            "{text}"
        );
        assert!(!html(&report).unwrap().contains("<svg"));
    }
}
