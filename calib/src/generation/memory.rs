//! What a decoder remembers of one text.

use crate::KeyValueCache;
use quantizers::scratch::Scratch;

/// Keys and values of the tokens of one text that a [`Decoder`](super::Decoder) has seen.
#[derive(Debug)]
pub struct TextMemory {
    /// Of every stage.
    pub(super) caches: Vec<KeyValueCache>,
    /// Tokens the caches are of.
    pub(super) seen: Vec<u32>,
    /// Logits after the last of them, where they are known.
    pub(super) last: Option<Scratch<f32>>,
}

impl TextMemory {
    /// One of a text of which nothing has been seen, whose `caches` are empty.
    pub(super) fn of(caches: Vec<KeyValueCache>) -> Self {
        Self {
            caches,
            seen: Vec::new(),
            last: None,
        }
    }

    /// Logits `[vocabulary]` of the token after what has been seen.
    pub fn logits(&self) -> Option<&[f32]> {
        self.last.as_ref().map(|logits| logits.as_slice())
    }

    /// Bytes of keys and values.
    pub fn bytes(&self) -> usize {
        self.caches.iter().map(KeyValueCache::bytes).sum()
    }

    /// Keeps what is remembered of the first `count` tokens; `false` where a window has dropped some of them: then the
    /// text is to be started over.
    #[must_use]
    pub(super) fn forget_after(&mut self, count: usize) -> bool {
        self.last = None;
        self.seen.truncate(count);
        self.caches.iter_mut().all(|cache| cache.truncate(count))
    }
}
