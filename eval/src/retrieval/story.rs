//! What is hidden in a text, and what is asked.

use rand_chacha::rand_core::Rng;

/// What stories are drawn from.
pub type Random = rand_chacha::ChaCha8Rng;

/// One kind of text that hides something.
pub trait Retrieval: Sync {
    /// Name on the command line and in reports.
    fn name(&self) -> &'static str;
    /// One line of help.
    fn summary(&self) -> &'static str;
    /// Something to hide.
    fn story(&self, random: &mut Random) -> Story;
}

/// Sentences that are hidden in a text, and what is asked at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Story {
    /// What the text begins with.
    pub opening: String,
    /// What is asked for, at the depth that is tried.
    pub needle: String,
    /// Sentences of the same form elsewhere, in this order.
    pub others: Vec<String>,
    /// What is asked; the answer comes right after it.
    pub question: String,
    /// The answer, without the space before it.
    pub answer: String,
}

/// A number of `digits` digits, the first of which is not 0.
pub(super) fn number(random: &mut Random, digits: u32) -> u64 {
    let low = 10_u64.pow(digits - 1);
    low + random.next_u64() % (9 * low)
}

/// `count` different ones of `words`.
pub(super) fn different<'w>(random: &mut Random, words: &[&'w str], count: usize) -> Vec<&'w str> {
    let mut left = words.to_vec();
    let mut drawn = Vec::with_capacity(count);
    while drawn.len() < count && !left.is_empty() {
        let at = random.next_u32() as usize % left.len();
        drawn.push(left.swap_remove(at));
    }
    drawn
}
