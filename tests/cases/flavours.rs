//! Every decoder of the table, dense or with experts, through the road with each kind of method.

use crate::workbench::Workbench;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// The tiny decoders with a head, of every variant.
fn decoders() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = root.join("calib/tests/fixtures/models");
    let mut found: Vec<PathBuf> = fs_err::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|folder| {
            let text = fs_err::read_to_string(folder.join("config.json")).unwrap();
            let config: Value = serde_json::from_str(&text).unwrap();
            let classes = config["architectures"].as_array().into_iter().flatten();
            let mut names = classes.filter_map(Value::as_str);
            names.any(|name| name.ends_with("ForCausalLM") || name.ends_with("LMHeadModel"))
        })
        .collect();
    found.sort();
    found
}

fn all_take(method: &str, transform: &str) {
    let decoders = decoders();
    assert!(decoders.len() > 50, "{}", decoders.len());
    let bench = Workbench::new();
    let recipe = format!(
        "name = \"tiny\"\n[calibration]\ndata = \"synthetic\"\nsamples = 4\nsequence_length = 32\n{transform}\
         [[layers]]\nmatch = \"*\"\nmethod = \"{method}\"\nbits = 4\n"
    );
    bench.write("r.toml", recipe);
    for folder in decoders {
        let model = folder.to_string_lossy().into_owned();
        let words = ["quantize", &model, "-r", "r.toml", "-o", "out"];
        let ended = bench.quench(&[&words[..], &["--force", "--no-eval", "--json"]].concat());
        ended.says(0, &[]);
        let report = ended.json();
        let layers = report["layers"].as_array().unwrap();
        assert!(layers.len() >= 8, "{model}: {} layers", layers.len());
        for layer in layers {
            let sqnr = layer["sqnr_db"].as_f64();
            // Four bits keep 14 to 20 dB. A codebook with as many entries as a row has weights loses nothing, and
            // has no ratio.
            assert!(sqnr.is_none_or(|sqnr| sqnr > 12.0), "{model}: {layer}");
        }
    }
}

#[test]
fn round_to_nearest() {
    all_take("rtn", "");
}

#[test]
fn non_uniform_codebooks() {
    all_take("squeezellm", "");
}

#[test]
fn error_compensation() {
    all_take("gptq", "");
}

#[test]
fn activation_aware_scales() {
    let awq = "[[transform]]\nmethod = \"awq\"\nsearch_tokens = 256\n";
    all_take("rtn", awq);
}
