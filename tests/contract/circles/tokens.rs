//! Rust source as names and marks: comments, literals and tests left out.

/// The tokens of `text` without comments, strings, characters and lifetimes.
///
/// A path separator is one token; every other mark is one token for each character.
pub(super) fn tokens(text: &str) -> Vec<String> {
    let letters: Vec<char> = text.chars().collect();
    let (mut found, mut at) = (Vec::new(), 0);
    let is_word = |letter: char| letter.is_alphanumeric() || letter == '_';
    while at < letters.len() {
        let (here, next) = (letters[at], letters.get(at + 1).copied().unwrap_or(' '));
        if here == '/' && next == '/' {
            at = end(&letters, at, "\n");
        } else if here == '/' && next == '*' {
            at = end(&letters, at + 2, "*/");
        } else if here == 'r' && (next == '"' || next == '#') && is_raw_string(&letters[at + 1..]) {
            let hashes = letters[at + 1..].iter().take_while(|&&c| c == '#').count();
            at = end(
                &letters,
                at + 2 + hashes,
                &format!("\"{}", "#".repeat(hashes)),
            );
        } else if here == '"' {
            at += 1;
            while at < letters.len() && letters[at] != '"' {
                at += if letters[at] == '\\' { 2 } else { 1 };
            }
            at += 1;
        } else if here == '\'' {
            at = after_quote(&letters, at);
        } else if is_word(here) {
            let length = letters[at..].iter().take_while(|&&c| is_word(c)).count();
            found.push(letters[at..at + length].iter().collect());
            at += length;
        } else if here == ':' && next == ':' {
            found.push("::".to_owned());
            at += 2;
        } else {
            if !here.is_whitespace() {
                found.push(here.to_string());
            }
            at += 1;
        }
    }
    found
}

fn is_raw_string(rest: &[char]) -> bool {
    rest.iter().find(|&&letter| letter != '#') == Some(&'"')
}

/// The place after the next `mark`.
fn end(letters: &[char], from: usize, mark: &str) -> usize {
    let mark: Vec<char> = mark.chars().collect();
    (from..letters.len())
        .find(|&at| letters[at..].starts_with(&mark))
        .map_or(letters.len(), |at| at + mark.len())
}

/// The place after a character, or after the mark of a lifetime.
fn after_quote(letters: &[char], at: usize) -> usize {
    match (letters.get(at + 1), letters.get(at + 2)) {
        (Some('\\'), _) => end(letters, at + 3, "'"),
        (Some(_), Some('\'')) => at + 3,
        _ => at + 1,
    }
}

/// `tokens` without items marked `#[cfg(test)]`, and the modules among those.
pub(super) fn without_tests(tokens: &[String]) -> (Vec<String>, Vec<String>) {
    const MARK: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let (mut kept, mut modules, mut at) = (Vec::new(), Vec::new(), 0);
    while at < tokens.len() {
        if !tokens[at..].iter().take(7).eq(MARK) {
            kept.push(tokens[at].clone());
            at += 1;
            continue;
        }
        let (start, mut depth) = (at + MARK.len(), 0_usize);
        at = start;
        while at < tokens.len() {
            match tokens[at].as_str() {
                "{" | "[" | "(" => depth += 1,
                "}" | "]" | ")" => depth -= 1,
                _ => {}
            }
            at += 1;
            if depth == 0 && (tokens[at - 1] == ";" || tokens[at - 1] == "}") {
                break;
            }
        }
        let item = &tokens[start..at];
        if let Some(place) = item.iter().position(|token| token == "mod") {
            modules.extend(item.get(place + 1).cloned());
        }
    }
    (kept, modules)
}
