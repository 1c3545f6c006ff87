//! Attention over tiles of keys, against which whole rows are measured.

mod online;
