//! The tokens of a vocabulary that stand for text, and sequences put together from them.

use super::{Tokenizer, TokenizerError};
use tokenizers::{Encoding, PostProcessor, Token};

/// How vocabularies call the ids they keep free.
const UNUSED: [&str; 2] = ["[unused", "<unused"];

/// The tokens of a vocabulary.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Vocabulary {
    /// `(id, token)` of those that stand for text, ids ascending.
    pub ordinary: Vec<(u32, String)>,
    /// Ids kept free for later use, ascending: no text ever held them.
    pub unused: Vec<u32>,
}

impl Tokenizer {
    /// The tokens that stand for text, and those nothing stands for; special tokens are neither.
    pub fn tokens(&self) -> Vocabulary {
        let special = self.inner.get_added_tokens_decoder();
        let mut all: Vec<(u32, String)> = self
            .inner
            .get_vocab(true)
            .into_iter()
            .map(|(token, id)| (id, token))
            .filter(|(id, _)| !special.get(id).is_some_and(|token| token.special))
            .collect();
        all.sort_unstable();
        let free = |token: &str| UNUSED.iter().any(|prefix| token.starts_with(prefix));
        let (unused, ordinary) = all
            .into_iter()
            .partition::<Vec<_>, _>(|(_, token)| free(token));
        Vocabulary {
            ordinary,
            unused: unused.into_iter().map(|(id, _)| id).collect(),
        }
    }

    /// `ids` with the special tokens the tokenizer puts around a text.
    ///
    /// # Errors
    /// The tokenizer refuses them.
    pub fn surround(&self, ids: &[u32]) -> Result<Vec<u32>, TokenizerError> {
        let tokens = ids
            .iter()
            .map(|&id| Token::new(id, String::new(), (0, 0)))
            .collect();
        let encoding = self
            .inner
            .post_process(Encoding::from_tokens(tokens, 0), None, true)
            .map_err(|source| self.refused("encode", source))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// How many tokens [`Tokenizer::surround`] adds.
    pub fn special_count(&self) -> usize {
        self.inner
            .get_post_processor()
            .map_or(0, |processor| processor.added_tokens(false))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::write_words;
    use super::*;

    #[test]
    fn special_tokens_are_not_text_and_stand_around_it() {
        let folder = tempfile::tempdir().unwrap();
        write_words(folder.path());
        let tokenizer = Tokenizer::from_folder(folder.path()).unwrap();
        let tokens = tokenizer.tokens();
        let expected = ["a", "b", "c", "d"].into_iter().zip(3..);
        let expected: Vec<_> = expected.map(|(text, id)| (id, text.to_owned())).collect();
        assert_eq!(tokens.ordinary, expected);
        assert_eq!(tokens.unused, [0_u32; 0]);
        let ids = tokenizer.encode("a b c").unwrap();
        let whole = tokenizer.encode_special("a b c", None).unwrap();
        assert_eq!(tokenizer.surround(&ids).unwrap(), whole);
        assert_eq!(tokenizer.special_count(), whole.len() - ids.len());
    }
}
