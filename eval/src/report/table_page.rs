//! A page of one table and its plots.

use super::figures;
use super::html::STYLE;
use super::plots::Plot;
use super::syntax;
use minijinja::value::Serde;
use minijinja::{Environment, context};

const NAME: &str = "table.html";

/// A page about `model`; the first of `rows` are the headings.
pub(super) fn table_page(
    model: &str,
    subtitle: &str,
    mut rows: Vec<Vec<String>>,
    plots: Vec<Plot>,
) -> Result<String, minijinja::Error> {
    let head = rows.remove(0);
    let mut environment = Environment::new();
    environment.set_syntax(syntax()?);
    environment.add_template(NAME, include_str!("table.html.j2"))?;
    let template = environment.get_template(NAME)?;
    let context = context! {
        style => STYLE, model => figures::short_path(model), subtitle, head, rows, plots => Serde(plots)
    };
    template.render(context)
}
