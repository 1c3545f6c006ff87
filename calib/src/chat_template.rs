//! A model's chat template: from the messages of a conversation to the text the model was trained on.
//!
//! Templates are written for Jinja as transformers sets it up (`apply_chat_template`); this renders them the same,
//! but for the date, which stands still.

mod error;
mod functions;
mod python_text;

pub use error::ChatTemplateError;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, Value};
use std::path::{Path, PathBuf};

/// Name of the template in its environment.
const NAME: &str = "chat_template";

/// A template that has been read, with the special tokens it may write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatTemplate {
    path: PathBuf,
    source: String,
    /// `bos_token` and so on, with the tokens' texts.
    tokens: Vec<(String, String)>,
}

/// A template ready to render.
#[derive(Debug)]
pub struct Renderer<'t> {
    template: &'t ChatTemplate,
    environment: Environment<'static>,
}

impl ChatTemplate {
    /// A template read from `path`; `tokens` are the special tokens by their keys.
    pub fn new(path: &Path, source: &str, tokens: Vec<(String, String)>) -> Self {
        Self {
            path: path.to_owned(),
            source: without_generation(source),
            tokens,
        }
    }

    /// Compiles it.
    ///
    /// # Errors
    /// A template that is none, with the line.
    pub fn compile(&self) -> Result<Renderer<'_>, ChatTemplateError> {
        let mut environment = Environment::new();
        let mut syntax = SyntaxConfig::builder();
        syntax.trim_blocks(true).lstrip_blocks(true);
        let syntax = syntax.build().map_err(|source| self.failed(&source))?;
        environment.set_syntax(syntax);
        environment
            .set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        functions::add_to(&mut environment);
        let added = environment.add_template_owned(NAME, self.source.clone());
        added.map_err(|source| self.failed(&source))?;
        Ok(Renderer {
            template: self,
            environment,
        })
    }

    fn failed(&self, source: &minijinja::Error) -> ChatTemplateError {
        let what = source.detail();
        ChatTemplateError {
            path: self.path.clone(),
            line: source.line(),
            what: what.map_or_else(|| source.kind().to_string(), str::to_owned),
        }
    }
}

impl Renderer<'_> {
    /// Renders a conversation: a list of objects with `role` and `content`. With `prompt`, the text ends where the
    /// model is to answer.
    ///
    /// # Errors
    /// A template that refuses the conversation, or cannot be followed.
    pub fn render(
        &self,
        messages: &[serde_json::Value],
        prompt: bool,
    ) -> Result<String, ChatTemplateError> {
        self.render_with(messages, prompt, None, &serde_json::Map::new())
    }

    /// The same with descriptions of `tools` the model may use, and `more` variables that the template asks for.
    ///
    /// # Errors
    /// As [`Self::render`].
    pub fn render_with(
        &self,
        messages: &[serde_json::Value],
        prompt: bool,
        tools: Option<&serde_json::Value>,
        more: &serde_json::Map<String, serde_json::Value>,
    ) -> Result<String, ChatTemplateError> {
        let named = self.template.tokens.iter();
        let mut context: Vec<(String, Value)> = named
            .map(|(key, text)| (key.clone(), Value::from(text.clone())))
            .collect();
        context.push(("messages".to_owned(), Value::from(Serde(messages))));
        let tools = tools.map_or_else(|| Value::from(()), |tools| Value::from(Serde(tools)));
        context.push(("tools".to_owned(), tools));
        context.push(("documents".to_owned(), Value::from(())));
        context.push(("add_generation_prompt".to_owned(), Value::from(prompt)));
        let more = more.iter();
        context.extend(more.map(|(key, value)| (key.clone(), Value::from(Serde(value)))));
        let template = self.environment.get_template(NAME);
        let rendered = template.and_then(|template| template.render(Value::from_pairs(context)));
        rendered.map_err(|source| self.template.failed(&source))
    }
}

/// The template with the tags of `{% generation %}`, which only mark what the model wrote, as blocks that do nothing.
fn without_generation(source: &str) -> String {
    let mut made = String::with_capacity(source.len());
    let mut rest = source;
    while let Some((before, tag)) = rest.split_once("{%") {
        let Some((inside, after)) = tag.split_once("%}") else {
            break;
        };
        made.push_str(before);
        made.push_str("{%");
        let word = inside.trim_matches(['-', '+']).trim();
        match word {
            "generation" => made.push_str(&inside.replace(word, " if true ")),
            "endgeneration" => made.push_str(&inside.replace(word, " endif ")),
            _ => made.push_str(inside),
        }
        made.push_str("%}");
        rest = after;
    }
    made.push_str(rest);
    made
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn template(source: &str) -> ChatTemplate {
        ChatTemplate::new(Path::new("chat_template.jinja"), source, Vec::new())
    }

    #[test]
    fn errors_name_the_file_the_line_and_what_the_template_says() {
        let error = template("a\n{% if %}").compile().unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("`chat_template.jinja` line 2: "),
            "{error}"
        );
        let refusing =
            template("{{ messages[0].role }}\n{{ raise_exception('no ' ~ messages[0].role) }}");
        let renderer = refusing.compile().unwrap();
        let error = renderer
            .render(&[json!({ "role": "tool" })], false)
            .unwrap_err();
        assert!(error.to_string().contains("line 2: "), "{error}");
        assert!(error.to_string().contains("no tool"), "{error}");
    }

    #[test]
    fn marks_of_what_the_model_wrote_do_nothing() {
        let marked =
            template("x{%- generation -%} {{ messages[0].content }} {%- endgeneration -%} y");
        let renderer = marked.compile().unwrap();
        let text = renderer
            .render(&[json!({ "content": "said" })], false)
            .unwrap();
        assert_eq!(text, "xsaidy");
    }
}
