//! What holds for everything of a kind: every source file, every registry.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod architecture_page;
mod circles;
mod files;
mod registries;
mod toys;
