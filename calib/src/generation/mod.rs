//! Text continued by a decoder, one token at a time: which token comes next, when to stop, and what of the text can be
//! shown already.

mod choice;
mod error;
mod generate;
mod session;
mod stops;
mod text_stream;

pub use choice::{Choice, Sampling};
pub use error::GenerationError;
pub use generate::{Continuation, FinishReason, Generated, Speed, generate};
pub use session::Session;
pub use stops::StopStrings;
pub use text_stream::TextStream;
