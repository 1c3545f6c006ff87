//! A space of configurations of a recipe, and what has been measured of it.

mod comparison;
mod measuring;
mod record;
mod space;

pub use comparison::Comparison;
pub use measuring::{Search, unreadable};
pub use record::{Measured, RECORD_FILE, Record, RecordError};
pub use space::{BUILTIN_SPACES, BuiltinSpace, Dimension, Space, SpaceError};
