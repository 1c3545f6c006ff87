//! What holds for everything of a kind: every source file, every registry.

mod files;
mod registries;
