//! Where the inputs of a product stand.

use crate::scratch::{Reusable, Scratch};

/// How the inputs of a kernel are to stand.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Order {
    /// Where in a block of as many inputs the ones that are multiplied first to last stand: of the longest blocks, of which
    /// there are as many as fit, and then of shorter ones in what is left over.
    pub(super) blocks: &'static [&'static [usize]],
    /// Whether what is left over in the end is filled up with zeros to one of the shortest blocks; else it stands as it comes.
    pub(super) is_padded: bool,
}

impl Order {
    /// As they come.
    pub(super) const AS_THEY_COME: Self = Self {
        blocks: &[],
        is_padded: false,
    };

    /// What `input` becomes in this order, each value as `value` says.
    pub(super) fn of<T: Reusable>(self, input: &[f32], value: impl Fn(f32) -> T) -> Scratch<T> {
        let longest = self.blocks.last().map_or(0, |block| block.len());
        let mut ordered = Scratch::with_capacity(input.len() + longest);
        let mut left = input;
        for places in self.blocks {
            let mut blocks = left.chunks_exact(places.len());
            for block in &mut blocks {
                ordered.extend(places.iter().map(|at| value(block[*at])));
            }
            left = blocks.remainder();
        }
        match self.blocks.last() {
            Some(places) if self.is_padded && !left.is_empty() => {
                let padded = |at: &usize| left.get(*at).copied().unwrap_or(0.0);
                ordered.extend(places.iter().map(|at| value(padded(at))));
            }
            _ => ordered.extend(left.iter().map(|x| value(*x))),
        }
        ordered
    }
}
