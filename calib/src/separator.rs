//! Which separator a text of documents uses, where it shows one.

use crate::tokenizer::Tokenizer;

/// Separators of published corpora, besides the tokens that a tokenizer names.
const KNOWN: [&str; 3] = ["<|endoftext|>", "<|end_of_text|>", "</s>"];
/// Tokens that end a turn of a conversation, and so stand inside of documents.
const TURNS: [&str; 4] = ["<|im_end|>", "<|im_start|>", "<|eot_id|>", "<end_of_turn>"];

/// The separator between the documents of `text`: the first of the tokenizer's end and begin of sequence and of the
/// well known ones that stands in it; nothing for a text of one piece.
pub fn separator(text: &str, tokenizer: Option<&Tokenizer>) -> Option<String> {
    let named = tokenizer.into_iter().flat_map(|tokenizer| {
        let ends = tokenizer.ends().iter().copied();
        let ids = ends.chain(tokenizer.begin());
        ids.filter_map(|id| tokenizer.token(id)).collect::<Vec<_>>()
    });
    // A token of a letter or two is no mark that only a separator would leave.
    let is_mark = |token: &String| {
        token.len() > 2 && token.starts_with(['<', '[']) && !TURNS.contains(&token.as_str())
    };
    named
        .filter(is_mark)
        .chain(KNOWN.map(str::to_owned))
        .find(|separator| text.contains(separator.as_str()))
}

#[cfg(test)]
mod tests {
    use super::separator;

    #[test]
    fn known_separators_are_found_and_plain_text_has_none() {
        let found = |text: &str| separator(text, None);
        let text = "a story\n<|endoftext|>\nanother";
        assert_eq!(found(text).as_deref(), Some("<|endoftext|>"));
        assert_eq!(found("one</s>two").as_deref(), Some("</s>"));
        assert_eq!(found("<b>plain</b> [sic] text"), None);
    }
}
