//! The recipe language in full, as a page: sections and keys from their table, which a test holds against the
//! parser, and names from the registries.

use super::sections::SECTIONS;
use super::{BUILTIN, KEEP};
use eval::gate;
use eval::score::Better;
use eval::tasks::{TASKS, TaskSpec, metric};
use quantizers::METHODS;
use quantizers::attentions::ATTENTIONS;
use quantizers::caches::CACHES;
use quantizers::formats::FORMATS;
use quantizers::nonlinear::{APPROXIMATIONS, Nonlinearity};
use quantizers::sensitivity::SENSITIVITIES;
use quantizers::transforms::TRANSFORMS;
use std::fmt::Write as _;

/// The page, as markdown.
pub fn page() -> String {
    let mut text = HEAD.to_owned();
    for section in SECTIONS {
        let _ = writeln!(
            text,
            "\n## {}\n\n{}\n",
            title(section.name),
            section.summary
        );
        let _ = writeln!(text, "| key | value | default | |\n|---|---|---|---|");
        for (key, value, default, meaning) in section.keys {
            let row = format!("{value} | {default} | {meaning}");
            let row = row.replace("<|", "<\\|").replace("|>", "\\|>");
            let _ = writeln!(text, "| `{key}` | {row} |");
        }
        match section.name {
            "`[[layers]]`" => methods(&mut text),
            "`[[transform]]`" => transforms(&mut text),
            "`[cache]`" => caches(&mut text),
            "`[attention]`" => attentions(&mut text),
            "`[budget]`" => sensitivities(&mut text),
            "`[nonlinear]`" => approximations(&mut text),
            "`[output]`" => formats(&mut text),
            _ => {}
        }
    }
    tasks(&mut text);
    gates(&mut text);
    text
}

const HEAD: &str = "\
# Recipe reference

Made by `quench list recipe`; a test holds it against the program. A recipe is a TOML file: unknown keys are errors with their line,
the first matching rule wins, paths are relative to the file. `quench list recipes` names those that are built in,
`quench list recipes NAME` prints one, and every artifact holds the recipe it was made with as `recipe.toml`.
";

fn title(name: &str) -> &str {
    match name {
        "the recipe" => "Top level",
        name => name,
    }
}

fn own_keys(text: &mut String, name: &str, summary: &str, keys: &[(&str, &str)]) {
    let _ = writeln!(text, "\n### `{name}`\n\n{summary}\n");
    if keys.is_empty() {
        let _ = writeln!(text, "It has no keys of its own.");
        return;
    }
    let _ = writeln!(text, "| key | |\n|---|---|");
    for (key, meaning) in keys {
        let _ = writeln!(text, "| `{key}` | {} |", meaning.replace('|', "\\|"));
    }
}

fn methods(text: &mut String) {
    let _ = writeln!(
        text,
        "\n### `{KEEP}`\n\nLeaves the layers a rule matches as they are; it has no keys. Layers that no rule matches are kept \
         as well, and so are those outside the blocks (token table, head, pooler) unless a rule names them. \
         In integer-only recipes, layers that no rule matches take 8 bits instead."
    );
    for method in METHODS {
        own_keys(text, method.name(), method.summary(), method.parameters());
    }
}

fn transforms(text: &mut String) {
    for transform in TRANSFORMS {
        own_keys(
            text,
            transform.name(),
            transform.summary(),
            transform.parameters(),
        );
    }
}

fn caches(text: &mut String) {
    for cache in CACHES {
        own_keys(text, cache.name(), cache.summary(), cache.parameters());
    }
}

fn attentions(text: &mut String) {
    for entry in ATTENTIONS {
        own_keys(text, entry.name(), entry.summary(), entry.parameters());
    }
}

fn sensitivities(text: &mut String) {
    let _ = writeln!(
        text,
        "\n### Values of `sensitivity`\n\n| value | |\n|---|---|"
    );
    for kind in SENSITIVITIES {
        let summary = kind.summary.replace('|', "\\|");
        let _ = writeln!(text, "| `\"{}\"` | {summary} |", kind.name);
    }
}

fn approximations(text: &mut String) {
    for function in [
        Nonlinearity::Gelu,
        Nonlinearity::Softmax,
        Nonlinearity::LayerNorm,
    ] {
        let entries = APPROXIMATIONS
            .iter()
            .filter(|entry| entry.replaces() == function);
        let _ = writeln!(
            text,
            "\n### Values of `{}`\n\n| value | |\n|---|---|",
            function.name()
        );
        for entry in entries {
            let summary = entry.summary().replace('|', "\\|");
            let _ = writeln!(text, "| `\"{}\"` | {summary} |", entry.name());
        }
    }
}

fn formats(text: &mut String) {
    let _ = writeln!(text, "\n### Values of `format`\n\n| value | |\n|---|---|");
    for format in FORMATS {
        let _ = writeln!(text, "| `\"{}\"` | {} |", format.name(), format.summary());
    }
}

fn tasks(text: &mut String) {
    let _ = writeln!(
        text,
        "\n## `[[evaluate]]`\n\nTasks that are run on the original and on the files written; without any, decoders are judged on \
         text sampled from the original. These tables alone are a recipe for `quench eval`.\n\n\
         | key | |\n|---|---|"
    );
    for key in TaskSpec::SHARED_KEYS {
        let meaning = match key {
            "task" => "the name of a task; must be there",
            "data" => {
                "a file, folder or `hub:owner/name/file`; must be there; a path is relative to the recipe's folder"
            }
            _ => "only the first so many sequences, rows or images",
        };
        let _ = writeln!(text, "| `{key}` | {meaning} |");
    }
    for task in TASKS {
        own_keys(text, task.name(), task.summary(), task.parameters());
    }
}

fn gates(text: &mut String) {
    let _ = writeln!(
        text,
        "\n## `[gate]`\n\nBounds the result must keep, `figure = number`; a figure that misses its bound, or that nothing measures, \
         ends the run with exit code 6, the files written. On the command line `--gate \"figure<=number\"`.\n\n\
         | figure | bound | |\n|---|---|---|"
    );
    for figure in gate::figures() {
        let base = ["_delta", "_ratio"]
            .iter()
            .find_map(|end| figure.strip_suffix(end))
            .unwrap_or(&figure);
        let Some(metric) = metric(base) else {
            continue;
        };
        let bound = match metric.better {
            Better::Lower => "at most",
            Better::Higher => "at least",
        };
        let aspect = match figure.strip_prefix(base) {
            Some("_delta") => "quantized minus original: ",
            Some("_ratio") => "quantized over original: ",
            _ => "",
        };
        let _ = writeln!(
            text,
            "| `{figure}` | {bound} | {aspect}{} |",
            metric.summary
        );
    }
    let _ = writeln!(text, "\n## Built-in recipes\n\n| name | |\n|---|---|");
    for recipe in BUILTIN {
        let _ = writeln!(text, "| `{}` | {} |", recipe.name, recipe.summary());
    }
}

#[cfg(test)]
mod tests {
    use super::SECTIONS;
    use crate::recipe::document::known_keys;
    use crate::recipe::{Origin, Recipe};
    use std::collections::BTreeSet;

    const EVERY_SECTION: &str = "\
        [calibration]\nmode = \"documents\"\n[calibration.experts]\n[[transform]]\nmethod = \"awq\"\n[cache]\nmethod = \"fp8\"\n\
        [[layers]]\nmatch = \"*\"\nmethod = \"rtn\"\nbits = 4\n\
        [budget]\n[[budget.option]]\nmethod = \"rtn\"\nbits = 4\n[nonlinear]\n[activations]\n[output]\n[report]\n";

    #[test]
    fn the_page_has_the_keys_that_the_parser_reads_and_no_others() {
        let windows = EVERY_SECTION.replace("documents", "windows");
        let attention =
            EVERY_SECTION.replace("[cache]\nmethod = \"fp8\"", "[attention]\nmethod = \"hip\"");
        let budget = EVERY_SECTION.replace(
            "method = \"fp8\"",
            "method = \"auto\"\nbits_per_value = 4\nmeasured = \"cache.json\"",
        );
        for text in [EVERY_SECTION, &windows, &attention, &budget] {
            Recipe::parse(text, Origin::CommandLine, None).unwrap();
        }
        let known = known_keys();
        for section in SECTIONS {
            let mut read = known[section.name].clone();
            if section.name == "the recipe" {
                // Sections are keys too.
                read.retain(|key| ["name", "seed"].contains(key));
            }
            let documented: BTreeSet<&str> = section.keys.iter().map(|key| key.0).collect();
            assert_eq!(read, documented, "{}", section.name);
        }
        let sections: BTreeSet<&str> = known["the recipe"].clone();
        for name in ["evaluate", "gate"] {
            assert!(sections.contains(name));
        }
        // name, seed, evaluate and gate are no sections of the table; the first of which is the top, and two of which
        // are inside another.
        assert_eq!(sections.len() - 4, SECTIONS.len() - 3);
    }
}
