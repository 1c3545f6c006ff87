//! What holds for every entry, sizes, and how methods compare on made data.

mod attention;
mod contract;
pub(super) mod data;
mod orderings;
mod sizes;
mod speed;
