//! Plots as inline SVG: colours come from the page's style sheet, values from `<title>` tooltips.

mod blocks;
mod budget;
mod canvas;
mod frontier;
mod histogram;
mod layers;
mod retrieval;

pub(super) use blocks::{Series, by_block};
pub(super) use budget::budget_curve;
pub(super) use frontier::{Candidate, frontier};
pub(super) use histogram::histogram;
pub(super) use layers::{bits_per_layer, sqnr_per_layer};
pub(super) use retrieval::retrieval_grid;

/// One finished plot.
#[derive(Debug, serde::Serialize)]
pub(super) struct Plot {
    /// Heading.
    pub title: String,
    /// One line on how to read it.
    pub caption: String,
    /// `<svg>` element.
    pub svg: String,
    /// Names of the coloured series, in the order of the classes `s0`, `s1`, ...
    pub legend: Vec<String>,
}
