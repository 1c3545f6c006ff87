//! Trellis codes: a sequence of weights as a stream of `K` bits a weight, in which every weight is computed from the
//! last `L` bits read.
//!
//! The value of a weight is [`Code::value`] of its *state*, the window of `L` bits of the stream that ends with the
//! weight's own `K` bits. Neighbours share all but `K` bits of their windows, so that a stream of 2 bits a weight
//! still chooses among `2^L` values; which stream is nearest to given weights is found by Viterbi's algorithm
//! ([`Encoder`]). Streams are rings: the window of the first weight reaches back into the end of the stream
//! ("tail-biting"), and nothing is stored besides the `K` bits of each weight.
//!
//! A matrix is cut into tiles of 16 x 16 weights ([`tile`]), a stream each.
//!
//! Tseng et al. 2024, QTIP, arXiv 2406.11235. The codes, the order of the weights in a tile and of the bits in a stream are
//! those that exllamav3 reads (with `L` = 16 and its codes; `strata` is not one of them).

mod code;
mod encoder;
mod geometry;
mod step;
mod strata;
mod stream;
pub mod tile;
mod viterbi;
#[cfg(test)]
mod tests;

pub use code::{CODES, Code, TrellisCode};
pub use encoder::Encoder;
pub use geometry::{BITS, Geometry, STATE_BITS};
pub use stream::{pack, unpack, words};
