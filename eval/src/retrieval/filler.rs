//! What a text is filled with around what it hides.

use super::story::Random;
use rand_chacha::rand_core::Rng;

/// Sentences that repeat (Mohtashami and Jaggi 2023).
const REPEATED: [&str; 5] = [
    "The grass is green.",
    "The sky is blue.",
    "The sun is yellow.",
    "Here we go.",
    "There and back again.",
];
/// Letters of a sentence that is taken from a text, at least and at most.
const LETTERS: [usize; 2] = [20, 240];

/// Sentences that say nothing of what is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filler {
    sentences: Vec<String>,
    /// Every text begins with another sentence.
    is_varied: bool,
}

impl Default for Filler {
    /// Five short sentences, again and again.
    fn default() -> Self {
        Self {
            sentences: REPEATED.map(str::to_owned).to_vec(),
            is_varied: false,
        }
    }
}

impl Filler {
    /// The sentences of `text`: what ends with a full stop, a question or an exclamation mark within a line. Nothing where
    /// there is none of a usual length.
    pub fn of_text(text: &str) -> Option<Self> {
        let [least, most] = LETTERS;
        let lines = text
            .lines()
            .flat_map(|line| line.split_inclusive(['.', '!', '?']));
        let sentences = lines.map(str::trim).filter(|sentence| {
            let ends = sentence.ends_with(['.', '!', '?']);
            ends && sentence.len() >= least && sentence.len() <= most
        });
        let sentences: Vec<String> = sentences.map(str::to_owned).collect();
        (!sentences.is_empty()).then_some(Self {
            sentences,
            is_varied: true,
        })
    }

    /// Where the next text begins.
    pub(super) fn start(&self, random: &mut Random) -> usize {
        if self.is_varied {
            random.next_u32() as usize % self.sentences.len()
        } else {
            0
        }
    }

    /// The sentence `at`, counted on from the last to the first.
    pub(super) fn sentence(&self, at: usize) -> &str {
        &self.sentences[at % self.sentences.len()]
    }
}
