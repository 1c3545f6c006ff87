//! Checkpoints of PyTorch: the same results as from safetensors, and no harm from files made to do some.

use crate::archive::zip;
use crate::pickle::Pickle;
use crate::workbench::{Stored, Workbench, edit_json, edit_tensors, floats, tensors};
use safetensors::Dtype;
use std::collections::BTreeMap;
use std::path::Path;

/// One of the names of a storage in PyTorch.
fn kind(dtype: Dtype) -> &'static str {
    match dtype {
        Dtype::F64 => "DoubleStorage",
        Dtype::F32 => "FloatStorage",
        Dtype::F16 => "HalfStorage",
        Dtype::BF16 => "BFloat16Storage",
        other => panic!("{other:?} is no float"),
    }
}

/// `tensors` as `torch.save` writes them; those in `again` are a second name of another.
fn torch_file(tensors: &BTreeMap<String, Stored>, again: &[(&str, &str)]) -> Vec<u8> {
    let keys: Vec<String> = (0..tensors.len()).map(|key| key.to_string()).collect();
    let mut pickle = Pickle::new().ordered_dict().raw(b"(");
    let mut storages: Vec<(&str, &[u8])> = Vec::new();
    for ((name, stored), key) in tensors.iter().zip(&keys) {
        pickle = one(pickle, name, key, stored);
        storages.push((key, &stored.2));
    }
    for (second, first) in again {
        let key = tensors.keys().position(|name| name == first).unwrap();
        pickle = one(pickle, second, &keys[key], &tensors[*first]);
    }
    zip(&pickle.raw(b"u").stop(), &storages)
}

fn one(pickle: Pickle, name: &str, key: &str, (dtype, shape, _): &Stored) -> Pickle {
    let shape: Vec<i64> = (shape.iter())
        .map(|&side| i64::try_from(side).unwrap())
        .collect();
    let mut strides: Vec<i64> = vec![1; shape.len()];
    for at in (1..shape.len()).rev() {
        strides[at - 1] = strides[at] * shape[at];
    }
    pickle
        .text(name)
        .global("torch._utils", "_rebuild_tensor_v2")
        .raw(b"(")
        .storage(kind(*dtype), key, shape.iter().product())
        .int(0)
        .ints(&shape)
        .ints(&strides)
        .raw(&[0x89])
        .ordered_dict()
        .raw(b"tR")
}

/// Puts `pytorch_model.bin` in the place of the safetensors of `model`.
fn as_torch(model: &Path, again: &[(&str, &str)]) {
    let file = model.join("model.safetensors");
    let content = torch_file(&tensors(&file), again);
    fs_err::write(model.join("pytorch_model.bin"), content).unwrap();
    fs_err::remove_file(file).unwrap();
}

fn quantized(bench: &Workbench, model: &str, out: &str) -> Vec<u8> {
    let words = ["quantize", model, "-o", out, "--method", "rtn", "--no-eval"];
    let ended = bench.quench(&words);
    assert_eq!(ended.code, 0, "{}", ended.shown());
    assert!(!bench.at(out).join("pytorch_model.bin").exists());
    fs_err::read(bench.at(out).join("model.safetensors")).unwrap()
}

#[test]
fn the_twin_of_a_checkpoint_gives_the_same_bytes() {
    let bench = Workbench::new();
    bench.decoder("m");
    as_torch(&bench.decoder("bin"), &[]);
    assert!(quantized(&bench, "m", "a") == quantized(&bench, "bin", "b"));
}

#[test]
fn a_tied_head_under_a_second_name_is_written_and_counted_once() {
    let bench = Workbench::new();
    for (model, again) in [
        ("m", &[][..]),
        ("bin", &[("lm_head.weight", "model.embed_tokens.weight")]),
    ] {
        let folder = bench.decoder(model);
        edit_json(&folder.join("config.json"), |config| {
            config["tie_word_embeddings"] = true.into();
        });
        if model == "bin" {
            as_torch(&folder, again);
        }
    }
    assert!(quantized(&bench, "m", "a") == quantized(&bench, "bin", "b"));
    let size = |model: &str| {
        let facts = bench.quench(&["inspect", model, "--json"]).json();
        (facts["parameters"].clone(), facts["bytes"].clone())
    };
    assert_eq!(size("m"), size("bin"));
    let plan = |model: &str| {
        let ended = bench.quench(&["plan", model, "-r", "w4", "--json"]);
        ended.json()["size"].clone()
    };
    assert_eq!(plan("m"), plan("bin"));
}

#[test]
fn inspect_shows_the_tensors_of_a_bin_file() {
    let bench = Workbench::new();
    as_torch(&bench.decoder("m"), &[]);
    let ended = bench.quench(&["inspect", "m"]);
    assert_eq!(ended.code, 0, "{}", ended.shown());
    assert!(ended.stdout.contains("model.norm.weight"));
    let ended = bench.quench(&["inspect", "m", "model.norm.weight"]);
    assert_eq!(ended.code, 0, "{}", ended.shown());
}

#[test]
fn doubles_are_quantized_as_the_f32_they_round_to() {
    let bench = Workbench::new();
    let retyped = |model: &str, dtype: Dtype| {
        edit_tensors(&bench.decoder(model), |all| {
            for stored in all.values_mut() {
                let values = floats(stored);
                let bytes = |value: &f32| match dtype {
                    Dtype::F64 => f64::from(*value).to_le_bytes().to_vec(),
                    _ => value.to_le_bytes().to_vec(),
                };
                *stored = (
                    dtype,
                    stored.1.clone(),
                    values.iter().flat_map(bytes).collect(),
                );
            }
        });
    };
    retyped("single", Dtype::F32);
    retyped("double", Dtype::F64);
    quantized(&bench, "single", "a");
    quantized(&bench, "double", "b");
    let (single, double) = (
        tensors(&bench.at("a/model.safetensors")),
        tensors(&bench.at("b/model.safetensors")),
    );
    assert!(single.keys().eq(double.keys()));
    for (name, stored) in &single {
        let (dtype, _, _) = double[name];
        if dtype == Dtype::F64 {
            assert_eq!(stored.0, Dtype::F32, "{name}");
        } else {
            assert!(*stored == double[name], "{name}");
        }
    }
    bench.text("t.txt");
    let ended = bench.quench(&[
        "eval",
        "b",
        "--baseline",
        "double",
        "--eval-data",
        "t.txt",
        "-q",
    ]);
    assert_eq!(ended.code, 0, "{}", ended.shown());
}

#[test]
fn a_file_that_calls_a_function_is_refused_by_all_and_not_executed() {
    let bench = Workbench::new();
    let model = bench.decoder("m");
    fs_err::remove_file(model.join("model.safetensors")).unwrap();
    let command = format!("touch {}", bench.at("executed").display());
    let call = Pickle::new().global("posix", "system").text(&command);
    let pickle = call.raw(b"\x85R").stop();
    bench.write("m/pytorch_model.bin", zip(&pickle, &[]));
    for words in [
        &["plan", "m"][..],
        &["inspect", "m"],
        &["quantize", "m", "-o", "out"],
        &["eval", "m"],
    ] {
        let parts = [
            "m/pytorch_model.bin` is not a readable PyTorch checkpoint",
            "`posix.system`",
            "nothing in the file was executed",
        ];
        bench.quench(words).says(4, &parts);
    }
    assert!(!bench.at("executed").exists());
}

#[test]
fn the_file_itself_and_its_missing_shards_come_with_the_way_out() {
    let bench = Workbench::new();
    let model = bench.decoder("m");
    as_torch(&model, &[]);
    let words = ["plan", "m/pytorch_model.bin"];
    bench
        .quench(&words)
        .says(2, &["name the folder it is in: `m`"]);
    let shard = "pytorch_model-00001-of-00002.bin";
    fs_err::rename(model.join("pytorch_model.bin"), model.join(shard)).unwrap();
    bench
        .quench(&["plan", "m"])
        .says(4, &[shard, "`pytorch_model.bin.index.json`"]);
    let index = "{\"weight_map\": {\"a\": \"pytorch_model-00002-of-00002.bin\"}}";
    bench.write("m/pytorch_model.bin.index.json", index);
    bench
        .quench(&["plan", "m"])
        .says(4, &["names 1 files", "pytorch_model-00002-of-00002.bin"]);
}
