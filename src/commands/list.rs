//! `quench list`: what the registries hold.

use super::{print, print_json};
use crate::Error;
use crate::args::{ListArgs, Listing};
use crate::recipe::{BUILTIN, builtin, reference};
use calib::ARCHITECTURES;
use calib::architectures::Architecture;
use calib::data::SOURCES;
use clap::ValueEnum;
use eval::kind::ModelKind;
use eval::tasks::{TASKS, Task};
use quantizers::METHODS;
use quantizers::attentions::ATTENTIONS;
use quantizers::caches::CACHES;
use quantizers::formats::FORMATS;
use quantizers::nearest::nearest;
use quantizers::nonlinear::APPROXIMATIONS;
use quantizers::transforms::TRANSFORMS;
use serde::Serialize;
use std::fmt::Write;

/// One line of a listing.
#[derive(Debug, Serialize)]
struct Entry {
    name: String,
    /// The function an approximation replaces.
    #[serde(skip_serializing_if = "String::is_empty")]
    replaces: String,
    summary: String,
    /// Parameters of a method, transform or task, other `model_type`s of a family.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    details: Vec<Detail>,
    /// Of an architecture.
    #[serde(flatten)]
    abilities: Option<Abilities>,
}

/// What can be done with a model of an architecture; its weights can be rounded whatever it is.
#[derive(Debug, Serialize)]
struct Abilities {
    /// Statistics can be measured.
    calibrates: bool,
    /// Tasks that judge it.
    evaluates: Vec<&'static str>,
    integer_only: bool,
    /// Name of a layer.
    layer: String,
}

impl Abilities {
    fn of(family: &dyn Architecture) -> Self {
        let found = family.abilities();
        let kinds = ModelKind::all_of(&found);
        let judges = |task: &&&dyn Task| kinds.iter().any(|&kind| task.judges(kind));
        Self {
            calibrates: found.calibrates,
            evaluates: TASKS
                .iter()
                .filter(judges)
                .map(|task| task.name())
                .collect(),
            integer_only: found.integer_only,
            layer: found.layer,
        }
    }

    fn words(&self) -> String {
        let mut words = Vec::new();
        if self.calibrates {
            words.push("calibrates".to_owned());
        }
        if !self.evaluates.is_empty() {
            words.push(format!("evaluates ({})", self.evaluates.join(", ")));
        }
        if self.integer_only {
            words.push("integer-only".to_owned());
        }
        words.join("; ")
    }
}

#[derive(Debug, Serialize)]
struct Detail {
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    summary: String,
}

/// Prints one registry, or all.
///
/// # Errors
/// A stdout that cannot be written.
pub fn run(args: &ListArgs, json: bool) -> Result<(), Error> {
    let wanted: Vec<Listing> = match (args.what, &args.name) {
        (Some(Listing::Recipes), Some(name)) => return recipe(name, json),
        (Some(listing), Some(found)) => {
            return Err(Error::usage(format!(
                "`quench list {}` takes no name, found `{found}`",
                name(listing)
            )));
        }
        (Some(Listing::Recipe), None) => return reference(json),
        (Some(listing), None) => vec![listing],
        // The language is a page of its own.
        (None, _) => Listing::value_variants()
            .iter()
            .copied()
            .filter(|&listing| listing != Listing::Recipe)
            .collect(),
    };
    if json {
        let all: serde_json::Map<String, serde_json::Value> = wanted
            .iter()
            .map(|&listing| (name(listing), serde_json::json!(entries(listing))))
            .collect();
        return print_json(&all);
    }
    let mut text = String::new();
    for (index, &listing) in wanted.iter().enumerate() {
        if wanted.len() > 1 {
            let _ = writeln!(
                text,
                "{}{}",
                if index > 0 { "\n" } else { "" },
                name(listing)
            );
        }
        let indent = if wanted.len() > 1 { "  " } else { "" };
        table(&mut text, indent, &entries(listing));
    }
    print(&text)
}

/// The text of one built-in recipe.
fn recipe(name: &str, json: bool) -> Result<(), Error> {
    let Some(found) = builtin::find(name) else {
        return Err(Error::RecipeNotFound {
            name: name.to_owned(),
            nearest: nearest(name, builtin::names()),
        });
    };
    if json {
        return print_json(&serde_json::json!({ "name": found.name, "toml": found.text }));
    }
    print(found.text)
}

/// The recipe language.
fn reference(json: bool) -> Result<(), Error> {
    let page = reference::page();
    if json {
        return print_json(&serde_json::json!({ "markdown": page }));
    }
    print(&page)
}

fn name(listing: Listing) -> String {
    listing
        .to_possible_value()
        .map_or_else(String::new, |value| value.get_name().to_owned())
}

fn table(text: &mut String, indent: &str, entries: &[Entry]) {
    let width = entries
        .iter()
        .map(|entry| entry.name.len())
        .max()
        .unwrap_or(0);
    let kind = entries
        .iter()
        .map(|entry| entry.replaces.len())
        .max()
        .unwrap_or(0);
    for entry in entries {
        let _ = write!(text, "{indent}{:<width$}  ", entry.name);
        if kind > 0 {
            let _ = write!(text, "{:<kind$}  ", entry.replaces);
        }
        let _ = writeln!(text, "{}", entry.summary);
        if let Some(abilities) = &entry.abilities {
            let words = [abilities.words(), abilities.layer.clone()];
            for line in words.iter().filter(|line| !line.is_empty()) {
                let _ = writeln!(text, "{indent}{:width$}    {line}", "");
            }
        }
        let inner = entry
            .details
            .iter()
            .map(|detail| detail.name.len())
            .max()
            .unwrap_or(0);
        for detail in &entry.details {
            let line = format!("{:<inner$}  {}", detail.name, detail.summary);
            let _ = writeln!(text, "{indent}{:width$}    {}", "", line.trim_end());
        }
    }
}

fn entries(listing: Listing) -> Vec<Entry> {
    let plain = |name: &str, summary: &str| Entry {
        name: name.to_owned(),
        replaces: String::new(),
        summary: summary.to_owned(),
        details: Vec::new(),
        abilities: None,
    };
    let detail = |name: &str, summary: &str| Detail {
        name: name.to_owned(),
        summary: summary.to_owned(),
    };
    let with_parameters = |name: &str, summary: &str, parameters: &[(&str, &str)]| Entry {
        details: parameters.iter().map(|(n, s)| detail(n, s)).collect(),
        ..plain(name, summary)
    };
    match listing {
        Listing::Methods => METHODS
            .iter()
            .map(|method| with_parameters(method.name(), method.summary(), method.parameters()))
            .collect(),
        Listing::Transforms => TRANSFORMS
            .iter()
            .map(|transform| {
                with_parameters(
                    transform.name(),
                    transform.summary(),
                    transform.parameters(),
                )
            })
            .collect(),
        Listing::Caches => CACHES
            .iter()
            .map(|cache| with_parameters(cache.name(), cache.summary(), cache.parameters()))
            .collect(),
        Listing::Attentions => ATTENTIONS
            .iter()
            .map(|entry| with_parameters(entry.name(), entry.summary(), entry.parameters()))
            .collect(),
        Listing::Approximations => APPROXIMATIONS
            .iter()
            .map(|entry| Entry {
                replaces: entry.replaces().name().to_owned(),
                ..plain(entry.name(), entry.summary())
            })
            .collect(),
        Listing::Architectures => ARCHITECTURES
            .iter()
            .map(|family| Entry {
                details: family
                    .model_types()
                    .iter()
                    .filter(|name| **name != family.name())
                    .map(|name| detail(name, ""))
                    .collect(),
                abilities: Some(Abilities::of(*family)),
                ..plain(family.name(), family.summary())
            })
            .collect(),
        Listing::Formats => FORMATS
            .iter()
            .map(|format| plain(format.name(), format.summary()))
            .collect(),
        Listing::Tasks => TASKS
            .iter()
            .map(|task| with_parameters(task.name(), task.summary(), task.parameters()))
            .collect(),
        Listing::Data => SOURCES
            .iter()
            .map(|source| plain(source.name(), source.summary()))
            .collect(),
        Listing::Recipe => Vec::new(),
        Listing::Recipes => BUILTIN
            .iter()
            .map(|recipe| plain(recipe.name, &recipe.summary()))
            .collect(),
    }
}
