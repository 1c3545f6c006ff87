//! What each way of shrinking the cache of keys and values, or of attending to fewer of them, costs a model.

pub mod recorder;
pub mod samples;
pub mod rows;
pub mod next_token;
pub mod size;
pub mod candidate;
pub mod settings;
mod passes;
pub mod fit;
pub mod fit_backward;
pub mod walk;
pub mod retrieve;

pub use candidate::{Candidate, Refused};
pub use next_token::TokenCost;
pub use retrieve::RetrievalCell;
pub use rows::BlockCost;
pub use walk::{Outcome, Windows, measure};
