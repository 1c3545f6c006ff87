//! A number among sentences that repeat (Mohtashami and Jaggi 2023): the easiest of them.

use super::story::{Random, Retrieval, Story, number};

/// A pass key of five digits.
pub(super) struct Passkey;

impl Retrieval for Passkey {
    fn name(&self) -> &'static str {
        "passkey"
    }

    fn summary(&self) -> &'static str {
        "a pass key of five digits, said twice in one place"
    }

    fn story(&self, random: &mut Random) -> Story {
        let key = number(random, 5);
        Story {
            opening: "There is an important info hidden inside a lot of irrelevant text. Find it and memorize it. I will \
                      quiz you about the important information there."
                .to_owned(),
            needle: format!("The pass key is {key}. Remember it. {key} is the pass key."),
            others: Vec::new(),
            question: "What is the pass key? The pass key is".to_owned(),
            answer: key.to_string(),
        }
    }
}
