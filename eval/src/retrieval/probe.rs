//! Texts of a given length with something at a given depth, as tokens.

use super::filler::Filler;
use super::story::{Random, Retrieval, Story};
use calib::tokenizer::{Tokenizer, TokenizerError};
use rand_chacha::rand_core::SeedableRng;
use thiserror::Error;

/// Sentences whose tokens are counted to know how many fit.
const COUNTED: usize = 100;

/// One text and what is asked of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Probe {
    /// Name of the kind of text.
    pub task: &'static str,
    /// The text with the answer at its end.
    pub tokens: Vec<u32>,
    /// How many of the last tokens are the answer.
    pub answer: usize,
    /// Tokens the text may have.
    pub length: usize,
    /// Where the needle is, in per cent of the text.
    pub depth: usize,
}

/// Which texts are made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Depths {
    /// Tokens of a text.
    pub lengths: Vec<usize>,
    /// Depths in per cent, from 0 to 100.
    pub depths: Vec<usize>,
    /// Texts for each length and depth.
    pub samples: usize,
}

/// A text that cannot be made.
#[derive(Debug, Error)]
pub enum ProbeError {
    /// The text is too short for what it has to hold.
    #[error("`{task}` in {length} tokens: expected at least {needed}")]
    Short {
        /// Name of the kind of text.
        task: &'static str,
        /// Tokens asked for.
        length: usize,
        /// Tokens without anything between the sentences.
        needed: usize,
    },
    /// The tokenizer refuses it.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
}

/// The texts of `retrieval`, by length, depth and sample. Texts depend on the seed, not on the tokenizer.
///
/// # Errors
/// A length that leaves no room, a tokenizer that refuses the text.
pub fn probes(
    retrieval: &dyn Retrieval,
    tokenizer: &Tokenizer,
    filler: &Filler,
    asked: &Depths,
    seed: u64,
) -> Result<Vec<Probe>, ProbeError> {
    let mut random = Random::seed_from_u64(seed);
    let mut found = Vec::with_capacity(asked.lengths.len() * asked.depths.len() * asked.samples);
    for &length in &asked.lengths {
        for &depth in &asked.depths {
            for _ in 0..asked.samples {
                let story = retrieval.story(&mut random);
                let between = Between {
                    filler,
                    start: filler.start(&mut random),
                    depth,
                };
                let task = retrieval.name();
                let (tokens, answer) = fitted(&story, tokenizer, &between, length, task)?;
                found.push(Probe {
                    task: retrieval.name(),
                    tokens,
                    answer,
                    length,
                    depth,
                });
            }
        }
    }
    Ok(found)
}

/// What stands around what is hidden.
struct Between<'a> {
    filler: &'a Filler,
    /// The first sentence.
    start: usize,
    /// Where the needle is, in per cent.
    depth: usize,
}

/// The longest text of at most `length` tokens, and how many of them are the answer.
fn fitted(
    story: &Story,
    tokenizer: &Tokenizer,
    between: &Between<'_>,
    length: usize,
    task: &'static str,
) -> Result<(Vec<u32>, usize), ProbeError> {
    let encode = |sentences| -> Result<(Vec<u32>, usize), TokenizerError> {
        let text = text(story, sentences, between);
        let question = with_begin(tokenizer, &text)?;
        let all = with_begin(tokenizer, &format!("{text} {}", story.answer))?;
        let pairs = question.iter().zip(&all);
        let same = pairs.take_while(|(a, b)| a == b).count();
        let answer = all.len() - same;
        Ok((all, answer))
    };
    let (bare, _) = encode(0)?;
    let short = || ProbeError::Short {
        task,
        length,
        needed: bare.len(),
    };
    let room = length.checked_sub(bare.len()).ok_or_else(short)?;
    let (counted, _) = encode(COUNTED)?;
    let of_counted = (counted.len() - bare.len()).max(1);
    let mut sentences = room * COUNTED / of_counted;
    let mut found = encode(sentences)?;
    while found.0.len() > length {
        sentences = sentences.checked_sub(1).ok_or_else(short)?;
        found = encode(sentences)?;
    }
    loop {
        sentences += 1;
        let longer = encode(sentences)?;
        if longer.0.len() > length {
            return Ok(found);
        }
        found = longer;
    }
}

fn with_begin(tokenizer: &Tokenizer, text: &str) -> Result<Vec<u32>, TokenizerError> {
    let ids = tokenizer.encode(text)?;
    Ok(tokenizer.begin().into_iter().chain(ids).collect())
}

/// The text with so many sentences that say nothing, up to the question. The needle comes after `depth` per cent of
/// them, the others at equal distances after it, and before it where it leaves them no room.
fn text(story: &Story, sentences: usize, between: &Between<'_>) -> String {
    let needle = sentences * between.depth / 100;
    let others = story.others.len();
    let mut hidden: Vec<(usize, &str)> = vec![(needle, &story.needle)];
    hidden.extend(story.others.iter().enumerate().map(|(at, other)| {
        let step = sentences * (at + 1) / (others + 1);
        ((needle + step) % (sentences + 1), &other[..])
    }));
    let mut parts = vec![&story.opening[..]];
    for at in 0..=sentences {
        let here = hidden.iter().filter(|(place, _)| *place == at);
        parts.extend(here.map(|(_, sentence)| *sentence));
        if at < sentences {
            parts.push(between.filler.sentence(between.start + at));
        }
    }
    parts.push(&story.question);
    parts.join(" ")
}
