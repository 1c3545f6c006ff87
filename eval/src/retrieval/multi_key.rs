//! The same among others of its kind: the key has to be told apart, too (RULER, Hsieh et al. 2024).

use super::needle::{NAMES, OPENING, question, sentence};
use super::story::{Random, Retrieval, Story, different, number};

/// One of four sentences with a name and a number.
pub(super) struct MultiKey;

/// Sentences beside the one that is asked for.
const OTHERS: usize = 3;

impl Retrieval for MultiKey {
    fn name(&self) -> &'static str {
        "multi-key"
    }

    fn summary(&self) -> &'static str {
        "one of four numbers of seven digits that belong to different names"
    }

    fn story(&self, random: &mut Random) -> Story {
        let names = different(random, NAMES, OTHERS + 1);
        let key = number(random, 7);
        let others = names[1..].iter();
        Story {
            opening: OPENING.to_owned(),
            needle: sentence(names[0], key),
            others: others
                .map(|name| sentence(name, number(random, 7)))
                .collect(),
            question: question(names[0]),
            answer: key.to_string(),
        }
    }
}
