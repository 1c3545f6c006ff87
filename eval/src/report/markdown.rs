//! `report.md`, which is also the model card.

use super::view::View;
use super::{Report, ReportError, syntax};
use minijinja::value::Serde;
use minijinja::{Environment, context};

const NAME: &str = "report.md";
const TEMPLATE: &str = include_str!("report.md.j2");

/// The report as markdown.
///
/// # Errors
/// A template that does not render.
pub fn markdown(report: &Report) -> Result<String, ReportError> {
    let error = |source| ReportError::Template {
        template: NAME,
        source: Box::new(source),
    };
    let mut environment = Environment::new();
    environment.set_syntax(syntax().map_err(error)?);
    environment.add_filter("cell", cell);
    environment.add_template(NAME, TEMPLATE).map_err(error)?;
    let template = environment.get_template(NAME).map_err(error)?;
    template
        .render(context! { view => Serde(View::of(report)) })
        .map_err(error)
}

/// Text inside a table: no column or line may end early, no tag may open.
pub(super) fn cell(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('|', "\\|")
        .replace('<', "&lt;")
        .replace('*', "\\*")
        .replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::sample;

    #[test]
    fn tables_keep_their_columns_whatever_the_names() {
        let text = markdown(&sample::report()).unwrap();
        let unescaped = |line: &str| {
            line.match_indices('|')
                .filter(|(at, _)| *at == 0 || !line[..*at].ends_with('\\'))
                .count()
        };
        let mut columns = None;
        for line in text.lines() {
            if line.starts_with('|') {
                assert_eq!(
                    *columns.get_or_insert(unescaped(line)),
                    unescaped(line),
                    "{line}"
                );
            } else {
                columns = None;
            }
        }
        assert!(
            text.contains("| perplexity | wiki&lt;text>\\|test.txt | 47.0220 | 48.3110 |"),
            "{text}"
        );
        assert!(
            text.starts_with("---\nbase_model: example/wiki-llama\n"),
            "{text}"
        );
        assert!(text.contains("## How to load it") && text.contains("## Warnings"));
    }
}
