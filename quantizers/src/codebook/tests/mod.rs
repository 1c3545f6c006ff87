//! The solver against plain dynamic programs and on rows of real layers.

mod exactness;
mod real_rows;

pub(super) use exactness::squared_error;
