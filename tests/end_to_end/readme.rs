//! The results table of the README is what the program says, not what somebody typed.

use crate::{assets, quench};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

const BEGIN: &str = "<!-- results: begin -->";
const END: &str = "<!-- results: end -->";
const ENCODERS_BEGIN: &str = "<!-- encoders: begin -->";
const ENCODERS_END: &str = "<!-- encoders: end -->";
const INTEGER_RECIPES: [&str; 2] = ["int8-integer-only", "w4a8-integer-only"];
const SMOLLM2_BEGIN: &str = "<!-- smollm2: begin -->";
const SMOLLM2_END: &str = "<!-- smollm2: end -->";
const RECIPES: [&str; 12] = [
    "q8",
    "w8a8",
    "q4",
    "w4-awq",
    "w3",
    "best-4",
    "best-3",
    "best-2",
    "squeeze-4",
    "squeeze-3",
    "squeeze-3-sparse",
    "squeeze-2-sparse",
];
/// Those by size, for decoders of a real width.
const SMOLLM2_RECIPES: [&str; 11] = [
    "q8",
    "q6",
    "q5",
    "q4",
    "q3",
    "q2",
    "best-4",
    "best-3",
    "best-2",
    "budget-3.5",
    "budget-2.5",
];
/// How the line in a recipe's header begins that says what it costs this model.
const HEADER: &str = "# SmolLM2-135M-Instruct:";
const LANGUAGE_HEAD: &str = "| recipe | bits per weight | file, MiB | perplexity (original) | ratio, 95 % interval of the difference | KL, nats per token | same top token |\n|---|---|---|---|---|---|---|\n";

/// Quantizes the embedded model with every built-in recipe and writes the table into the README.
#[test]
#[ignore = "rewrites the table in README.md"]
fn readme_table() {
    let folder = tempfile::tempdir().unwrap();
    let mut table = LANGUAGE_HEAD.to_owned();
    for recipe in RECIPES {
        let json = quench(
            folder.path(),
            &["quantize", "demo", "-r", recipe, "-o", recipe, "--json"],
        );
        let report: Value = serde_json::from_str(&json).unwrap();
        writeln!(table, "{}", language_row(recipe, &report["size"], &report)).unwrap();
    }
    replace(BEGIN, END, &table);
}

/// Quantizes SmolLM2-135M-Instruct with the recipes for decoders, writes the table into the README and a line into the
/// header of each recipe.
///
/// Text: the first 400,000 characters of each WikiText-2 file; 32 windows of 512 tokens of each. What was found with a
/// recipe is kept in the folder `QUENCH_TABLES`, where one is named, and not measured again: all of it takes hours. Where
/// `QUENCH_RECIPES` names recipes, with commas between them, the rows and headers of the others stay as they are.
#[test]
#[ignore = "needs QUENCH_ASSETS and QUENCH_SMOLLM2, a folder with the model; rewrites README.md and recipes/"]
fn readme_smollm2_table() {
    let model = std::env::var("QUENCH_SMOLLM2").expect("QUENCH_SMOLLM2 is set");
    let folder = tempfile::tempdir().unwrap();
    let kept = kept_folder(folder.path());
    smollm2_texts(folder.path());
    std::fs::write(
        folder.path().join("judge.toml"),
        "[[evaluate]]\ntask = \"perplexity\"\ndata = \"held-out.txt\"\nsequence_length = 512\nlimit = 32\n",
    )
    .unwrap();
    let ask =
        |words: &[&str]| -> Value { serde_json::from_str(&quench(folder.path(), words)).unwrap() };
    let asked = std::env::var("QUENCH_RECIPES").ok();
    let before = between(SMOLLM2_BEGIN, SMOLLM2_END);
    let mut table = LANGUAGE_HEAD.to_owned();
    for recipe in SMOLLM2_RECIPES {
        let is_asked = |asked: &String| asked.split(',').any(|name| name == recipe);
        let begin = format!("| `{recipe}` |");
        if let Some(row) = before.lines().find(|row| row.starts_with(&begin))
            && asked.as_ref().is_some_and(|asked| !is_asked(asked))
        {
            writeln!(table, "{row}").unwrap();
            continue;
        }
        let file = kept.join(format!("{recipe}.json"));
        if !file.exists() {
            let written = ask(&[
                "quantize",
                &model,
                "-r",
                recipe,
                "--calib",
                "calibration.txt",
                "--samples",
                "32",
                "--sequence-length",
                "512",
                "--no-eval",
                "-o",
                recipe,
                "--json",
            ]);
            let judged = ask(&[
                "eval",
                recipe,
                "--baseline",
                &model,
                "-r",
                "judge.toml",
                "--json",
            ]);
            let found = json!({
                "size": written["size"], "run": written["run"], "scores": judged["scores"],
            });
            std::fs::write(&file, found.to_string()).unwrap();
        }
        let found: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
        writeln!(table, "{}", language_row(recipe, &found["size"], &found)).unwrap();
        write_header(recipe, &found);
    }
    replace(SMOLLM2_BEGIN, SMOLLM2_END, &table);
}

/// Where what has been measured is kept: the folder `QUENCH_TABLES`, or `otherwise`.
pub(crate) fn kept_folder(otherwise: &Path) -> PathBuf {
    let kept = std::env::var_os("QUENCH_TABLES");
    kept.map_or_else(|| otherwise.to_path_buf(), PathBuf::from)
}

/// The texts `SmolLM2` is calibrated on and judged by, the first 400,000 characters of each file, as `calibration.txt`
/// and `held-out.txt` in `folder`.
pub(crate) fn smollm2_texts(folder: &Path) {
    for (name, source) in [
        ("calibration.txt", "valid.txt"),
        ("held-out.txt", "test-dev.txt"),
    ] {
        let text = assets().join("data/wikitext2").join(source);
        let text = std::fs::read_to_string(text).unwrap();
        let first: String = text.chars().take(400_000).collect();
        std::fs::write(folder.join(name), first).unwrap();
    }
}

/// What `metric` is, of the original and of what was quantized.
fn score<'a>(report: &'a Value, metric: &str) -> &'a Value {
    let all = report["scores"].as_array().unwrap();
    all.iter().find(|score| score["metric"] == metric).unwrap()
}

/// One line of a table of language models: `size` of what was written, and the scores of `report`.
fn language_row(recipe: &str, size: &Value, report: &Value) -> String {
    let perplexity = score(report, "perplexity");
    let (original, quantized) = (
        perplexity["original"].as_f64().unwrap(),
        perplexity["quantized"].as_f64().unwrap(),
    );
    format!(
        "| `{recipe}` | {:.3} | {:.2} | {quantized:.3} ({original:.3}) | {:.4}, [{:+.3}, {:+.3}] | {:.5} | {:.2} % |",
        size["bits_per_weight_linear"].as_f64().unwrap(),
        size["artifact_bytes"].as_f64().unwrap() / f64::from(1 << 20),
        quantized / original,
        perplexity["ci95"][0].as_f64().unwrap(),
        perplexity["ci95"][1].as_f64().unwrap(),
        score(report, "kl_divergence")["quantized"]
            .as_f64()
            .unwrap(),
        100.0
            * score(report, "top1_agreement")["quantized"]
                .as_f64()
                .unwrap(),
    )
}

/// Writes what `recipe` costs `SmolLM2` into its header, as its last line.
fn write_header(recipe: &str, found: &Value) {
    let path = format!("{}/recipes/{recipe}.toml", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap();
    let perplexity = score(found, "perplexity");
    // Scores of every width of every layer serve all budgets.
    let had_scores = recipe.starts_with("budget") && found["run"]["stages"]["measure"].is_null();
    let line = format!(
        "{HEADER} {:.3} bits, perplexity {:.3} ({:.3}), KL {:.4} nats a token; {:.0} s on {} threads{}.",
        found["size"]["bits_per_weight_linear"].as_f64().unwrap(),
        perplexity["quantized"].as_f64().unwrap(),
        perplexity["original"].as_f64().unwrap(),
        score(found, "kl_divergence")["quantized"].as_f64().unwrap(),
        found["run"]["seconds"].as_f64().unwrap(),
        found["run"]["threads"],
        if had_scores {
            " with scores that were measured before"
        } else {
            ""
        },
    );
    let (header, rest) = text.split_at(text.find("\nname = ").unwrap() + 1);
    let kept: String = header
        .lines()
        .filter(|line| !line.starts_with(HEADER))
        .flat_map(|line| [line, "\n"])
        .collect();
    std::fs::write(path, format!("{kept}{line}\n{rest}")).unwrap();
}

const README: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");

/// What stands between the two marks of the README.
fn between(begin: &str, end: &str) -> String {
    let text = std::fs::read_to_string(README).unwrap();
    let (_, rest) = text.split_once(begin).unwrap();
    rest.split_once(end).unwrap().0.to_owned()
}

/// Puts `table` between the two marks of the README.
pub(crate) fn replace(begin: &str, end: &str, table: &str) {
    let text = std::fs::read_to_string(README).unwrap();
    let (before, rest) = text.split_once(begin).unwrap();
    let (_, after) = rest.split_once(end).unwrap();
    std::fs::write(README, format!("{before}{begin}\n{table}{end}{after}")).unwrap();
}

/// An encoder, what it is calibrated on and judged by.
struct Encoder {
    model: &'static str,
    label: &'static str,
    calibration: &'static str,
    evaluation: &'static str,
    /// The figure of each model, and what compares the two.
    metrics: [&'static str; 2],
}

const ENCODERS: [Encoder; 3] = [
    Encoder {
        model: "minilm-l6-v2",
        label: "MiniLM-L6 sentence embeddings, STS-B",
        calibration: "data/sst2/calib-512.tsv#text_a",
        evaluation: "data/stsb/stsb-dev.tsv",
        metrics: ["spearman", "embedding_cosine"],
    },
    Encoder {
        model: "minilm-sst2",
        label: "MiniLM-L6 classifier, SST-2",
        calibration: "data/sst2/calib-512.tsv#text_a",
        evaluation: "data/sst2/dev-436.tsv",
        metrics: ["accuracy", "kl_divergence"],
    },
    Encoder {
        model: "vit-cifar10",
        label: "small ViT, CIFAR-10",
        calibration: "data/cifar10/calib-256.safetensors",
        evaluation: "data/cifar10/dev-1000.safetensors",
        metrics: ["accuracy", "kl_divergence"],
    },
];

/// Compiles three encoders with every integer-only recipe and writes the table into the README.
#[test]
#[ignore = "needs QUENCH_ASSETS; rewrites the table of encoders in README.md"]
fn readme_encoder_table() {
    let asset = |name: &str| assets().join(name).to_str().unwrap().to_owned();
    let folder = tempfile::tempdir().unwrap();
    let mut table = String::from(
        "| encoder | recipe | file, MiB (original) | score (original) | against the original |\n|---|---|---|---|---|\n",
    );
    for encoder in &ENCODERS {
        for recipe in INTEGER_RECIPES {
            let model = asset(encoder.model);
            let (calibration, evaluation) = (asset(encoder.calibration), asset(encoder.evaluation));
            let words = [
                "quantize",
                &model,
                "-r",
                recipe,
                "--calib",
                &calibration,
                "--samples",
                "256",
                "--eval-data",
                &evaluation,
                "-o",
                recipe,
                "--force",
                "--json",
            ];
            let report: Value = serde_json::from_str(&quench(folder.path(), &words)).unwrap();
            writeln!(table, "{}", encoder_row(encoder, recipe, &report)).unwrap();
        }
    }
    replace(ENCODERS_BEGIN, ENCODERS_END, &table);
}

fn encoder_row(encoder: &Encoder, recipe: &str, report: &Value) -> String {
    let score = |metric: &str, side: &str| {
        let all = report["scores"].as_array().unwrap();
        let found = all.iter().find(|score| score["metric"] == metric).unwrap();
        found[side].as_f64().unwrap()
    };
    let size = |key: &str| report["size"][key].as_f64().unwrap() / f64::from(1 << 20);
    let [figure, comparison] = encoder.metrics;
    let shown = |side: &str| match figure {
        "accuracy" => format!("{:.2} %", 100.0 * score(figure, side)),
        _ => format!("{:.3}", score(figure, side)),
    };
    let against = match comparison {
        "kl_divergence" => format!(
            "KL {:.5} nats, same class {:.2} %",
            score(comparison, "quantized"),
            100.0 * score("top1_agreement", "quantized")
        ),
        _ => format!("cosine {:.4}", score(comparison, "quantized")),
    };
    let name = match figure {
        "accuracy" => "accuracy",
        _ => "Spearman",
    };
    format!(
        "| {} | `{recipe}` | {:.2} ({:.2}) | {name} {} ({}) | {against} |",
        encoder.label,
        size("artifact_bytes"),
        size("original_bytes"),
        shown("quantized"),
        shown("original"),
    )
}

/// Every name the program lists is explained where a reader looks first.
#[test]
fn readme_names_every_recipe() {
    let text = include_str!("../../README.md");
    for recipe in RECIPES.into_iter().chain(INTEGER_RECIPES) {
        assert!(
            text.contains(&format!("`{recipe}`")),
            "`{recipe}` is not in the README"
        );
    }
}
