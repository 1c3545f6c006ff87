//! A value that passes from variable to variable: every link of the chain has to be found (RULER, Hsieh et al. 2024).

use super::story::{Random, Retrieval, Story, different, number};

/// A chain of three assignments.
pub(super) struct Variables;

const NAMES: &[&str] = &[
    "APPLE", "RIVER", "STONE", "CLOUD", "TIGER", "PIANO", "LEMON", "HORSE", "CHAIR", "OCEAN",
];

impl Retrieval for Variables {
    fn name(&self) -> &'static str {
        "variables"
    }

    fn summary(&self) -> &'static str {
        "the value of the last of three variables, each set to the one before"
    }

    fn story(&self, random: &mut Random) -> Story {
        let names = different(random, NAMES, 3);
        let value = number(random, 5);
        let (first, second, third) = (names[0], names[1], names[2]);
        Story {
            opening:
                "Memorize and track the chain of variable assignments hidden in the following text."
                    .to_owned(),
            needle: format!("VAR {first} = {value}."),
            others: vec![
                format!("VAR {second} = VAR {first}."),
                format!("VAR {third} = VAR {second}."),
            ],
            question: format!("What is the value of VAR {third}? The value of VAR {third} is"),
            answer: value.to_string(),
        }
    }
}
