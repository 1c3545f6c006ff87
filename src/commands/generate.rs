//! `quench generate`: text from a decoder, once or in a conversation.

mod bench;
mod messages;

use super::{decoder, fetch_options, generation_config, print, print_json, resources};
use crate::Error;
use crate::args::{GenerateArgs, SamplingArgs};
use crate::errors::Cause;
use crate::model::OpenModel;
use crate::progress::{Progress, memory};
use calib::generation::{
    Continuation, FinishReason, Generated, GenerationError, Sampling, Session, generate,
};
use calib::tokenizer::Tokenizer;
use messages::Messages;
use quantizers::kernels::check_kernel;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::ops::ControlFlow;
use std::path::Path;

/// Prints what the model writes, as it is written.
///
/// # Errors
/// A model that is no decoder, has no tokenizer or does not fit in memory; a prompt that is empty or too long.
pub fn run(args: &GenerateArgs, json: bool, progress: &Progress) -> Result<(), Error> {
    let machine = resources::prepare(&args.machine)?;
    check_kernel().map_err(|error| Error::usage(error.to_string()))?;
    if args.prompt.is_none() && !args.chat && args.bench.is_empty() {
        return Err(Error::usage("there is nothing to continue")
            .with_hint("give a text with `--prompt TEXT`, or talk to the model with `--chat`"));
    }
    let fetch = fetch_options(&args.source);
    let open = OpenModel::open(
        &args.model,
        args.source.revision.as_deref(),
        &fetch,
        progress,
    )?;
    if open.is_integer_only() {
        return Err(refused(&args.model, "it is an integer-only encoder"));
    }
    let failed = |source: Cause| Error::Mismatch {
        message: format!("cannot generate with `{}`", args.model),
        source: Some(source),
        hint: None,
    };
    let tokenizer = Tokenizer::from_folder(&open.folder).map_err(|error| failed(error.into()))?;
    if args.chat && tokenizer.chat_template().is_none() {
        return Err(refused(&args.model, "it has no chat template")
            .with_hint("continue a text with `--prompt`"));
    }
    // What is asked for is known to be possible before the weights are read.
    let prompt = match args.prompt.as_deref() {
        Some("-") => Some(stdin_text()?),
        Some(text) => Some(text.to_owned()),
        None => None,
    };
    let decoder = decoder::load(
        &open,
        &machine,
        (args.compute, args.cache_type),
        progress,
        &failed,
    )?;
    let mut session = Session::new(decoder).map_err(|error| failed(error.into()))?;
    if !args.bench.is_empty() {
        return bench::run(args, &open, &mut session, machine.threads, json);
    }
    let mut talk = Talk {
        args,
        json,
        progress,
        tokenizer: &tokenizer,
        sampling: sampling(&args.sampling, &open.folder)?,
        session,
        failed: &failed,
    };
    match prompt {
        Some(text) => talk.continue_text(&text),
        None => talk.converse(),
    }
}

/// The model's own sampling with what the command line changes.
fn sampling(args: &SamplingArgs, folder: &Path) -> Result<Sampling, Error> {
    let mut sampling = generation_config::sampling(folder)?;
    let draws = [args.top_p, args.min_p].iter().any(Option::is_some) || args.top_k.is_some();
    if draws && sampling.temperature <= 0.0 {
        sampling.temperature = 1.0;
    }
    if let Some(temperature) = args.temperature {
        sampling.temperature = temperature;
    }
    if draws && sampling.temperature <= 0.0 {
        return Err(Error::usage(
            "`--top-k`, `--top-p` and `--min-p` mean nothing at temperature 0, where the likeliest token is taken",
        ));
    }
    sampling.top_k = args.top_k.unwrap_or(sampling.top_k);
    sampling.top_p = args.top_p.unwrap_or(sampling.top_p);
    sampling.min_p = args.min_p.unwrap_or(sampling.min_p);
    let penalty = args.repetition_penalty;
    sampling.repetition_penalty = penalty.unwrap_or(sampling.repetition_penalty);
    sampling.seed = args.seed;
    Ok(sampling)
}

fn refused(model: &str, why: &str) -> Error {
    Error::Mismatch {
        message: format!("cannot generate with `{model}`: {why}"),
        source: None,
        hint: None,
    }
}

fn stdin_text() -> Result<String, Error> {
    let mut text = String::new();
    let read = std::io::stdin().lock().read_to_string(&mut text);
    read.map_err(|error| Error::io("cannot read the prompt from stdin", error))?;
    Ok(text)
}

/// A model that answers.
struct Talk<'a> {
    args: &'a GenerateArgs,
    json: bool,
    progress: &'a Progress,
    tokenizer: &'a Tokenizer,
    sampling: Sampling,
    session: Session,
    failed: &'a dyn Fn(Cause) -> Error,
}

impl Talk<'_> {
    fn continue_text(&mut self, text: &str) -> Result<(), Error> {
        let ids = self.tokenizer.encode_prompt(text);
        let prompt = ids.map_err(|error| (self.failed)(error.into()))?;
        let made = self.answer(prompt)?;
        if self.json {
            return print_json(&self.result(&made.0, made.1));
        }
        print("\n")
    }

    /// Lines of stdin are messages, until it ends.
    fn converse(&mut self) -> Result<(), Error> {
        let mut messages: Vec<Value> = Vec::new();
        if let Some(system) = &self.args.system {
            messages.push(json!({"role": "system", "content": system}));
        }
        let mut lines = Messages::of_stdin(self.json)?;
        while let Some(line) = lines.next()? {
            if line.trim().is_empty() {
                continue;
            }
            messages.push(json!({"role": "user", "content": line}));
            let prompt = self.rendered(&messages)?;
            let (made, prompt_tokens) = self.answer(prompt)?;
            if self.json {
                let line = self.result(&made, prompt_tokens).to_string();
                print(&(line + "\n"))?;
            } else {
                print("\n")?;
            }
            messages.push(json!({"role": "assistant", "content": made.text}));
        }
        Ok(())
    }

    /// The tokens of a conversation up to where the model is to answer. The template writes special tokens itself.
    fn rendered(&self, messages: &[Value]) -> Result<Vec<u32>, Error> {
        let template = self.tokenizer.chat_template();
        let Some(template) = template else {
            return Err(refused(&self.args.model, "it has no chat template"));
        };
        let renderer = template
            .compile()
            .map_err(|error| (self.failed)(error.into()))?;
        let text = renderer.render(messages, true);
        let text = text.map_err(|error| (self.failed)(error.into()))?;
        let ids = self.tokenizer.encode(&text);
        ids.map_err(|error| (self.failed)(error.into()))
    }

    /// What follows `prompt`, shown as it comes unless JSON is wanted; and how many tokens the prompt had.
    fn answer(&mut self, prompt: Vec<u32>) -> Result<(Generated, usize), Error> {
        let prompt_tokens = prompt.len();
        let asked = Continuation {
            prompt,
            max_tokens: self.args.max_tokens,
            sampling: self.sampling.clone(),
            stops: self.args.stop.clone(),
        };
        let mut broken = None;
        let mut show = |piece: &str| {
            if self.json {
                return ControlFlow::Continue(());
            }
            match write(piece) {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    broken = Some(error);
                    ControlFlow::Break(())
                }
            }
        };
        let made = generate(&mut self.session, self.tokenizer, &asked, &mut show);
        let made = made.map_err(|error| match error {
            GenerationError::TooLong { .. } | GenerationError::NoPrompt => {
                Error::usage(error.to_string())
            }
            error => (self.failed)(error.into()),
        })?;
        if let Some(error) = broken {
            return Err(error);
        }
        self.progress.detail(&speed(&made, prompt_tokens));
        Ok((made, prompt_tokens))
    }

    fn result(&self, made: &Generated, prompt_tokens: usize) -> Value {
        json!({
            "model": self.args.model,
            "text": made.text,
            "finish_reason": made.finish.name(),
            "prompt_tokens": prompt_tokens,
            "tokens": made.tokens,
            "log_probabilities": made.log_probabilities,
            "seed": self.sampling.seed,
            "prompt_seconds": made.speed.prompt_seconds,
            "seconds": made.speed.seconds,
            "cache_bytes": self.session.cache_bytes(),
            "peak_memory_bytes": memory::peak_bytes(),
        })
    }
}

fn speed(made: &Generated, prompt_tokens: usize) -> String {
    let rate = |tokens: usize, seconds: f64| tokens as f64 / seconds.max(1e-9);
    let end = match made.finish {
        FinishReason::Stop => "ended by itself",
        FinishReason::Length => "ended at the limit",
        FinishReason::Cancelled => "broken off",
    };
    // The first token comes with the prompt.
    let runs = made.tokens.len().saturating_sub(1);
    format!(
        "prompt of {prompt_tokens} tokens: {:.1} a second; {} tokens: {:.1} a second, {end}",
        rate(prompt_tokens, made.speed.prompt_seconds),
        made.tokens.len(),
        rate(runs, made.speed.seconds),
    )
}

/// Writes to stdout at once; a reader that went away ends the text.
fn write(text: &str) -> Result<(), Error> {
    let mut stdout = std::io::stdout().lock();
    let written = stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush());
    written.map_err(|error| Error::io("cannot write to stdout", error))
}
