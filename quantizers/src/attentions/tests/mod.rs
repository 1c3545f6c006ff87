//! Every method against exact attention, against its own formulas, and against what its paper claims.

mod made;
mod contract;
mod equality;
mod counts;
mod claims;
