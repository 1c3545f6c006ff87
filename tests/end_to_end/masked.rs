//! Text encoders of every family through the road: quantized, opened again, and asked for masked tokens.

use crate::quench;
use serde_json::{Map, Value, json};
use std::fmt::Write as _;
use std::path::Path;

/// Masked language models among the tiny encoders, and what the families do not share.
const MASKED: &[&str] = &[
    "bert-masked",
    "roberta-masked",
    "distilbert-masked",
    "mpnet-masked",
    "electra-masked",
    "albert-masked",
    "modernbert-masked",
    "deberta-v3-masked",
    "deberta-v3-new-head",
    "nomic-bert-masked",
];

/// Copies the tiny model `name` and gives it a vocabulary of 64 words, and texts of these words.
fn prepare(home: &Path, name: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("calib/tests/fixtures/models");
    let folder = home.join(name);
    std::fs::create_dir(&folder).unwrap();
    for file in ["config.json", "model.safetensors"] {
        std::fs::copy(root.join(name).join(file), folder.join(file)).unwrap();
    }
    let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
    let mut vocabulary = Map::new();
    for at in 0..64 {
        let word = special
            .get(at)
            .map_or_else(|| format!("w{at}"), |&word| word.to_owned());
        vocabulary.insert(word, json!(at));
    }
    let token = |name: &str, id: usize| json!({ "id": name, "ids": [id], "tokens": [name] });
    let part = |name: &str| json!({ "SpecialToken": { "id": name, "type_id": 0 } });
    let sequence = json!({ "Sequence": { "id": "A", "type_id": 0 } });
    let tokenizer = json!({
        "version": "1.0",
        "added_tokens": [],
        "pre_tokenizer": { "type": "WhitespaceSplit" },
        "model": { "type": "WordLevel", "vocab": vocabulary, "unk_token": "[UNK]" },
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [part("[CLS]"), sequence, part("[SEP]")],
            "pair": [part("[CLS]"), sequence, part("[SEP]")],
            "special_tokens": { "[CLS]": token("[CLS]", 2), "[SEP]": token("[SEP]", 3) },
        },
    });
    std::fs::write(folder.join("tokenizer.json"), tokenizer.to_string()).unwrap();
    let mut text = String::new();
    for line in 0..24 {
        let word = |at: usize| 5 + (line * 7 + at * (3 + line)) % 59;
        for at in 0..8 + line % 5 {
            write!(text, "w{} ", word(at)).unwrap();
        }
        text.push('\n');
    }
    std::fs::write(home.join("text.txt"), text).unwrap();
}

fn scores(output: &str) -> Vec<(String, Option<f64>, Option<f64>)> {
    let report: Value = serde_json::from_str(output).unwrap();
    let rows = report["scores"].as_array().unwrap().iter();
    let row = |row: &Value| {
        let metric = row["metric"].as_str().unwrap().to_owned();
        (metric, row["original"].as_f64(), row["quantized"].as_f64())
    };
    rows.map(row).collect()
}

#[test]
fn masked_language_models_of_every_family_are_judged_on_masked_tokens() {
    for name in MASKED {
        let home = tempfile::tempdir().unwrap();
        let home = home.path();
        prepare(home, name);
        let words = [
            "quantize", name, "--method", "rtn", "--bits", "8", "-o", "out",
        ];
        let data = ["--eval-data", "text.txt", "--json"];
        let made = scores(&quench(home, &[&words[..], &data].concat()));
        let metrics: Vec<&str> = made.iter().map(|(name, ..)| name.as_str()).collect();
        assert_eq!(
            metrics,
            [
                "masked_accuracy",
                "masked_loss",
                "kl_divergence",
                "top1_agreement"
            ]
        );
        let [original, quantized] = [made[1].1.unwrap(), made[1].2.unwrap()];
        assert!(original.is_finite() && quantized.is_finite(), "{name}");
        // Eight bits change little, and the same masks are seen again.
        assert!(made[2].2.unwrap() < 0.01, "{name}: {made:?}");
        let alone = ["eval", name, "--eval-data", "text.txt", "--json"];
        let alone = scores(&quench(home, &alone));
        assert_eq!(alone[1].1, Some(original), "{name}");
    }
}

#[test]
fn methods_that_need_statistics_run_on_shared_blocks_and_on_distances() {
    for name in ["albert-masked", "deberta-v3-masked", "modernbert-masked"] {
        let home = tempfile::tempdir().unwrap();
        let home = home.path();
        prepare(home, name);
        for method in ["gptq", "squeezellm"] {
            let words = [
                "quantize", name, "--method", method, "--bits", "4", "-o", method,
            ];
            let data = ["--calib", "text.txt", "--eval-data", "text.txt", "--json"];
            let short = ["--sequence-length", "12", "--samples", "8"];
            let made = scores(&quench(home, &[&words[..], &data, &short].concat()));
            assert!(made[1].2.unwrap().is_finite(), "{name}: {made:?}");
        }
    }
}

#[test]
fn next_tokens_are_not_asked_of_a_masked_language_model() {
    let home = tempfile::tempdir().unwrap();
    prepare(home.path(), "bert-masked");
    let recipe = "[[layers]]\nmatch = \"*\"\nmethod = \"rtn\"\nbits = 8\n\n\
                  [[evaluate]]\ntask = \"perplexity\"\ndata = \"text.txt\"\n";
    std::fs::write(home.path().join("r.toml"), recipe).unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_quench"))
        .args(["quantize", "bert-masked", "-r", "r.toml"])
        .current_dir(home.path())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    let expected = "task `perplexity` does not judge a masked language model";
    assert!(said.contains(expected), "{said}");
}
