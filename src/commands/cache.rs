//! `quench cache`: what ways of keeping keys and values cost a model.

use super::summary::table;
use super::{command_line, fetch_options, print, print_json, resources};
use crate::Error;
use crate::args::{ALL, CacheArgs};
use crate::model::OpenModel;
use crate::progress::Progress;
use crate::road::cache::{self, CacheRequest};
use eval::attention::settings::{candidate, usual, with_seeds, without_seed};
use eval::attention::{BlockCost, Candidate, Outcome, RetrievalCell};
use eval::report::figures::{bytes, significant};
use eval::report::{CACHES_HTML, caches_html};
use eval::retrieval::{RETRIEVALS, Retrieval};
use quantizers::nearest::{did_you_mean, nearest};
use serde_json::json;
use std::fmt::Write;
use std::path::Path;

/// Tokens of a window, where nobody said.
const TOKENS: usize = 1024;
/// Texts whose caches are told the size of.
const CONTEXTS: [u64; 3] = [4096, 32768, 131_072];
/// The file of the figures.
const FILE: &str = "cache.json";

/// Tries the methods and prints a table.
///
/// # Errors
/// A method that is not known or cannot keep the cache of the model, data that cannot be read, a model that cannot be
/// run.
pub fn run(args: &CacheArgs, json: bool, progress: &Progress) -> Result<(), Error> {
    let all = args.methods.iter().any(|method| method == ALL);
    let named = if all {
        Vec::new()
    } else {
        candidates(&args.methods, args)?
    };
    let machine = resources::prepare(&args.machine)?;
    let fetch = fetch_options(&args.source);
    let revision = args.source.revision.as_deref();
    let open = OpenModel::open(&args.model, revision, &fetch, progress)?;
    let most = open.model.max_positions();
    let sequence_length = match (args.sequence_length, most) {
        (Some(asked), Some(most)) if asked > most => {
            return Err(Error::usage(format!(
                "`--sequence-length`: expected at most the {most} tokens that `{}` takes, found {asked}",
                args.model
            )));
        }
        (Some(asked), _) => asked,
        (None, most) => most.unwrap_or(TOKENS).min(TOKENS),
    };
    let candidates = if all {
        candidates(&usual(sequence_length), args)?
    } else {
        named
    };
    let request = CacheRequest {
        data: args.calibration.clone(),
        windows: [args.fitting_samples, args.samples],
        sequence_length,
        candidates,
        retrievals: retrievals(&args.retrieval)?,
        retrieval_samples: args.retrieval_samples,
        all,
        seed: args.seed,
        machine,
        fetch,
    };
    let outcomes = cache::run(&open, &request, progress)?;
    let found = json!({
        "schema": 1,
        "model": open.name,
        "data": args.calibration,
        "windows": outcomes.first().map_or(0, |outcome| outcome.strict.tokens)
            / (sequence_length as u64 - 1).max(1),
        "sequence_length": sequence_length,
        "seed": args.seed,
        "command": command_line(),
        "methods": outcomes,
    });
    if let Some(folder) = &args.output {
        let subtitle = format!("Caches of keys and values, {sequence_length} tokens a window");
        let rows = rows(&outcomes, args.memory);
        let page = caches_html(&open.name, &subtitle, rows, &outcomes);
        let page = page.map_err(|error| Error::Bug {
            message: "cannot render the page of caches".to_owned(),
            source: Some(error.into()),
        })?;
        let text = serde_json::to_string_pretty(&found).map_err(|error| Error::Bug {
            message: "cannot write the figures of caches as JSON".to_owned(),
            source: Some(error.into()),
        })?;
        write(folder, &[(FILE, &(text + "\n")), (CACHES_HTML, &page)])?;
    }
    if json {
        return print_json(&found);
    }
    print(&render(&outcomes, args.memory, args.output.as_deref()))
}

/// What `lines` say, with as many seeds as are asked for.
fn candidates(lines: &[String], args: &CacheArgs) -> Result<Vec<Candidate>, Error> {
    let lines = lines.iter().flat_map(|line| with_seeds(line, args.seeds));
    lines
        .map(|line| {
            candidate(&line, &args.skip_layers).map_err(|error| {
                let hint = error.hint();
                Error::mismatch("cannot try a cache", error).hinted(hint)
            })
        })
        .collect()
}

/// The kinds of text that `names` ask for.
fn retrievals(names: &[String]) -> Result<Vec<&'static dyn Retrieval>, Error> {
    if names.iter().any(|name| name == ALL) {
        return Ok(RETRIEVALS.to_vec());
    }
    let named = names.iter().map(|name| {
        let found = RETRIEVALS.iter().find(|kind| kind.name() == name);
        found.copied().ok_or_else(|| {
            let known = RETRIEVALS.iter().map(|kind| kind.name());
            let hint = nearest(name, known.clone()).map(|near| did_you_mean(&near));
            let known: Vec<_> = known.collect();
            Error::usage(format!(
                "`--retrieval`: expected {} or {ALL}, found `{name}`",
                known.join(", ")
            ))
            .hinted(hint)
        })
    });
    named.collect()
}

fn write(folder: &Path, files: &[(&str, &str)]) -> Result<(), Error> {
    for (name, text) in files {
        let path = folder.join(name);
        let partial = folder.join(format!("{name}.partial"));
        fs_err::create_dir_all(folder)
            .and_then(|()| fs_err::write(&partial, text))
            .and_then(|()| fs_err::rename(&partial, &path))
            .map_err(|error| Error::io(format!("cannot write `{}`", path.display()), error))?;
    }
    Ok(())
}

/// Headings, and a line for each method.
fn rows(outcomes: &[Outcome], memory: Option<u64>) -> Vec<Vec<String>> {
    let mut head = vec!["cache".to_owned(), "bits".to_owned(), "B/token".to_owned()];
    head.extend(
        CONTEXTS
            .iter()
            .map(|tokens| format!("at {}k", tokens / 1024)),
    );
    if memory.is_some() {
        head.push("longest".to_owned());
    }
    head.extend(
        [
            "scores %",
            "K nmse",
            "V nmse",
            "attn KL",
            "recall",
            "out err",
            "KL",
            "top-1",
            "ppl",
            "ppl in use",
        ]
        .map(str::to_owned),
    );
    let tasks = tasks(outcomes);
    head.extend(tasks.iter().map(|task| (*task).to_owned()));
    let mut rows = vec![head];
    rows.extend(outcomes.iter().map(|outcome| {
        let mut row = row(outcome, memory);
        let found = tasks
            .iter()
            .map(|task| share(outcome, task, |cell| cell.found));
        row.extend(found);
        row
    }));
    rows
}

/// The kinds of text that hide something, of those that were tried.
fn tasks(outcomes: &[Outcome]) -> Vec<&'static str> {
    let mut tasks = Vec::new();
    for cell in outcomes
        .first()
        .iter()
        .flat_map(|outcome| &outcome.retrieval)
    {
        if !tasks.contains(&cell.task) {
            tasks.push(cell.task);
        }
    }
    tasks
}

/// Right answers of all texts of one kind.
fn share(outcome: &Outcome, task: &str, right: fn(&RetrievalCell) -> usize) -> String {
    let cells = outcome.retrieval.iter().filter(|cell| cell.task == task);
    let [found, all] = cells.fold([0, 0], |[found, all], cell| {
        [found + right(cell), all + cell.samples]
    });
    format!("{found}/{all}")
}

/// The table, and what stands out.
fn render(outcomes: &[Outcome], memory: Option<u64>, written: Option<&Path>) -> String {
    let mut text = table(&rows(outcomes, memory), 1);
    if let Some(first) = outcomes.first() {
        let _ = writeln!(
            text,
            "perplexity of the model {:.4} over {} tokens; differences in per cent",
            first.strict.original, first.strict.tokens
        );
    }
    if let Some(first) = outcomes.first() {
        for task in tasks(outcomes) {
            let found = share(first, task, |cell| cell.original);
            let _ = writeln!(text, "found by the model itself: {task} {found}");
        }
    }
    text.push_str(&spreads(outcomes));
    for outcome in outcomes {
        if let Some(engines) = outcome.engines {
            let _ = writeln!(text, "{:<24} {engines}", outcome.label);
        }
    }
    for outcome in outcomes {
        for note in &outcome.notes {
            let _ = writeln!(text, "note     {}: {note}", outcome.label);
        }
        let worst = worst_blocks(outcome);
        if !worst.is_empty() {
            let _ = writeln!(
                text,
                "skip     {}: blocks {} lose most; `--skip-layers` leaves them as they are",
                outcome.label,
                worst.join(", ")
            );
        }
    }
    if let Some(folder) = written {
        let _ = writeln!(text, "written  {}", folder.join(FILE).display());
        let _ = writeln!(text, "page     {}", folder.join(CACHES_HTML).display());
    }
    text
}

/// How far the seeds of methods that draw lie apart.
fn spreads(outcomes: &[Outcome]) -> String {
    let mut text = String::new();
    let groups = outcomes.chunk_by(|a, b| without_seed(&a.label) == without_seed(&b.label));
    for group in groups.filter(|group| group.len() > 1) {
        let over = |figure: fn(&Outcome) -> f64| {
            let values: Vec<f64> = group.iter().map(figure).collect();
            let mean = eval::metrics::mean(&values);
            let squares = values.iter().map(|value| (value - mean).powi(2));
            (
                mean,
                (squares.sum::<f64>() / (values.len() - 1) as f64).sqrt(),
            )
        };
        let (divergence, apart) = over(|outcome| outcome.strict.divergence);
        let (delta, delta_apart) = over(|outcome| 100.0 * outcome.strict.delta);
        let _ = writeln!(
            text,
            "seeds    {}: KL {} with a standard deviation of {}, perplexity {delta:+.3} of {delta_apart:.3}, {} seeds",
            without_seed(&group[0].label),
            significant(divergence, 3),
            significant(apart, 2),
            group.len(),
        );
    }
    text
}

fn row(outcome: &Outcome, memory: Option<u64>) -> Vec<String> {
    let none = || "-".to_owned();
    let size = outcome.size.as_ref();
    let mut cells = vec![
        outcome.label.clone(),
        size.map_or_else(none, |size| {
            format!("{:.2}", f64::midpoint(size.key_bits, size.value_bits))
        }),
        size.map_or_else(none, |size| format!("{:.0}", size.bytes_per_token)),
    ];
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a size in bytes, far below 2^53"
    )]
    let shown = |size: f64| bytes(size as u64);
    cells.extend(
        CONTEXTS
            .iter()
            .map(|&tokens| size.map_or_else(none, |size| shown(size.bytes(tokens)))),
    );
    cells.extend(
        memory.map(|memory| size.map_or_else(none, |size| size.longest(memory).to_string())),
    );
    let over = |figure: fn(&BlockCost) -> Option<f64>| {
        let values: Vec<f64> = outcome.blocks.iter().filter_map(figure).collect();
        if values.is_empty() {
            return none();
        }
        significant(eval::metrics::mean(&values), 3)
    };
    cells.extend([
        outcome
            .score_share
            .map_or_else(none, |share| format!("{:.1}", 100.0 * share)),
        over(|block| block.key_nmse),
        over(|block| block.value_nmse),
        over(|block| block.attention_divergence),
        over(|block| block.top_keys_found),
        over(|block| Some(block.output_error)),
        significant(outcome.strict.divergence, 3),
        format!("{:.4}", outcome.strict.top1_agreement),
        percent(outcome.strict.delta),
        outcome
            .runtime
            .map_or_else(|| "=".to_owned(), |runtime| percent(runtime.delta)),
    ]);
    cells
}

fn percent(delta: f64) -> String {
    format!("{:+.3}", 100.0 * delta)
}

/// Blocks whose output errs more than twice as much as that of the block in the middle, the worst four.
fn worst_blocks(outcome: &Outcome) -> Vec<String> {
    let mut errors: Vec<(f64, usize)> = outcome
        .blocks
        .iter()
        .map(|block| (block.output_error, block.block))
        .collect();
    errors.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    let Some((median, _)) = errors.get(errors.len() / 2).copied() else {
        return Vec::new();
    };
    let worse = errors.iter().take_while(|(error, _)| *error > 2.0 * median);
    worse.take(4).map(|(_, block)| block.to_string()).collect()
}
