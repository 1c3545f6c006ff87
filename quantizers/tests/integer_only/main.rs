//! The executor has no float: not in its sources, not in its machine code.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod sources;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod object_code;
