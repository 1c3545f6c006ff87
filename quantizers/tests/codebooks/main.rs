//! Codebooks with shared tables and local scales: how they are stored, and error compensation over them.
#![expect(clippy::unwrap_used, reason = "tests")]

mod compensation;
mod storage;
