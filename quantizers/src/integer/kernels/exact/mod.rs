//! Operations as exact as their outputs: tables, minimax polynomials, exact statistics.
//!
//! At 8-bit outputs every one of them gives the codes that rounding the real function gives, up to
//! ties; published operators, which trade that for shifts and low-degree polynomials, lose 3 to
//! 17 dB there.
//!
//! Widest intermediates, sign included (`C` values in a row):
//!
//! | kernel | intermediate | bits |
//! |---|---|---|
//! | [`table`], [`channel_tables`] | code | 32 |
//! | [`segments`] | position `q b`, and value times output factor | 64, checked when compiled |
//! | [`segments`] | Horner product of a 30-bit value and a 20-bit fraction | 51 |
//! | [`exponential`] | Horner product of a 31-bit value and a 24-bit fraction | 56 |
//! | [`exponential`] | position `d b`, `d` clipped where the result is zero | 64 |
//! | [`table_softmax`] | `2 e (2^k - 1)`, `e` of 24 fraction bits | 43 |
//! | [`softmax`] | `2 e (2^k - 1)`, `e` of 30 fraction bits | 49 |
//! | [`norm`] | `C sum q^2` and `D 2^(17+g)` | 63, checked when compiled |
//! | [`norm`] | `y b + offset` | 63, checked when compiled |

pub mod channel_tables;
pub mod table;
pub mod segments;
pub mod exponential;
pub mod table_softmax;
pub mod softmax;
pub mod affine;
pub mod norm;
pub mod norm_rows;

pub use affine::Affine;
pub use channel_tables::ChannelTables;
pub use exponential::Exponential;
pub use norm::Norm;
pub use segments::{Factors, Segments, Shape};
pub use softmax::Softmax;
pub use table::Table;
pub use table_softmax::TableSoftmax;
