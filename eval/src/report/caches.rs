//! A page on what ways of keeping keys and values, and of attending to them, cost a model.

use super::ReportError;
use super::plots::{Candidate, Series, by_block, frontier, retrieval_grid};
use super::table_page::table_page;
use crate::attention::Outcome;
use crate::retrieval::RETRIEVALS;

/// File name of the page.
pub const CACHES_HTML: &str = "cache.html";
/// Divergences up to this are rounding, nats.
const SMALLEST: f64 = 1e-9;

/// The page of `outcomes` on `model`, with `rows` as its table, the first of which are the headings.
///
/// # Errors
/// A template that does not render.
pub fn caches_html(
    model: &str,
    subtitle: &str,
    rows: Vec<Vec<String>>,
    outcomes: &[Outcome],
) -> Result<String, ReportError> {
    // What changes nothing has no logarithm, and lies far from all others.
    let changing = outcomes
        .iter()
        .filter(|outcome| outcome.strict.divergence > SMALLEST);
    let caches = changing.filter_map(|outcome| {
        Some(Candidate {
            name: outcome.label.clone(),
            bits: outcome.size?.bytes_per_token,
            figure: outcome.strict.divergence.log10(),
        })
    });
    let caches: Vec<Candidate> = caches.collect();
    let axes = [
        "bytes of the cache for a token",
        "log10 of the KL divergence",
    ];
    let lines = outcomes.iter().map(|outcome| Series {
        name: outcome.label.clone(),
        points: outcome
            .blocks
            .iter()
            .map(|block| (block.block, block.output_error))
            .collect(),
    });
    let lines: Vec<Series> = lines.collect();
    let plots = [
        frontier(&caches, axes, true),
        by_block(&lines, "Error of what is attended to", "relative error"),
    ];
    let cells: Vec<_> = outcomes
        .iter()
        .map(|outcome| (&outcome.label[..], &outcome.retrieval[..]))
        .collect();
    let grids = RETRIEVALS
        .iter()
        .map(|task| retrieval_grid(task.name(), &cells));
    let plots = plots.into_iter().chain(grids).flatten().collect();
    let page = table_page(model, subtitle, rows, plots);
    page.map_err(|source| ReportError::Template {
        template: CACHES_HTML,
        source: Box::new(source),
    })
}
