//! Checkpoints that other programs quantized: they are sources like any other, with a note that what they are compared
//! with is quantized itself.

use crate::workbench::{Workbench, as_f16, edit_json, edit_tensors, floats, tensors};
use safetensors::Dtype;
use serde_json::json;
use std::path::Path;

/// Inputs of a group.
const GROUP: usize = 32;

/// Rounds every linear layer of `gptq` to 4 bits and stores it as GPTQ does, version 1; `plain` gets the same values as
/// f16, which holds them exactly because the scales are powers of two.
pub(crate) fn quantize_both(gptq: &Path, plain: &Path) {
    let is_linear = |name: &str| name.ends_with("_proj.weight");
    let mut decoded = Vec::new();
    edit_tensors(gptq, |all| {
        let names: Vec<String> = all.keys().filter(|name| is_linear(name)).cloned().collect();
        for name in names {
            let stored = all.remove(&name).unwrap();
            let (layer, values) = (name.strip_suffix(".weight").unwrap(), floats(&stored));
            let (rows, cols) = (stored.1[0], stored.1[1]);
            let groups = cols / GROUP;
            let (mut scales, mut words) =
                (vec![0.0_f32; groups * rows], vec![0_u32; cols / 8 * rows]);
            let mut rounded = vec![0.0_f32; rows * cols];
            for row in 0..rows {
                for group in 0..groups {
                    let first = row * cols + group * GROUP;
                    let weights = &values[first..first + GROUP];
                    let most = weights.iter().fold(1e-6_f32, |most, w| most.max(w.abs()));
                    let scale = (most / 7.0).log2().ceil().exp2();
                    scales[group * rows + row] = scale;
                    for (at, weight) in weights.iter().enumerate() {
                        let steps = (weight / scale).round_ties_even() + 0.0;
                        // The scale was made for it: steps are from -7 to 7.
                        let code = (0..16_u8).find(|code| f32::from(*code) - 8.0 >= steps);
                        let code = u32::from(code.unwrap());
                        let input = group * GROUP + at;
                        words[input / 8 * rows + row] |= code << (4 * (input % 8));
                        rounded[first + at] = steps * scale;
                    }
                }
            }
            let bytes = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect();
            let zeros = vec![0x7777_7777_u32; groups * rows / 8];
            let index: Vec<u32> = (0..cols)
                .map(|input| u32::try_from(input / GROUP).unwrap())
                .collect();
            let mut put = |suffix: &str, stored| all.insert(format!("{layer}.{suffix}"), stored);
            put("qweight", (Dtype::I32, vec![cols / 8, rows], bytes(&words)));
            put(
                "qzeros",
                (Dtype::I32, vec![groups, rows / 8], bytes(&zeros)),
            );
            put("g_idx", (Dtype::I32, vec![cols], bytes(&index)));
            put("scales", as_f16(&[groups, rows], &scales));
            decoded.push((name, as_f16(&[rows, cols], &rounded)));
        }
    });
    edit_tensors(plain, |all| all.extend(decoded));
    edit_json(&gptq.join("config.json"), |config| {
        config["quantization_config"] = json!({ "quant_method": "gptq", "bits": 4, "group_size": GROUP,
            "desc_act": false, "sym": true, "checkpoint_format": "gptq" });
    });
}

const NOTE: &str = "the baseline is itself quantized: gptq 4 bit, group 32 (42 tensors)";

#[test]
fn a_gptq_checkpoint_is_quantized_as_the_values_it_stands_for() {
    let bench = Workbench::new();
    quantize_both(&bench.decoder("gptq"), &bench.decoder("plain"));
    let run = |model: &str, out: &str| {
        let words = [
            "quantize",
            model,
            "-o",
            out,
            "--method",
            "rtn",
            "--bits",
            "3",
            "--no-eval",
        ];
        bench.quench(&words)
    };
    let ended = run("gptq", "a");
    ended.says(0, &[NOTE]);
    let plain = run("plain", "b");
    plain.says(0, &[]);
    assert!(!plain.stderr.contains("itself quantized"));
    for file in ["model.safetensors", "config.json", "tokenizer.json"] {
        let [a, b] = ["a", "b"].map(|out| fs_err::read(bench.at(out).join(file)).unwrap());
        assert!(a == b, "{file} differs");
    }
    let written = tensors(&bench.at("a/model.safetensors"));
    assert!(
        written
            .keys()
            .all(|name| !name.ends_with("qweight") && !name.ends_with("g_idx"))
    );
    let report = fs_err::read_to_string(bench.at("a/report.json")).unwrap();
    assert!(report.contains(NOTE));

    // The plan counts what is stored for a layer, and what its values take where they are kept.
    let planned = |model: &str| {
        bench
            .quench(&["plan", model, "--method", "rtn", "--bits", "3", "--json"])
            .json()
    };
    let (gptq, dense) = (planned("gptq"), planned("plain"));
    assert_eq!(
        gptq["size"]["artifact_bytes"],
        dense["size"]["artifact_bytes"]
    );
    assert!(gptq["size"]["original_bytes"].as_u64() < dense["size"]["original_bytes"].as_u64());
}

#[test]
fn scores_and_exports_of_a_gptq_checkpoint_are_those_of_its_values() {
    let bench = Workbench::new();
    quantize_both(&bench.decoder("gptq"), &bench.decoder("plain"));
    bench.text("text.txt");
    let alone = bench.quench(&["eval", "gptq", "--eval-data", "text.txt", "--json"]);
    alone.says(
        0,
        &["`gptq` is itself quantized: gptq 4 bit, group 32 (42 tensors)"],
    );
    let plain = bench
        .quench(&["eval", "plain", "--eval-data", "text.txt", "--json"])
        .json();
    let score = |report: &serde_json::Value, side: &str| report["scores"][0][side].clone();
    assert_eq!(score(&alone.json(), "quantized"), score(&plain, "original"));
    let first = alone.json()["warnings"][0].clone();
    assert!(
        first.as_str().unwrap().contains("itself quantized"),
        "{first}"
    );
    let words = [
        "eval",
        "plain",
        "--baseline",
        "gptq",
        "--eval-data",
        "text.txt",
        "--json",
    ];
    let compared = bench.quench(&words);
    compared.says(0, &[NOTE]);

    bench
        .quench(&[
            "export", "gptq", "--format", "dense", "--dtype", "f16", "-o", "dense",
        ])
        .says(0, &[]);
    let [dense, plain] =
        ["dense", "plain"].map(|name| tensors(&bench.at(name).join("model.safetensors")));
    assert!(dense == plain, "the export is the twin");
    let refused = bench.quench(&["export", "gptq", "--format", "quench", "-o", "q"]);
    refused.says(
        3,
        &[
            "cannot be exported as `quench`",
            "stored as gptq 4 bit",
            "`--format dense`",
        ],
    );
    let listed = bench.quench(&["inspect", "gptq"]);
    listed.says(0, &[]);
    assert!(
        listed.stdout.contains("gptq: 42 quantized layers"),
        "{}",
        listed.stdout
    );
}

#[test]
fn kept_layers_of_a_foreign_checkpoint_are_written_as_floats_of_its_type() {
    let bench = Workbench::new();
    quantize_both(&bench.decoder("gptq"), &bench.decoder("plain"));
    bench.write(
        "r.toml",
        "name = \"r\"\n[[layers]]\nmatch = \"*.down_proj\"\nmethod = \"rtn\"\nbits = 4\n",
    );
    bench
        .quench(&["quantize", "gptq", "-o", "out", "-r", "r.toml", "--no-eval"])
        .says(0, &[NOTE]);
    let (written, twin) = (
        tensors(&bench.at("out/model.safetensors")),
        tensors(&bench.at("plain/model.safetensors")),
    );
    let kept = "model.layers.2.self_attn.q_proj.weight";
    assert!(written[kept] == twin[kept]);
    let planned = bench
        .quench(&["plan", "gptq", "-r", "r.toml", "--json"])
        .json();
    let bytes: usize = written.values().map(|(_, _, bytes)| bytes.len()).sum();
    assert_eq!(planned["size"]["artifact_bytes"], bytes);
}

#[test]
fn small_floats_are_cast_and_noted() {
    let bench = Workbench::new();
    let model = bench.decoder("m");
    edit_tensors(&model, |all| {
        for (name, stored) in all
            .iter_mut()
            .filter(|(name, _)| name.ends_with("up_proj.weight"))
        {
            // Half, one and minus one and a half.
            let codes = [0x30, 0x38, 0xbc];
            let count: usize = stored.1.iter().product();
            let bytes = (0..count).map(|at| codes[(at + name.len()) % 3]).collect();
            *stored = (Dtype::F8_E4M3, stored.1.clone(), bytes);
        }
    });
    let words = ["quantize", "m", "-o", "out", "--method", "rtn", "--no-eval"];
    bench.quench(&words).says(
        0,
        &["the baseline is itself quantized: fp8 e4m3 (6 tensors)"],
    );
    edit_tensors(&model, |all| {
        let (_, _, bytes) = all.get_mut("model.layers.0.mlp.up_proj.weight").unwrap();
        bytes[5] = 0x7f;
    });
    let found = ["`model.layers.0.mlp.up_proj.weight` [384, 128] of `m` holds NaN at [0, 5]"];
    bench
        .quench(&[
            "quantize",
            "m",
            "-o",
            "out2",
            "--method",
            "rtn",
            "--no-eval",
        ])
        .says(3, &found);
}

#[test]
fn a_form_that_is_not_read_is_refused_with_those_that_are() {
    let bench = Workbench::new();
    let model = bench.decoder("m");
    edit_json(&model.join("config.json"), |config| {
        config["quantization_config"] = json!({ "quant_method": "aqlm" });
    });
    let expected = "expected `quench` or `compressed-tensors` or `fp8` or `gptq` or `awq` or `bitsandbytes` or `mxfp4` or `gguf`, found `\"aqlm\"`";
    bench.quench(&["plan", "m"]).says(3, &[expected]);
}

/// A tiny GGUF model beside nothing else.
#[test]
fn a_gguf_file_is_a_model_and_what_is_made_of_it_is_a_folder() {
    let bench = Workbench::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let file = root.join("calib/tests/fixtures/gguf/llama.gguf");
    fs_err::copy(file, bench.at("tiny.gguf")).unwrap();
    bench.text("text.txt");
    let words = [
        "quantize",
        "tiny.gguf",
        "-o",
        "out",
        "--method",
        "gptq",
        "--bits",
        "8",
        "--calib",
        "text.txt",
        "--sequence-length",
        "32",
        "--samples",
        "8",
        "--eval-data",
        "text.txt",
    ];
    let ended = bench.quench(&words);
    ended.says(
        0,
        &["the baseline is itself quantized: q4_0 (5 tensors), q5_1 (4 tensors), q8_0 (3 tensors)"],
    );
    let config = fs_err::read_to_string(bench.at("out/config.json")).unwrap();
    assert!(!config.contains("gguf"), "{config}");
    // The folder stands for itself, without the file.
    fs_err::remove_file(bench.at("tiny.gguf")).unwrap();
    let again = bench.quench(&["eval", "out", "--eval-data", "text.txt", "--json"]);
    again.says(0, &["no comparison with the original `tiny.gguf`"]);
    let report: serde_json::Value =
        serde_json::from_slice(&fs_err::read(bench.at("out/report.json")).unwrap()).unwrap();
    assert_eq!(
        again.json()["scores"][0]["quantized"],
        report["scores"][0]["quantized"]
    );
}
