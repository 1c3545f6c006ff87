//! Rotations: which models take them and what the others are told, and recipes that cannot be.

use crate::foreign_forms::quantize_both;
use crate::workbench::{Ended, Workbench, edit_json, edit_tensors};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

const RULE: &str = "[[layers]]\nmatch = \"*\"\nmethod = \"rtn\"\nbits = 4\n";

fn fixtures() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let entries = fs_err::read_dir(root.join("calib/tests/fixtures/models")).unwrap();
    let mut folders: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    folders
}

/// What `quench plan` says of `rotate` and each of the tiny models.
#[test]
fn models_take_rotations_or_are_told_why_not() {
    let bench = Workbench::new();
    bench.write(
        "r.toml",
        format!("[[transform]]\nmethod = \"rotate\"\n{RULE}"),
    );
    let mut text = String::new();
    for folder in fixtures() {
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        let ended = bench.quench(&["plan", &folder.to_string_lossy(), "-r", "r.toml"]);
        if ended.code == 0 {
            let lines = ended.stdout.lines();
            let notes = lines.filter(|line| line.contains("rotate:"));
            let notes: Vec<&str> = notes
                .map(|line| line.trim_start_matches("note: "))
                .collect();
            let _ = writeln!(text, "{name}: rotated");
            for note in notes {
                let _ = writeln!(text, "    {}", note.trim_start_matches("rotate: "));
            }
        } else {
            let cause = ended.stderr.lines().find(|line| line.contains("cause:"));
            let cause = cause.unwrap_or_else(|| panic!("{}", ended.shown()));
            let cause = cause
                .trim()
                .trim_start_matches("cause: line 1: transform `rotate`: ");
            let _ = writeln!(text, "{name}: {cause}");
        }
    }
    insta::assert_snapshot!(text);
}

#[test]
fn recipes_that_cannot_be_are_refused_with_the_line() {
    let bench = Workbench::new();
    bench.decoder("m");
    let rotate = "[[transform]]\nmethod = \"rotate\"\n";
    let awq = "[[transform]]\nmethod = \"awq\"\n";
    let cases = [
        (
            format!("{awq}{rotate}{RULE}"),
            "line 3: transform `rotate`: it rewrites the whole checkpoint, and has to stand before `awq` at line 1",
        ),
        (
            format!("{rotate}{rotate}{RULE}"),
            "line 3: transform `rotate`: expected one transform of the whole checkpoint, found another at line 1",
        ),
        (
            format!("{rotate}rotate = 1\n{RULE}"),
            "line 3: unknown key `rotate` for method `rotate`",
        ),
        (
            format!("{rotate}rotation = \"spin\"\n{RULE}"),
            "`rotation` of method `rotate`: expected `\"hadamard\"` or `\"v\"` or `\"none\"`, found `\"spin\"`",
        ),
        (
            format!("{rotate}rotation = \"none\"\nheads = true\n{RULE}"),
            "`heads` of method `rotate`: expected `false` with `rotation = \"none\"`, found `true`",
        ),
    ];
    for (recipe, message) in cases {
        bench.write("r.toml", recipe);
        let ended = bench.quench(&["plan", "m", "-r", "r.toml"]);
        ended.says(3, &[message]);
    }
}

/// Every decoder that takes them goes through the road.
#[test]
fn rotated_decoders_of_every_variant_are_quantized() {
    let bench = Workbench::new();
    bench.write(
        "r.toml",
        format!("[[transform]]\nmethod = \"rotate\"\n{RULE}"),
    );
    let mut written = 0;
    for folder in fixtures() {
        let model = folder.to_string_lossy().into_owned();
        if bench.quench(&["plan", &model, "-r", "r.toml"]).code != 0 {
            continue;
        }
        let words = ["quantize", &model, "-r", "r.toml", "-o", "out"];
        let ended = bench.quench(&[&words[..], &["--force", "--no-eval", "--json"]].concat());
        ended.says(0, &[]);
        for layer in ended.json()["layers"].as_array().unwrap() {
            let sqnr = layer["sqnr_db"].as_f64();
            assert!(sqnr.is_none_or(|sqnr| sqnr > 12.0), "{model}: {layer}");
        }
        bench.quench(&["inspect", "out"]).says(0, &[]);
        written += 1;
    }
    assert!(written > 20, "{written}");
}

#[test]
fn a_head_that_is_stored_and_tied_all_the_same_is_written_apart() {
    let bench = Workbench::new();
    let model = bench.decoder("m");
    edit_json(&model.join("config.json"), |config| {
        config
            .as_object_mut()
            .unwrap()
            .remove("tie_word_embeddings");
    });
    edit_tensors(&model, |all| {
        let table = all["model.embed_tokens.weight"].clone();
        all.insert("lm_head.weight".to_owned(), table);
    });
    bench.write(
        "r.toml",
        format!("[[transform]]\nmethod = \"rotate\"\n{RULE}"),
    );
    let words = [
        "quantize",
        "m",
        "-r",
        "r.toml",
        "-o",
        "out",
        "--no-eval",
        "-q",
    ];
    bench.quench(&words).says(0, &[]);
    let config = fs_err::read_to_string(bench.at("out/config.json")).unwrap();
    assert!(
        config.contains("\"tie_word_embeddings\": false"),
        "{config}"
    );
    bench.text("t.txt");
    let words = [
        "eval",
        "out",
        "--baseline",
        "m",
        "--eval-data",
        "t.txt",
        "--json",
        "-q",
    ];
    let ended = bench.quench(&words);
    ended.says(0, &[]);
    let divergence = divergence(&ended);
    assert!(divergence < 0.2, "{divergence}");
}

#[test]
fn a_rotated_model_can_be_left_to_a_budget_and_its_scores_are_its_own() {
    let bench = Workbench::new();
    bench.decoder("m");
    let recipe = |transform: &str| {
        format!(
            "[calibration]\ndata = \"synthetic\"\nsamples = 4\nsequence_length = 32\n{transform}\
             [budget]\nbits_per_weight = 4.0\nchoices = [3, 4, 8]\n\
             [[layers]]\nmatch = \"*\"\nmethod = \"rtn\"\nbits = \"auto\"\n"
        )
    };
    bench.write("plain.toml", recipe(""));
    bench.write(
        "rotated.toml",
        recipe("[[transform]]\nmethod = \"rotate\"\n"),
    );
    let measure = [
        "measure",
        "m",
        "-r",
        "rotated.toml",
        "-o",
        "scores.json",
        "-q",
    ];
    bench.quench(&measure).says(0, &[]);
    let plan = |recipe| bench.quench(&["plan", "m", "-r", recipe, "--measured", "scores.json"]);
    plan("rotated.toml").says(0, &[]);
    plan("plain.toml").says(3, &["found those of another model"]);
}

#[test]
fn what_another_program_quantized_is_rotated_as_the_values_it_stands_for() {
    let bench = Workbench::new();
    quantize_both(&bench.decoder("gptq"), &bench.decoder("plain"));
    bench.write(
        "r.toml",
        format!("[[transform]]\nmethod = \"rotate\"\n{RULE}"),
    );
    let files = ["gptq", "plain"].map(|model| {
        let out = format!("{model}-out");
        let words = ["quantize", model, "-r", "r.toml", "-o", &out, "--no-eval"];
        bench.quench(&words).says(0, &[]);
        let read = |file| fs_err::read(bench.at(&out).join(file)).unwrap();
        ["model.safetensors", "config.json"].map(read)
    });
    assert!(files[0] == files[1]);
}

#[test]
fn layers_of_compressed_tensors_are_rotated_as_they_are_decoded() {
    let bench = Workbench::new();
    bench.decoder("m");
    let words = [
        "quantize", "m", "--method", "rtn", "--bits", "8", "-o", "theirs",
    ];
    bench
        .quench(&[&words[..], &["--no-eval"]].concat())
        .says(0, &[]);
    // As if another program had written it.
    fs_err::remove_file(bench.at("theirs/.quench-written")).unwrap();
    let rule = RULE.replace("bits = 4", "bits = 8");
    bench.write(
        "r.toml",
        format!("[[transform]]\nmethod = \"rotate\"\n{rule}"),
    );
    bench.text("t.txt");
    let words = ["quantize", "theirs", "-r", "r.toml", "-o", "out"];
    let ended = bench.quench(&[&words[..], &["--eval-data", "t.txt", "--json"]].concat());
    ended.says(0, &["the baseline is itself quantized"]);
    let divergence = divergence(&ended);
    assert!(divergence < 2e-3, "{divergence}");
}

fn divergence(ended: &Ended) -> f64 {
    let report = ended.json();
    let mut scores = report["scores"].as_array().unwrap().iter();
    let found = scores.find(|score| score["metric"] == "kl_divergence");
    found.unwrap()["quantized"].as_f64().unwrap()
}
