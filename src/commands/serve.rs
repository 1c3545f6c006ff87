//! `quench serve`: a model answers requests over HTTP.

use super::{decoder, fetch_options, generation_config, print, print_json, resources};
use crate::Error;
use crate::args::ServeArgs;
use crate::errors::Cause;
use crate::machine::Machine;
use crate::model::OpenModel;
use crate::progress::Progress;
use crate::serve::{self, Access, Address, DecoderToServe, EncoderToServe, ServeError};
use calib::tokenizer::Tokenizer;
use calib::{Forward, ModelOutput};
use eval::integer_model::IntegerModel;
use eval::kind::ModelKind;
use eval::runner::Runner;
use eval::subject::InputFiles;
use quantizers::kernels::check_kernel;
use serde_json::json;
use std::path::Path;

/// Variable that holds the key where the command line does not: other people of a machine see command lines.
const KEY: &str = "QUENCH_API_KEY";

/// Serves until the program is asked to stop.
///
/// # Errors
/// A model that neither continues nor embeds texts, has no tokenizer or does not fit in memory; an address that cannot be had.
pub fn run(args: &ServeArgs, json: bool, progress: &Progress) -> Result<(), Error> {
    let machine = resources::prepare(&args.machine)?;
    check_kernel().map_err(|error| Error::usage(error.to_string()))?;
    let access = Access {
        key: key(args)?,
        max_queue: args.max_queue,
    };
    let fetch = fetch_options(&args.source);
    let open = OpenModel::open(
        &args.model,
        args.source.revision.as_deref(),
        &fetch,
        progress,
    )?;
    let kind = ModelKind::of(open.model.as_ref());
    let serving = Serving {
        args,
        open: &open,
        machine: &machine,
        access: &access,
        json,
        progress,
    };
    match kind {
        ModelKind::Decoder => serving.decoder(),
        ModelKind::TextEncoder => serving.encoder(),
        _ => {
            let output = open.model.output();
            let found = output.instead_of_next_token();
            Err(Error::Mismatch {
                message: format!(
                    "cannot serve `{}`: expected a model that continues or embeds texts, found one that {}",
                    args.model,
                    found
                        .filter(|_| output != ModelOutput::HiddenStates)
                        .unwrap_or("does something else")
                ),
                source: None,
                hint: None,
            })
        }
    }
}

fn key(args: &ServeArgs) -> Result<Option<String>, Error> {
    let key = args.api_key.clone().or_else(|| std::env::var(KEY).ok());
    match key {
        Some(key) if key.trim().is_empty() => Err(Error::usage(format!(
            "the key is empty: `--api-key` and {KEY} take one that is not, or are left out"
        ))),
        key => Ok(key),
    }
}

/// A model about to be served.
struct Serving<'a> {
    args: &'a ServeArgs,
    open: &'a OpenModel,
    machine: &'a Machine,
    access: &'a Access,
    json: bool,
    progress: &'a Progress,
}

impl Serving<'_> {
    fn decoder(&self) -> Result<(), Error> {
        let (open, args) = (self.open, self.args);
        let failed = |source: Cause| self.failed(source);
        let tokenizer =
            Tokenizer::from_folder(&open.folder).map_err(|error| failed(error.into()))?;
        let sampling = generation_config::sampling(&open.folder)?;
        let decoder = decoder::load(
            open,
            self.machine,
            (args.compute, args.cache_type),
            self.progress,
            &failed,
        )?;
        let model = DecoderToServe {
            name: self.name(),
            decoder,
            vocabulary: self.vocabulary(&tokenizer),
            tokenizer,
            sampling,
            max_tokens: args.max_tokens,
            parallel: args.parallel,
        };
        self.ended(serve::decoder(model, self.access, self.address()))
    }

    fn encoder(&self) -> Result<(), Error> {
        let open = self.open;
        let failed = |source: Cause| self.failed(source);
        let files = InputFiles::from_folder(&open.folder).map_err(|error| failed(error.into()))?;
        let Some(tokenizer) = files.tokenizer else {
            let missing = Tokenizer::from_folder(&open.folder).err();
            return Err(missing.map_or_else(
                || failed("it has no tokenizer".into()),
                |error| failed(error.into()),
            ));
        };
        let program = open.artifact.reader().integer_program();
        let program = program.map_err(|error| failed(error.into()))?;
        let device = self.machine.device.open()?;
        let runner: Box<dyn Runner> = if let Some(program) = program {
            Box::new(IntegerModel::new(program, open.model.as_ref()))
        } else {
            resources::check_weights(open)?;
            let mut forward = Forward::new(open.model.as_ref(), open.weights(), device);
            let kept = forward.keep_resident();
            kept.map_err(|error| failed(error.into()))?;
            Box::new(forward)
        };
        let limits = [
            files.sentence_length,
            tokenizer.max_length(),
            open.model.max_positions(),
        ];
        let model = EncoderToServe {
            name: self.name(),
            runner: runner.as_ref(),
            pooling: files.pooling,
            vocabulary: self.vocabulary(&tokenizer),
            tokenizer,
            limit: limits.into_iter().flatten().min(),
        };
        self.ended(serve::encoder(model, self.access, self.address()))
    }

    fn vocabulary(&self, tokenizer: &Tokenizer) -> usize {
        let of_model = self.open.model.vocabulary();
        of_model.unwrap_or_else(|| tokenizer.vocabulary())
    }

    /// The name of the model in requests.
    fn name(&self) -> String {
        if let Some(name) = &self.args.name {
            return name.clone();
        }
        let is_folder = Path::new(&self.args.model).is_dir();
        let folder = fs_err::canonicalize(&self.open.folder).ok();
        let last = folder
            .as_deref()
            .and_then(Path::file_name)
            .filter(|_| is_folder);
        last.map_or_else(
            || self.open.name.clone(),
            |name| name.to_string_lossy().into_owned(),
        )
    }

    /// Where to listen; the address is printed once it is there.
    fn address(&self) -> Address {
        let (json, name) = (self.json, self.name());
        if !self.args.host.is_loopback() && self.access.key.is_none() {
            self.progress.warn(
                "other machines can reach this server, and no key is asked for: `--api-key` asks for one",
            );
        }
        Address {
            host: self.args.host,
            port: self.args.port,
            listening: Box::new(move |address| {
                let url = format!("http://{address}");
                // Whoever reads no more has no use for it.
                let _ = if json {
                    print_json(&json!({"model": name, "url": url}))
                } else {
                    print(&format!("serving `{name}` on {url}\n"))
                };
            }),
        }
    }

    fn failed(&self, source: Cause) -> Error {
        Error::Mismatch {
            message: format!("cannot serve `{}`", self.args.model),
            source: Some(source),
            hint: None,
        }
    }

    fn ended(&self, ended: Result<(), ServeError>) -> Result<(), Error> {
        ended.map_err(|error| match error {
            ServeError::Model => Error::Bug {
                message: format!("`{}` is served no more", self.args.model),
                source: Some(error.into()),
            },
            ServeError::Listen { .. } | ServeError::System(_) => {
                Error::io(format!("cannot serve `{}`", self.args.model), error)
            }
        })
    }
}
