//! Experts in calibration: those their router sends few tokens, and the layers that decide for them.

use crate::workbench::{Ended, Workbench, tensors};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// Quantizes `model` with a few tokens of calibration data.
fn quantize(bench: &Workbench, model: &str, name: &str, rules: &str) -> Ended {
    let recipe = format!(
        "name = \"{name}\"\n[calibration]\ndata = \"synthetic\"\nsamples = 1\nsequence_length = 2\n{rules}"
    );
    bench.write("r.toml", recipe);
    let words = [
        "quantize",
        model,
        "-r",
        "r.toml",
        "-o",
        name,
        "--no-eval",
        "--json",
    ];
    let ended = bench.quench(&words);
    ended.says(0, &[]);
    ended
}

fn rule(method: &str) -> String {
    format!("[[layers]]\nmatch = \"*\"\nmethod = \"{method}\"\nbits = 3\n")
}

/// What is stored for the layers of experts.
fn of_experts(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let all = tensors(&folder.join("model.safetensors")).into_iter();
    all.filter(|(name, _)| name.contains(".experts.") && name.contains("weight_"))
        .map(|(name, (_, _, bytes))| (name, bytes))
        .collect()
}

/// The notes of each layer of an expert, by layer.
fn notes(report: &Value) -> BTreeMap<String, Vec<String>> {
    let layers = report["layers"].as_array().unwrap().iter();
    let name = |layer: &Value| layer["name"].as_str().unwrap().to_owned();
    let text = |note: &Value| note.as_str().unwrap().to_owned();
    layers
        .filter(|layer| name(layer).contains(".experts."))
        .map(|layer| {
            let notes = layer["notes"].as_array().into_iter().flatten();
            (name(layer), notes.map(text).collect())
        })
        .collect()
}

#[test]
fn experts_with_too_few_tokens_get_the_weights_that_need_no_data() {
    let awq = "[[transform]]\nmethod = \"awq\"\nsearch_tokens = 64\n";
    for fixture in ["mixtral", "qwen2-moe", "gpt-oss"] {
        let bench = Workbench::new();
        bench.model(fixture, "m");
        quantize(&bench, "m", "rtn", &rule("rtn"));
        quantize(&bench, "m", "kmeans", &rule("kmeans"));
        for (name, rules, twin) in [
            ("squeezellm", rule("squeezellm"), "kmeans"),
            ("gptq", rule("gptq"), "rtn"),
            ("awq", format!("{awq}{}", rule("rtn")), "rtn"),
            ("awq-gptq", format!("{awq}{}", rule("gptq")), "rtn"),
        ] {
            let ended = quantize(&bench, "m", name, &rules);
            let [found, expected] = [name, twin].map(|folder| of_experts(&bench.at(folder)));
            assert!(found.len() >= 16, "{fixture}: {} tensors", found.len());
            assert!(found == expected, "{fixture}: {name} differs from {twin}");
            let notes = notes(&ended.json());
            for (layer, notes) in &notes {
                let few: Vec<&String> = notes
                    .iter()
                    .filter(|note| note.contains("fewer than 128: quantized without statistics"))
                    .collect();
                assert_eq!(few.len(), 1, "{fixture}: {layer}: {notes:?}");
                let line = format!("note: `{layer}`: {}", few[0]);
                ended.says(0, &[&line]);
            }
            let warning = format!(
                "{0} of {0} layers of experts saw fewer than 128",
                notes.len()
            );
            ended.says(0, &[&warning]);
            let warned = ended.json()["warnings"].to_string();
            assert!(warned.contains(&warning), "{warned}");
        }
        // Nothing is sensitive where nothing is known; large weights are large all the same.
        let [large, both] = ["", "sensitive_fraction = 0.05\n"].map(|sensitive| {
            let rules = format!("{}outlier_fraction = 0.01\n{sensitive}", rule("squeezellm"));
            let name = format!("sparse-{}", sensitive.len());
            quantize(&bench, "m", &name, &rules);
            of_experts(&bench.at(&name))
        });
        assert!(
            large == both,
            "{fixture}: weights of no known Fisher were set apart"
        );
        // Round to nearest reads nothing, so that nothing is missing.
        let ended = quantize(
            &bench,
            "m",
            "plain",
            &rule("rtn").replace("bits = 3", "bits = 4"),
        );
        assert!(!ended.stderr.contains("router"), "{}", ended.shown());
    }
}

#[test]
fn the_threshold_is_the_recipes() {
    let bench = Workbench::new();
    bench.model("mixtral", "m");
    let few = |experts: &str| {
        let rules = format!("[calibration.experts]\n{experts}\n{}", rule("gptq"));
        let report = quantize(&bench, "m", "out", &rules).json();
        std::fs::remove_dir_all(bench.at("out")).unwrap();
        let notes = notes(&report).into_values();
        let notes: Vec<String> = notes
            .flatten()
            .filter(|note| note.contains("router"))
            .collect();
        notes
    };
    // Two tokens reach four experts of a block at most, and fewer where they agree.
    let none = few("min_tokens = 1");
    assert!(!none.is_empty() && none.len() < 24, "{none:?}");
    assert!(
        none.iter()
            .all(|note| note.starts_with("its router sent it 0 calibration tokens"))
    );
    assert!(few("min_tokens = 2").len() > none.len());
    let all = few("min_tokens = 1\ntoo_few = \"all-tokens\"");
    assert_eq!(all.len(), none.len());
    assert!(
        all.iter()
            .all(|note| note.ends_with("fewer than 1: measured over all tokens"))
    );
    // Two tokens are two for every expert.
    assert!(few("min_tokens = 2\ncalibrate_all_experts = true").is_empty());
}

#[test]
fn experts_measured_part_by_part_come_out_the_same() {
    let bench = Workbench::new();
    bench.model("qwen2-moe", "m");
    for (method, more) in [
        ("gptq", ""),
        ("gptq", "true_sequential = true\n"),
        ("gptq", "sequential = false\n"),
        (
            "gptq",
            "[[transform]]\nmethod = \"awq\"\nsearch_tokens = 16\n",
        ),
    ] {
        let out = |memory: &str, name: &str| {
            let experts =
                format!("min_tokens = 1\ntoo_few = \"all-tokens\"\nmemory = \"{memory}\"");
            let rules = format!("[calibration.experts]\n{experts}\n{}{more}", rule(method));
            let ended = quantize(&bench, "m", name, &rules);
            let file = bench.at(name).join("model.safetensors");
            let written = fs_err::read(file).unwrap();
            fs_err::remove_dir_all(bench.at(name)).unwrap();
            (written, ended.json())
        };
        let ((whole, one), (parts, many)) = (out("1GiB", "a"), out("10KB", "b"));
        assert!(whole == parts, "{method} {more}");
        assert_eq!(notes(&one), notes(&many));
        let note = "the block is run about";
        assert!(
            many["warnings"].to_string().contains(note),
            "{}",
            many["warnings"]
        );
        assert!(!one["warnings"].to_string().contains(note));
    }
}

#[test]
fn wrong_keys_of_experts_are_refused_with_their_line() {
    let bench = Workbench::new();
    bench.model("mixtral", "m");
    let refused = |experts: &str| {
        let recipe = format!(
            "[calibration]\nsamples = 1\n[calibration.experts]\n{experts}\n{}",
            rule("rtn")
        );
        bench.write("r.toml", recipe);
        let ended = bench.quench(&["plan", "m", "-r", "r.toml"]);
        assert_eq!(ended.code, 3, "{}", ended.shown());
        ended.stderr
    };
    let text = refused("min_token = 5");
    assert!(
        text.contains("line 4: unknown key `min_token` in `[calibration.experts]`"),
        "{text}"
    );
    let text = refused("min_tokens = 5\ntoo_few = \"skip\"");
    assert!(
        text.contains("line 5") && text.contains("`\"all-tokens\"`"),
        "{text}"
    );
    let text = refused("calibrate_all_experts = true\ntoo_few = \"data-free\"");
    assert!(text.contains("`too_few`"), "{text}");
}

#[test]
fn statistics_of_experts_that_saw_nothing_are_found_again() {
    let bench = Workbench::new();
    bench.model("mixtral", "m");
    let rules = format!("keep_statistics = true\n{}", rule("squeezellm"));
    let first = quantize(&bench, "m", "a", &rules);
    assert!(first.stderr.contains("fisher: "), "{}", first.shown());
    let second = quantize(&bench, "m", "b", &rules);
    assert!(!second.stderr.contains("fisher: "), "{}", second.shown());
    assert_eq!(notes(&first.json()), notes(&second.json()));
    assert!(of_experts(&bench.at("a")) == of_experts(&bench.at("b")));
}

#[test]
fn routers_and_gates_of_shared_experts_are_kept_unless_named() {
    for (fixture, deciding, named) in [
        (
            "mixtral",
            &["block_sparse_moe.gate"][..],
            "*.block_sparse_moe.gate",
        ),
        (
            "qwen2-moe",
            &["mlp.gate", "mlp.shared_expert_gate"],
            "*.mlp.gate",
        ),
        ("deepseek-v3", &["mlp.gate"], "*.mlp.gate"),
        (
            "granite-moe",
            &["block_sparse_moe.router.layer"],
            "*.router.layer",
        ),
        ("gpt-oss", &["mlp.router"], "*.mlp.router"),
    ] {
        let bench = Workbench::new();
        bench.model(fixture, "m");
        let planned = bench
            .quench(&["plan", "m", "--method", "rtn", "--json"])
            .json();
        let names = |list: &str| -> Vec<String> {
            let list = planned[list].as_array().unwrap().iter();
            list.map(|layer| layer["name"].as_str().unwrap().to_owned())
                .collect()
        };
        for layer in deciding {
            let name = format!("model.layers.1.{layer}");
            assert!(
                names("kept").contains(&name),
                "{fixture}: {:?}",
                names("kept")
            );
            assert!(!names("layers").contains(&name), "{fixture}");
        }
        let text = bench.quench(&["plan", "m", "--method", "rtn"]).stdout;
        assert!(text.contains("decides for experts, not named"), "{text}");
        // A pattern that begins with a wildcard reaches nothing that has to be named.
        bench.write(
            "w.toml",
            format!("[[layers]]\nmatch = \"{named}\"\nmethod = \"rtn\"\nbits = 8\n"),
        );
        bench
            .quench(&["plan", "m", "-r", "w.toml"])
            .says(3, &["matches no"]);
        let named = named.replacen('*', "model.layers.*", 1);
        for method in ["rtn", "gptq"] {
            bench.write("r.toml", format!(
                "[calibration]\nsamples = 2\nsequence_length = 8\n[[layers]]\nmatch = \"{named}\"\nmethod = \"{method}\"\nbits = 8\n"
            ));
            let words = [
                "quantize",
                "m",
                "-r",
                "r.toml",
                "-o",
                "out",
                "--force",
                "--no-eval",
                "--json",
            ];
            let ended = bench.quench(&words);
            ended.says(0, &[]);
            let report = ended.json();
            let layers = report["layers"].as_array().unwrap();
            assert!(
                layers
                    .iter()
                    .all(|layer| layer["sqnr_db"].as_f64().unwrap() > 30.0)
            );
            assert_eq!(layers.len(), 2, "{fixture}: {report}");
        }
    }
}

#[test]
fn experts_stored_as_mxfp4_are_a_source_like_any_other() {
    let note = "the baseline is itself quantized: mxfp4, group 32 (16 tensors)";
    let bench = Workbench::new();
    bench.model("../quantized/gpt-oss-mxfp4", "m");
    bench
        .quench(&[
            "export", "m", "--format", "dense", "--dtype", "f16", "-o", "dense",
        ])
        .says(0, &[]);
    for (method, experts) in [
        ("rtn", ""),
        ("gptq", "[calibration.experts]\nmin_tokens = 1\n"),
    ] {
        let rules = format!("{experts}{}", rule(method));
        let [a, b] = ["m", "dense"].map(|model| {
            let out = format!("{method}-{model}");
            let ended = quantize(&bench, model, &out, &rules);
            assert_eq!(
                ended.stderr.contains(note),
                model == "m",
                "{}",
                ended.shown()
            );
            fs_err::read(bench.at(&out).join("model.safetensors")).unwrap()
        });
        assert!(a == b, "{method}: the twin with decoded values differs");
    }
    let planned = bench
        .quench(&["plan", "m", "--method", "rtn", "--json"])
        .json();
    let original = planned["size"]["original_bytes"].as_u64().unwrap();
    let stored: usize = tensors(&bench.at("m/model.safetensors"))
        .values()
        .map(|(.., bytes)| bytes.len())
        .sum();
    assert_eq!(original, stored as u64);
}
