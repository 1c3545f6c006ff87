//! A number with a name, said once.

use super::story::{Random, Retrieval, Story, different, number};

/// One sentence with a number of seven digits.
pub(super) struct Needle;

/// What numbers belong to.
pub(super) const NAMES: &[&str] = &[
    "Paris", "London", "Berlin", "Madrid", "Rome", "Vienna", "Dublin", "Lisbon", "Athens", "Oslo",
    "Cairo", "Tokyo", "Delhi", "Lima", "Boston", "Chicago", "Denver", "Moscow", "Sydney",
    "Toronto",
];

/// The sentence of `name`.
pub(super) fn sentence(name: &str, number: u64) -> String {
    format!("The special magic number for {name} is {number}.")
}

/// The question for `name`.
pub(super) fn question(name: &str) -> String {
    format!("What is the special magic number for {name}? The special magic number for {name} is")
}

/// What texts with such numbers begin with.
pub(super) const OPENING: &str = "Some special magic numbers are hidden within the following text. Memorize them. I will quiz you about them.";

impl Retrieval for Needle {
    fn name(&self) -> &'static str {
        "needle"
    }

    fn summary(&self) -> &'static str {
        "a number of seven digits that belongs to a name, said once"
    }

    fn story(&self, random: &mut Random) -> Story {
        let name = different(random, NAMES, 1)[0];
        let key = number(random, 7);
        Story {
            opening: OPENING.to_owned(),
            needle: sentence(name, key),
            others: Vec::new(),
            question: question(name),
            answer: key.to_string(),
        }
    }
}
