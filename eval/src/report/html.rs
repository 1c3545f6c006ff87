//! `report.html`: one file with its style and plots inside, nothing fetched.

use super::plots::{Plot, bits_per_layer, budget_curve, histogram, sqnr_per_layer};
use super::view::View;
use super::{Report, ReportError, syntax};
use minijinja::value::Serde;
use minijinja::{Environment, context};

const NAME: &str = "report.html";
/// Shared by all pages.
pub(super) const STYLE: &str = include_str!("style.css");
const TEMPLATE: &str = include_str!("report.html.j2");

/// The report as a page.
///
/// # Errors
/// A template that does not render.
pub fn html(report: &Report) -> Result<String, ReportError> {
    let error = |source| ReportError::Template {
        template: NAME,
        source: Box::new(source),
    };
    let wide: Vec<Plot> = [
        bits_per_layer(&report.layers),
        sqnr_per_layer(&report.layers),
        report.budget.as_ref().and_then(budget_curve),
    ]
    .into_iter()
    .flatten()
    .collect();
    let histograms: Vec<Plot> = report.histograms.iter().filter_map(histogram).collect();
    let mut environment = Environment::new();
    environment.set_syntax(syntax().map_err(error)?);
    environment.add_template(NAME, TEMPLATE).map_err(error)?;
    let template = environment.get_template(NAME).map_err(error)?;
    template.render(context! { style => STYLE, view => Serde(View::of(report)), wide => Serde(wide), histograms => Serde(histograms) }).map_err(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::sample;

    #[test]
    fn the_page_is_one_file_and_escapes_what_it_is_given() {
        let page = html(&sample::report()).unwrap();
        for outside in ["http://", "https://", "src=", "@import", "url("] {
            assert!(!page.contains(outside), "{outside}");
        }
        assert_eq!(page.matches("<svg").count(), page.matches("</svg>").count());
        assert_eq!(page.matches("<svg").count(), 5);
        assert!(page.contains("wiki&lt;text&gt;|test.txt") && !page.contains("wiki<text>"));
        assert!(
            page.contains("squeeze-3 -o &quot;out &lt;3&quot;"),
            "{page}"
        );
    }
}
