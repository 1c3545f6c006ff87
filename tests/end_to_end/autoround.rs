//! Roundings that are learned from the error of a block, against nearest rounding and GPTQ on the same grid.

#![expect(clippy::print_stdout, reason = "figures for a reader of the test log")]

use crate::quench;
use crate::reference::{WIKI, found};
use serde_json::Value;
use std::path::Path;

/// A run of the demo in which every group of 16 weights has 2 bits.
fn demo(home: &Path, name: &str, method: &str, more: &[&str]) -> Value {
    let recipe = format!(
        "[calibration]\ndata = 'synthetic'\nsamples = 8\nsequence_length = 48\n[[layers]]\nmatch = '*'\nbits = 2\n\
         group_size = 16\nsymmetric = false\n{method}\n[[evaluate]]\ntask = 'perplexity'\ndata = 'synthetic'\nsequence_length = 48\nlimit = 8\n"
    );
    let file = format!("{name}.toml");
    std::fs::write(home.join(&file), recipe).unwrap();
    let arguments = [
        &["quantize", "demo", "-r", &file, "-o", name, "--json"],
        more,
    ];
    serde_json::from_str(&quench(home, &arguments.concat())).unwrap()
}

fn divergence(report: &Value) -> f64 {
    let rows = report["scores"].as_array().unwrap();
    let row = rows.iter().find(|row| row["metric"] == "kl_divergence");
    row.unwrap()["quantized"].as_f64().unwrap()
}

#[test]
fn learned_roundings_lose_less_than_nearest_ones_whatever_the_threads() {
    let home = tempfile::tempdir().unwrap();
    let nearest = divergence(&demo(home.path(), "rtn", "method = 'rtn'", &[]));
    let learned = "method = 'autoround'\nsteps = 60\nbatch_size = 4\nlearning_rate = 0.015";
    let report = demo(home.path(), "one", learned, &["--threads", "1"]);
    println!("nearest {nearest}, learned {}", divergence(&report));
    assert!(divergence(&report) < 0.8 * nearest);
    let notes = report["warnings"].to_string();
    assert!(notes.contains("learned roundings leave"), "{notes}");
    demo(home.path(), "three", learned, &["--threads", "3"]);
    let bytes = |name: &str| std::fs::read(home.path().join(name).join("model.safetensors"));
    assert_eq!(bytes("one").unwrap(), bytes("three").unwrap());
}

/// Experts, latent attention, weights stored the other way round, blocks that share their weights, encoders.
#[test]
fn blocks_of_any_kind_are_tuned() {
    let home = tempfile::tempdir().unwrap();
    let recipe = "[calibration]\ndata = 'synthetic'\nsamples = 4\nsequence_length = 24\n[[layers]]\nmatch = '*'\n\
                  method = 'autoround'\nbits = 3\nsteps = 20\nbatch_size = 2\nlearning_rate = 0.04\n[output]\nformat = 'quench'\n";
    std::fs::write(home.path().join("recipe.toml"), recipe).unwrap();
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("calib/tests/fixtures/models");
    for name in [
        "gpt-oss",
        "deepseek-v3",
        "gpt2",
        "albert-groups",
        "bert-masked",
    ] {
        let model = models.join(name);
        let model = model.to_string_lossy();
        let words = [
            "quantize",
            &model,
            "-r",
            "recipe.toml",
            "--no-eval",
            "--json",
        ];
        let words = [&words[..], &["-o", name]].concat();
        let report: Value = serde_json::from_str(&quench(home.path(), &words)).unwrap();
        let notes = report["warnings"].as_array().unwrap().iter();
        let mut shares = notes.filter_map(|note| {
            let rest = note.as_str()?.strip_prefix("learned roundings leave ")?;
            rest.split(' ').next()?.parse::<f64>().ok()
        });
        let share = shares.next().unwrap();
        println!("{name}: {share} %");
        assert!(share < 60.0, "{name}");
    }
}

#[test]
#[ignore = "needs QUENCH_ASSETS"]
fn learned_roundings_lose_less_than_compensated_ones_on_wiki_llama() {
    let home = tempfile::tempdir().unwrap();
    let on = |bits: u8, keys: &str| {
        let rules = format!(
            "[[layers]]\nmatch = '*'\nbits = {bits}\ngroup_size = 32\ngroup_size_fallback = 'shorter_last_group'\n\
             scale_type = 'f16'\nsymmetric = false\n{keys}"
        );
        found(home.path(), &WIKI, 128, &rules)
    };
    for bits in [2, 3] {
        let nearest = on(bits, "method = 'rtn'\n");
        let compensated = on(bits, "method = 'gptq'\n");
        let learned = on(bits, "method = 'autoround'\n");
        println!("{bits} bits: nearest {nearest:?}, gptq {compensated:?}, autoround {learned:?}");
        assert!(learned.divergence < 0.7 * nearest.divergence);
        assert!(learned.divergence < compensated.divergence);
    }
}
