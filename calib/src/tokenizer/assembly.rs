//! From a vocabulary and its settings to a tokenizer: the pipeline, the added tokens, the tokens around a text.
//!
//! Added tokens that the vocabulary lacks get the next free ids, so the order in which they are added decides
//! over ids: it is that of transformers' `TokenizersBackend`.

use super::settings::{Default, Settings, Special};
use serde_json::{Map, Value, json};
use tokenizers::{
    AddedToken, DecoderWrapper, Error, ModelWrapper, NormalizerWrapper, PreTokenizerWrapper,
    Tokenizer,
};

/// The parts of a tokenizer that a vocabulary and a class decide.
pub(super) struct Pipeline {
    pub(super) model: ModelWrapper,
    pub(super) normalizer: Option<NormalizerWrapper>,
    pub(super) pre_tokenizer: Option<PreTokenizerWrapper>,
    pub(super) decoder: Option<DecoderWrapper>,
    /// Special tokens added before all others.
    pub(super) first: Vec<AddedToken>,
    /// Special tokens without a key that the vocabulary or the class brings.
    pub(super) extra: Option<Vec<Special>>,
}

/// One class of tokenizers over the vocabulary `V`.
pub(super) struct Class<V> {
    /// Its names, without the ending `Fast`.
    pub(super) names: &'static [&'static str],
    /// Its special tokens.
    pub(super) tokens: &'static [Default],
    /// The tokens around a text.
    pub(super) around: Around,
    /// Special tokens are added a second time, as texts matched in the normalised text.
    pub(super) again: bool,
    /// Makes the pipeline.
    pub(super) pipeline: fn(&V, &mut Settings) -> Result<Pipeline, Error>,
}

/// The tokens around a text, by the keys that name them.
#[derive(Debug, Clone, Copy)]
pub(super) enum Around {
    /// Begin and end of sequence, where `add_bos_token` and `add_eos_token` say so.
    Flags,
    /// Always these.
    Keys {
        /// Before the text.
        before: &'static [&'static str],
        /// After it.
        after: &'static [&'static str],
    },
}

/// A tokenizer made from a vocabulary, with the texts of its special tokens.
pub(super) struct Assembled {
    pub(super) tokenizer: Tokenizer,
    pub(super) named: Vec<(String, Special)>,
}

impl<V> Class<V> {
    /// Whether `name` is this class.
    pub(super) fn is(&self, name: &str) -> bool {
        self.names.contains(&name)
    }

    /// Makes the tokenizer.
    ///
    /// # Errors
    /// A vocabulary that does not fit the class.
    pub(super) fn assemble(
        &self,
        vocabulary: &V,
        mut settings: Settings,
    ) -> Result<Assembled, Error> {
        let pipeline = (self.pipeline)(vocabulary, &mut settings)?;
        let named = settings.named(self.tokens);
        let extra = settings.extra(pipeline.extra);
        let mut tokenizer = Tokenizer::new(pipeline.model);
        tokenizer.with_normalizer(pipeline.normalizer);
        tokenizer.with_pre_tokenizer(pipeline.pre_tokenizer);
        tokenizer.with_decoder(pipeline.decoder);
        tokenizer.add_special_tokens(&pipeline.first);
        let tokens = to_add(&tokenizer, &settings, &named, &extra);
        tokenizer.add_tokens(&tokens);
        if self.again {
            let mut texts: Vec<&str> = named.iter().map(|(_, token)| token.text()).collect();
            texts.extend(extra.iter().map(Special::text));
            let tokens = texts.into_iter().map(special).collect::<Vec<_>>();
            tokenizer.add_tokens(&tokens);
        }
        tokenizer.set_encode_special_tokens(settings.flag("split_special_tokens", false));
        self.surround(&mut tokenizer, &settings, &named)?;
        Ok(Assembled { tokenizer, named })
    }

    fn surround(
        &self,
        tokenizer: &mut Tokenizer,
        settings: &Settings,
        named: &[(String, Special)],
    ) -> Result<(), Error> {
        let flagged = |flag: &str, key: &'static str| {
            let wanted = settings.flag(flag, false) && named.iter().any(|(known, _)| known == key);
            wanted.then_some(key).into_iter().collect::<Vec<_>>()
        };
        let (before, after) = match self.around {
            Around::Flags => (
                flagged("add_bos_token", "bos_token"),
                flagged("add_eos_token", "eos_token"),
            ),
            Around::Keys { before, after } => (before.to_vec(), after.to_vec()),
        };
        if before.is_empty() && after.is_empty() {
            return Ok(());
        }
        let mut known = Map::new();
        let mut pieces = |keys: Vec<&'static str>| -> Result<Vec<Value>, Error> {
            let piece = |key: &str| {
                let token = named.iter().find(|(known, _)| known == key);
                let text = token.map(|(_, token)| token.text());
                let text = text.ok_or_else(|| {
                    format!("its class puts `{key}` around a text, and there is none")
                })?;
                let id = tokenizer.token_to_id(text);
                let id = id.ok_or_else(|| format!("`{key}` is `{text}`, which has no id"))?;
                known.insert(
                    text.to_owned(),
                    json!({ "id": text, "ids": [id], "tokens": [text] }),
                );
                Ok(json!({ "SpecialToken": { "id": text, "type_id": 0 } }))
            };
            keys.into_iter().map(piece).collect()
        };
        let sequence = |id: &str| json!({ "Sequence": { "id": id, "type_id": 0 } });
        let mut single = pieces(before)?;
        single.push(sequence("A"));
        single.extend(pieces(after)?);
        let template = json!({ "type": "TemplateProcessing", "single": single,
            "pair": [sequence("A"), sequence("B")], "special_tokens": known });
        tokenizer.with_post_processor(Some(part::<tokenizers::PostProcessorWrapper>(template)?));
        Ok(())
    }
}

/// The added tokens in the order of their ids, then the special tokens that are none of them.
fn to_add(
    tokenizer: &Tokenizer,
    settings: &Settings,
    named: &[(String, Special)],
    extra: &[Special],
) -> Vec<AddedToken> {
    let there: Vec<AddedToken> = tokenizer.get_added_tokens_decoder().into_values().collect();
    let mut tokens: Vec<Special> = Vec::new();
    for token in settings
        .added
        .values()
        .filter(|token| !there.contains(token))
    {
        tokens.push(Special::Token(token.clone()));
    }
    let of_files = tokens.iter().map(|token| token.text().to_owned());
    let known: Vec<String> = there
        .iter()
        .map(|token| token.content.clone())
        .chain(of_files)
        .collect();
    for token in named.iter().map(|(_, token)| token).chain(extra) {
        if !known.iter().any(|text| text == token.text()) && !tokens.contains(token) {
            tokens.push(token.clone());
        }
    }
    let is_named = |text: &str| named.iter().any(|(_, token)| token.text() == text);
    let made = tokens.into_iter().map(|token| match token {
        Special::Text(text) => special(&text),
        Special::Token(mut token) => {
            token.special |= is_named(&token.content);
            token
        }
    });
    made.collect()
}

fn special(text: &str) -> AddedToken {
    AddedToken::from(text, true)
}

/// A part of a tokenizer, written as in `tokenizer.json`.
///
/// # Errors
/// An expression that cannot be compiled.
pub(super) fn part<T: serde::de::DeserializeOwned>(json: Value) -> Result<T, Error> {
    Ok(serde_json::from_value(json)?)
}
