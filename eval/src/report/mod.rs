//! The report of a run: json for programs, markdown as the model card, html with plots.

pub mod budget;
pub mod calibration;
mod caches;
mod table_page;
mod comparison;
pub mod model;
pub mod figures;
mod html;
mod json;
mod loading;
mod markdown;
mod plots;
mod scores;
pub mod slots;
mod view;

pub use budget::BudgetFacts;
pub use caches::{CACHES_HTML, caches_html};
pub use calibration::{CalibrationFacts, PointRatio, SyntheticRanges};
pub use comparison::{COMPARISON_HTML, COMPARISON_JSON, COMPARISON_MARKDOWN, Comparison};
pub use html::html;
pub use json::{read, to_json};
pub use markdown::markdown;
pub use model::{
    ArtifactFacts, LayerFacts, ModelFacts, RecipeFacts, Report, RunFacts, SCHEMA, SizeFacts,
    WeightHistogram,
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
    /// Artifacts that cannot be compared.
    #[error("{first}, {other}: expected artifacts of one model")]
    OtherModel {
        /// The first one.
        first: String,
        /// The one that differs.
        other: String,
    },
    /// A report of an evaluation, which has no size.
    #[error("`{path}` holds the report of a model, expected one of a quantized folder")]
    NoArtifact {
        /// The folder.
        path: String,
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

/// Writes the files of a comparison into `folder`.
///
/// # Errors
/// A folder that cannot be written.
pub fn write_comparison(comparison: &Comparison, folder: &Path) -> Result<(), ReportError> {
    replace(&folder.join(COMPARISON_JSON), &comparison.to_json())?;
    replace(&folder.join(COMPARISON_MARKDOWN), &comparison.markdown())?;
    replace(&folder.join(COMPARISON_HTML), &comparison.html()?)
}

fn replace(path: &Path, text: &str) -> Result<(), ReportError> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    fs_err::write(&partial, text)?;
    Ok(fs_err::rename(&partial, path)?)
}

#[cfg(test)]
mod tests;
