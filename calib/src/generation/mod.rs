//! Text continued by a decoder, one token at a time: which token comes next, when to stop, and what of the text can be
//! shown already. One text at a time in a [`Session`]; many that share each pass over the weights by a [`Decoder`].

mod choice;
mod continuation;
mod continuing;
mod decoder;
mod error;
mod exponentials;
mod generate;
mod likelihoods;
mod memory;
mod session;
mod stops;
mod text_stream;

pub use choice::{Choice, Sampling};
pub use continuation::{Continuation, FinishReason};
pub use continuing::{Continuing, Written};
pub use decoder::{Decoder, NextToken};
pub use error::GenerationError;
pub use generate::{Generated, Speed, generate};
pub use likelihoods::{Likelihood, likelihoods};
pub use memory::TextMemory;
pub use session::Session;
pub use stops::StopStrings;
pub use text_stream::TextStream;
