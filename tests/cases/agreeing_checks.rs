//! Checks agree with the work: plan, quantize and eval refuse the same checkpoints, and the room asked of the disk is
//! the most that is there at one time.

use crate::workbench::{Workbench, edit_json, edit_tensors};
use safetensors::Dtype;
use std::path::Path;

/// Asserts that every command refuses the model `m` with one exit code and one reason.
#[track_caller]
fn all_refuse(bench: &Workbench, code: i32, parts: &[&str]) {
    let commands: [&[&str]; 4] = [
        &["plan", "m"],
        &["quantize", "m", "-o", "out", "--method", "rtn", "--no-eval"],
        &[
            "quantize",
            "m",
            "-o",
            "out",
            "--method",
            "squeezellm",
            "--bits",
            "3",
        ],
        &["eval", "m"],
    ];
    let mut errors = Vec::new();
    for words in commands {
        let ended = bench.quench(words);
        ended.says(code, parts);
        errors.push(ended.stderr);
    }
    assert!(
        errors.iter().all(|error| *error == errors[0]),
        "{errors:#?}"
    );
    assert!(!bench.at("out").exists());
}

/// Stores tensors whose names end in `suffix` as `dtype` of `bytes` bytes each value.
fn retype(model: &Path, suffix: &str, dtype: Dtype, bytes: usize) {
    edit_tensors(model, |tensors| {
        for (name, stored) in tensors.iter_mut() {
            if name.ends_with(suffix) {
                let values: usize = stored.1.iter().product();
                *stored = (dtype, stored.1.clone(), vec![0; bytes * values]);
            }
        }
    });
}

#[test]
fn weights_of_eight_bits_are_refused_by_all() {
    for (dtype, name) in [(Dtype::I8, "I8"), (Dtype::U8, "U8")] {
        let bench = Workbench::new();
        let model = bench.model("llama-plain-v4", "m");
        retype(&model, "_proj.weight", dtype, 1);
        let found = format!("is stored as {name}, expected f64, f32, f16 or bf16");
        all_refuse(
            &bench,
            3,
            &[&found, "start from the original, or dequantize it first"],
        );
    }
}

#[test]
fn small_floats_beside_scales_that_nothing_explains_are_refused_by_all() {
    for dtype in [Dtype::F8_E4M3, Dtype::F8_E5M2] {
        let bench = Workbench::new();
        let model = bench.model("llama-plain-v4", "m");
        retype(&model, "_proj.weight", dtype, 1);
        edit_tensors(&model, |tensors| {
            let names: Vec<String> = tensors.keys().cloned().collect();
            for name in names.iter().filter(|name| name.ends_with("_proj.weight")) {
                let one = (Dtype::F32, vec![1, 1], 1.0_f32.to_le_bytes().to_vec());
                tensors.insert(format!("{name}_scale_inv"), one);
            }
        });
        let found = "expected a `quant_method` that says what";
        all_refuse(&bench, 3, &[found, "down_proj.weight_scale_inv"]);
    }
}

#[test]
fn truth_values_in_a_tensor_that_is_not_quantized_are_refused_by_all() {
    let bench = Workbench::new();
    let model = bench.model("llama-plain-v4", "m");
    retype(&model, "norm.weight", Dtype::BOOL, 1);
    all_refuse(
        &bench,
        3,
        &[
            "layernorm.weight` is stored as BOOL",
            "save the model in one of these types",
        ],
    );
}

#[test]
fn a_tensor_of_another_shape_or_none_is_refused_by_all() {
    let bench = Workbench::new();
    let model = bench.model("llama-plain-v4", "m");
    edit_json(&model.join("config.json"), |config| {
        config["vocab_size"] = 97.into();
    });
    all_refuse(&bench, 3, &["has shape", "expected"]);
    let bench = Workbench::new();
    let model = bench.model("llama-plain-v4", "m");
    edit_tensors(&model, |tensors| {
        let first = tensors
            .keys()
            .find(|name| name.ends_with("q_proj.weight"))
            .cloned();
        tensors.remove(&first.unwrap());
    });
    all_refuse(&bench, 3, &["has no tensor"]);
}

#[test]
fn what_is_quantized_already_is_refused_alike() {
    let bench = Workbench::new();
    bench.decoder("m");
    let words = [
        "quantize",
        "m",
        "-o",
        "q",
        "--method",
        "rtn",
        "--no-eval",
        "-q",
    ];
    assert_eq!(bench.quench(&words).code, 0);
    let plan = bench.quench(&["plan", "q"]);
    let quantize = bench.quench(&["quantize", "q", "-o", "out"]);
    assert_eq!((plan.code, &plan.stderr), (3, &quantize.stderr));
}

/// A small disk of its own; nothing where this user may not mount one.
#[cfg(target_os = "linux")]
fn small_disk(folder: &Path, size: &str) -> Option<Mounted> {
    fs_err::create_dir_all(folder).unwrap();
    let options = format!("size={size}");
    let mount = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
        .arg(folder)
        .output();
    let is_mounted = mount.is_ok_and(|ended| ended.status.success());
    is_mounted.then(|| Mounted(folder.to_path_buf()))
}

/// Unmounts when dropped.
#[cfg(target_os = "linux")]
struct Mounted(std::path::PathBuf);

#[cfg(target_os = "linux")]
impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg(&self.0).output();
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_disk_that_fills_up_is_known_before_the_first_layer() {
    let bench = Workbench::new();
    bench.decoder("m");
    let run = |disk: &str| {
        let out = format!("{disk}/out");
        let words = [
            "quantize",
            "m",
            "-o",
            &out,
            "--method",
            "rtn",
            "--no-eval",
            "--progress",
            "plain",
        ];
        bench.quench(&words)
    };
    // 1.1 MiB of weights: as many while they wait for their shard, and the tokenizer.
    for size in ["1300k", "2000k"] {
        let Some(_disk) = small_disk(&bench.at(size), size) else {
            return;
        };
        let ended = run(size);
        ended.says(
            4,
            &["not enough room for", "are needed while it is written"],
        );
        assert!(!ended.stderr.contains("quantize: "), "{}", ended.shown());
        assert!(!bench.at(size).join("out").exists());
    }
    let Some(_disk) = small_disk(&bench.at("large"), "3000k") else {
        return;
    };
    let ended = run("large");
    assert_eq!(ended.code, 0, "{}", ended.shown());
}

#[cfg(target_os = "linux")]
#[test]
fn a_disk_without_room_for_an_export_is_known_beforehand() {
    let bench = Workbench::new();
    bench.decoder("m");
    let words = ["quantize", "m", "-o", "q", "--method", "rtn", "--no-eval"];
    assert_eq!(bench.quench(&words).code, 0);
    // 1.4 M weights in f32, twice while they wait for their shard.
    let Some(_small) = small_disk(&bench.at("small"), "9000k") else {
        return;
    };
    let ended = bench.quench(&["export", "q", "--format", "dense", "-o", "small/out"]);
    ended.says(4, &["not enough room for"]);
    assert!(!bench.at("small/out").exists());
    let Some(_large) = small_disk(&bench.at("large"), "13000k") else {
        return;
    };
    let ended = bench.quench(&["export", "q", "--format", "dense", "-o", "large/out"]);
    assert_eq!(ended.code, 0, "{}", ended.shown());
}

#[cfg(target_os = "linux")]
#[test]
fn the_disk_of_the_cache_is_asked_on_its_own() {
    let bench = Workbench::new();
    bench.decoder("m");
    let Some(_disk) = small_disk(&bench.at("cache"), "2000k") else {
        return;
    };
    let words = [
        "quantize",
        "m",
        "-o",
        "out",
        "--method",
        "squeezellm",
        "--bits",
        "3",
        "--samples",
        "16",
        "--no-eval",
        "--keep-statistics",
    ];
    bench.quench(&words).says(
        4,
        &["cache", "name a folder on another disk with `QUENCH_CACHE`"],
    );
    assert!(!bench.at("out").exists());
}
