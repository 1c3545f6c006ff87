//! Text encoders of every kind: rounded, and as integer programs where every operation has an integer form.

use crate::vision;
use crate::workbench::Workbench;
use serde_json::Value;
use std::collections::BTreeMap;

/// A fixture, and what is in the way of an integer program.
const MODELS: &[(&str, Option<&str>)] = &[
    ("albert-groups", Some("projects token vectors")),
    ("albert-masked", Some("projects token vectors")),
    ("bert-classifier-relu", None),
    ("bert-masked", Some("predicts tokens with the token table")),
    ("bert-prefixed-greek", None),
    ("bert-tokens", Some("predicts something at every position")),
    (
        "camembert-tokens",
        Some("predicts something at every position"),
    ),
    ("deberta-v2-classifier", Some("adds scores of distances")),
    ("deberta-v2-plain", None),
    ("deberta-v3-masked", Some("adds scores of distances")),
    ("deberta-v3-new-head", Some("adds scores of distances")),
    (
        "distilbert-classifier",
        Some("has a layer before the last one that is no pooler"),
    ),
    (
        "distilbert-masked",
        Some("predicts tokens with the token table"),
    ),
    (
        "electra-classifier",
        Some("has a layer before the last one that is no pooler"),
    ),
    ("electra-masked", Some("projects token vectors")),
    ("modernbert-classifier", Some("attends to neighbours only")),
    ("modernbert-masked", Some("rotates queries and keys")),
    ("modernbert-tokens", Some("rotates queries and keys")),
    ("mpnet-classifier", Some("adds scores of distances")),
    ("mpnet-masked", Some("adds scores of distances")),
    ("nomic-bert-classifier", Some("rotates queries and keys")),
    ("nomic-bert-masked", Some("rotates queries and keys")),
    ("roberta-classifier", None),
    (
        "roberta-masked",
        Some("predicts tokens with the token table"),
    ),
    ("xlm-roberta", None),
];

const ROUNDED: &str = "name = \"tiny\"\n[[layers]]\nmatch = \"*\"\nmethod = \"rtn\"\nbits = 4\n";

/// As the built-in recipe, on fewer and shorter sequences.
fn integer_recipe() -> String {
    let built_in = include_str!("../../recipes/int8-integer-only.toml");
    let samples = "samples = 512\n";
    assert!(built_in.contains(samples));
    built_in.replace(samples, "samples = 16\nsequence_length = 10\n")
}

#[test]
fn rtn_quantizes_every_one_of_them() {
    for (fixture, _) in MODELS {
        let bench = Workbench::new();
        bench.model(fixture, "m");
        bench.write("r.toml", ROUNDED);
        let ended = bench.quench(&["quantize", "m", "-r", "r.toml", "-o", "out", "--json"]);
        assert_eq!(ended.code, 0, "{fixture}: {}", ended.shown());
        // No classifier is taken for a head over tokens.
        assert!(!ended.shown().contains("ties"), "{}", ended.shown());
        let report = ended.json();
        let found = report["layers"].as_array().unwrap().len();
        assert!((6..=24).contains(&found), "{fixture}: {found} layers");
    }
}

#[test]
fn an_integer_program_or_the_operation_in_the_way() {
    for (fixture, obstacle) in MODELS {
        let bench = Workbench::new();
        bench.model(fixture, "m");
        bench.write("r.toml", integer_recipe());
        let ended = bench.quench(&["quantize", "m", "-r", "r.toml", "-o", "out"]);
        match obstacle {
            Some(obstacle) => ended.says(3, &["no integer-only form", obstacle]),
            None => assert_eq!(ended.code, 0, "{fixture}: {}", ended.shown()),
        }
    }
}

#[test]
fn what_has_a_program_is_listed_as_integer_only_and_nothing_else_is() {
    let listed = Workbench::new().quench(&["list", "architectures", "--json"]);
    let listed = listed.json();
    let vision = vision::MODELS
        .iter()
        .map(|(fixture, _, found)| (fixture, found));
    let models = MODELS.iter().map(|(fixture, found)| (fixture, found));
    let mut programs = BTreeMap::<String, bool>::new();
    for (fixture, obstacle) in models.chain(vision) {
        let config = Workbench::fixture(fixture).join("config.json");
        let config: Value = serde_json::from_slice(&fs_err::read(config).unwrap()).unwrap();
        let model_type = config["model_type"].as_str().unwrap().to_owned();
        *programs.entry(model_type).or_default() |= obstacle.is_none();
    }
    for family in listed["architectures"].as_array().unwrap() {
        let name = family["name"].as_str().unwrap();
        let Some(&has_program) = programs.get(name) else {
            continue;
        };
        // Tables of the width of the blocks, heads without a layer of their own: not among the fixtures.
        let other_variants = ["electra", "distilbert", "camembert"];
        if has_program || !other_variants.contains(&name) {
            assert_eq!(family["integer_only"], has_program, "{name}");
        }
    }
    assert!(programs.len() > 18);
}

#[test]
fn a_prefix_stands_in_front_of_both_sentences() {
    let bench = Workbench::new();
    crate::datasets::write_tokenizer(&bench.model("bert-prefixed-greek", "e"), 60);
    let pairs = |prefix: &str| {
        let rows = (0..16).map(|at| {
            let words = [at * 7, at * 5 + 1, at * 3 + 2].map(|word| word % 40 + 4);
            let [left, right, other] = words;
            let score = (at * 11) % 16;
            format!("{prefix}w{left} w{other}\t{prefix}w{right}\t{score}\n")
        });
        "sentence1\tsentence2\tscore\n".to_owned() + &rows.collect::<String>()
    };
    bench.write("plain.tsv", pairs(""));
    bench.write("prefixed.tsv", pairs("w50 w51 "));
    let spearman = |data: &str, keys: &str| {
        let task = "[[evaluate]]\ntask = \"sentence_similarity\"\n";
        bench.write("r.toml", format!("{task}data = \"{data}\"\n{keys}"));
        let ended = bench.quench(&["eval", "e", "-r", "r.toml", "--json"]);
        assert_eq!(ended.code, 0, "{}", ended.shown());
        let report = ended.json();
        let scores = report["scores"].as_array().unwrap().iter();
        let mut found = scores.filter(|score| score["metric"] == "spearman");
        found.next().unwrap().to_string().replace(data, "")
    };
    let asked = spearman("plain.tsv", "prefix = \"w50 w51 \"\n");
    assert_eq!(asked, spearman("prefixed.tsv", ""));
    assert_ne!(asked, spearman("plain.tsv", ""));
}
