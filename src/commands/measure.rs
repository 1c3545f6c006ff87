//! `quench measure`: scores of everything the layers can become, for any budget.

use super::measured::{Measuring, write};
use super::recipes::{Budgeting, Evaluating};
use super::summary::table;
use super::{fetch_options, print, print_json, recipes, resources};
use crate::Error;
use crate::args::MeasureArgs;
use crate::model::{DEMO, OpenModel};
use crate::plan::{Measured, MeasuredOption, OptionScore};
use crate::progress::Progress;
use eval::report::figures::significant;
use quantizers::sensitivity::Sensitivity;
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

/// Layers the summary names.
const NAMED: usize = 5;

/// Measures and writes the file.
///
/// # Errors
/// A recipe that does not fit the model, a model that cannot be run, a file that cannot be written.
pub fn run(args: &MeasureArgs, json: bool, progress: &Progress) -> Result<(), Error> {
    if args.output.exists() && !args.force {
        let message = format!("`{}` exists already", args.output.display());
        return Err(Error::usage(message).with_hint("`--force` replaces it"));
    }
    let machine = resources::prepare(&args.machine)?;
    let fetch = fetch_options(&args.source);
    let revision = args.source.revision.as_deref();
    let open = OpenModel::open(&args.model, revision, &fetch, progress)?;
    let open = Arc::new(open.into_original(progress)?);
    let demo = args.model == DEMO;
    let resolved = recipes::resolve(
        &args.recipe,
        Budgeting::Measured,
        Evaluating::Nothing,
        demo,
        &open.facts(),
    )?;
    let open = resolved.rewritten(&open)?;
    let facts = open.facts();
    let named: Vec<&Sensitivity> = args
        .sensitivity
        .iter()
        .filter_map(|name| Sensitivity::find(name))
        .collect();
    let kinds = if named.is_empty() {
        vec![
            resolved
                .recipe
                .budget
                .clone()
                .unwrap_or_default()
                .sensitivity,
        ]
    } else {
        named
    };
    let measuring = Measuring {
        open: &open,
        facts: &facts,
        machine,
        fetch: &fetch,
    };
    let measured = measuring.run(&resolved, &kinds, &args.output, progress)?;
    write(&measured, &args.output)?;
    if json {
        print_json(&measured)
    } else {
        print(&render(&measured, &args.output))
    }
}

/// Every option over all layers, the layers that lose most, how the kinds of scores agree.
fn render(measured: &Measured, output: &Path) -> String {
    let mut text = String::new();
    let mut rows = vec![vec![
        "option".to_owned(),
        "layers".to_owned(),
        "bits/w".to_owned(),
    ]];
    rows[0].extend(measured.sensitivities.iter().cloned());
    for (index, option) in measured.options.iter().enumerate() {
        rows.push(row(measured, index, option));
    }
    text.push_str(&table(&rows, 1));
    if let Some(kind) = measured.sensitivities.first() {
        worst(&mut text, measured, kind);
    }
    for found in &measured.correlations {
        let shown = |value: Option<f64>| value.map_or("none".to_owned(), |rho| format!("{rho:.3}"));
        let _ = writeln!(
            text,
            "rank correlation of `{}` with measured KL divergence: {} over {} options of layers, {} over layers",
            found.sensitivity,
            shown(found.spearman),
            found.pairs,
            shown(found.spearman_of_layers),
        );
        if let Some(limit) = Sensitivity::find(&found.sensitivity).and_then(|kind| kind.limit) {
            let _ = writeln!(text, "note: `{}`: {limit}", found.sensitivity);
        }
    }
    let _ = writeln!(text, "written  {}", output.display());
    text
}

/// One option: how many layers have it, what they take, and the sums of their scores.
fn row(measured: &Measured, index: usize, option: &MeasuredOption) -> Vec<String> {
    let having = measured.layers.iter().filter_map(|layer| {
        let score = layer.options.iter().find(|score| score.option == index);
        Some((layer.shape, score?))
    });
    let having: Vec<([usize; 2], &OptionScore)> = having.collect();
    let bits: u64 = having.iter().map(|(_, score)| score.bits).sum();
    let weights: usize = having.iter().map(|([rows, cols], _)| rows * cols).sum();
    let mut cells = vec![
        words(option),
        having.len().to_string(),
        format!("{:.4}", bits as f64 / weights.max(1) as f64),
    ];
    cells.extend(measured.sensitivities.iter().map(|kind| {
        let scores = having
            .iter()
            .filter_map(|(_, score)| score.scores.get(kind));
        significant(scores.sum(), 4)
    }));
    cells
}

/// `squeezellm bits = 3, outlier_fraction = 0.004`.
fn words(option: &MeasuredOption) -> String {
    let parameters = option.parameters.iter();
    let parameters: Vec<String> = parameters
        .map(|(key, value)| format!("{key} = {value}"))
        .collect();
    format!("{} {}", option.method, parameters.join(", "))
}

/// The layers that lose most with their smallest option.
fn worst(text: &mut String, measured: &Measured, kind: &str) {
    let smallest = measured.layers.iter().filter_map(|layer| {
        let option = layer.options.iter().min_by_key(|score| score.bits)?;
        Some((*option.scores.get(kind)?, layer, option))
    });
    let mut layers: Vec<_> = smallest.collect();
    layers.sort_by(|(a, ..), (b, ..)| b.total_cmp(a));
    let total: f64 = layers.iter().map(|(score, ..)| score).sum();
    for (score, layer, option) in layers.into_iter().take(NAMED) {
        let _ = writeln!(
            text,
            "`{}` loses {} with {}: {:.1} % of all layers at their smallest",
            layer.name,
            significant(score, 4),
            words(&measured.options[option.option]),
            if total > 0.0 {
                100.0 * score / total
            } else {
                0.0
            },
        );
    }
}
