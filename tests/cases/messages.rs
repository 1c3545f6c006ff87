//! Messages that help: what is wrong, where, and the way out, each said once.

use crate::workbench::{Workbench, edit_json, sentences, word_tokenizer};

pub(crate) const POINTER: &str = "version https://git-lfs.github.com/spec/v1\n\
                       oid sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\nsize 123456\n";

#[test]
fn git_lfs_pointers_are_named_wherever_they_are() {
    for file in ["model.safetensors", "config.json"] {
        let bench = Workbench::new();
        bench.decoder("m");
        bench.write(&format!("m/{file}"), POINTER);
        let ended = bench.quench(&["plan", "m"]);
        ended.says(4, &[file, "Git LFS pointer", "hint: run `git lfs pull`"]);
    }
    let bench = Workbench::new();
    bench.decoder("m");
    bench.write("m/tokenizer.json", POINTER);
    bench.text("t.txt");
    let ended = bench.quench(&["eval", "m", "--eval-data", "t.txt"]);
    ended.says(ended.code, &["tokenizer.json", "Git LFS pointer"]);
    assert_ne!(ended.code, 0);

    let bench = Workbench::new();
    bench.decoder("m");
    bench.write("t.txt", POINTER);
    let ended = bench.quench(&["eval", "m", "--eval-data", "t.txt"]);
    ended.says(ended.code, &["t.txt", "Git LFS pointer"]);
    assert!(!ended.stdout.contains("perplexity"), "{}", ended.shown());

    let bench = Workbench::new();
    let model = bench.decoder("m");
    fs_err::rename(model.join("model.safetensors"), model.join("m.gguf")).unwrap();
    bench
        .quench(&["plan", "m"])
        .says(4, &["m.gguf", "does not begin with `GGUF`"]);
    fs_err::write(model.join("n.gguf"), "GGUF").unwrap();
    bench
        .quench(&["plan", "m"])
        .says(4, &["`m.gguf`, `n.gguf`: name one of them"]);
    let bench = Workbench::new();
    let model = bench.model("llama-untied-biases", "m");
    fs_err::write(model.join("model-00002-of-00003.safetensors"), POINTER).unwrap();
    bench
        .quench(&["plan", "m"])
        .says(4, &["model-00002-of-00003.safetensors", "Git LFS pointer"]);
}

#[test]
fn json_that_python_writes_is_read_and_broken_json_comes_with_its_line() {
    let bench = Workbench::new();
    let model = bench.decoder("m");
    let config = fs_err::read_to_string(model.join("config.json")).unwrap();
    for value in [
        "Infinity",
        "[0.0, Infinity]",
        "-Infinity",
        "NaN",
        "{\"a\": NaN}",
    ] {
        let odd = config.replacen('{', &format!("{{\n \"somebody_elses_key\": {value},"), 1);
        bench.write("m/config.json", &odd);
        let ended = bench.quench(&["plan", "m"]);
        assert_eq!(ended.code, 0, "{value}: {}", ended.shown());
    }
    // What nobody reads is written back as it came.
    let words = [
        "quantize",
        "m",
        "--method",
        "rtn",
        "--bits",
        "4",
        "--no-eval",
        "-q",
        "-o",
        "out",
    ];
    assert_eq!(bench.quench(&words).code, 0);
    let written = fs_err::read_to_string(bench.at("out/config.json")).unwrap();
    assert!(written.contains("\"a\": NaN"), "{written}");
    assert_eq!(bench.quench(&["inspect", "out"]).code, 0);

    // A key that is read must be a number.
    let key = config.replacen(
        '{',
        "{\n \"rope_theta\": Infinity, \"rope_parameters\": null,",
        1,
    );
    let key = key.replacen("\"rope_theta\": 10000.0", "\"x\": 0", 1);
    bench.write("m/config.json", &key);
    let ended = bench.quench(&["plan", "m"]);
    assert!(
        ended.code == 0 || ended.stderr.contains("Infinity"),
        "{}",
        ended.shown()
    );

    bench.write(
        "m/config.json",
        "{\n\"model_type\": \"llama\",\n\"hidden_size\": 12 34\n}",
    );
    bench
        .quench(&["plan", "m"])
        .says(4, &["m/config.json", "line 3"]);
    bench.write("m/config.json", "[1, 2]");
    bench
        .quench(&["plan", "m"])
        .says(4, &["is not a JSON object"]);
}

#[test]
fn weights_under_other_names_come_with_the_way_out() {
    for (file, way) in [
        ("tf_model.h5", "`save_pretrained` it"),
        ("consolidated.pth", "rename it to `pytorch_model.bin`"),
        (
            "consolidated.safetensors",
            "rename it to `model.safetensors`",
        ),
        ("adapter_model.safetensors", "merge it into its base model"),
        (
            "model-00001-of-00002.safetensors",
            "`model.safetensors.index.json`",
        ),
    ] {
        let bench = Workbench::new();
        let model = bench.decoder("m");
        fs_err::rename(model.join("model.safetensors"), model.join(file)).unwrap();
        bench
            .quench(&["plan", "m"])
            .says(4, &["neither `model.safetensors` nor", file, way]);
    }
    let bench = Workbench::new();
    let model = bench.model("llama-untied-biases", "m");
    fs_err::remove_file(model.join("model-00003-of-00003.safetensors")).unwrap();
    bench.quench(&["plan", "m"]).says(
        4,
        &[
            "names 3 files, and 1 of them is not there",
            "model-00003-of-00003",
            "download",
        ],
    );
}

#[test]
fn a_name_with_a_hash_is_a_file_before_it_is_a_column() {
    let bench = Workbench::new();
    bench.decoder("m");
    let with = |data: &str| {
        let words = ["plan", "m", "--method", "gptq", "--calib", data];
        bench.quench(&words)
    };
    bench.write("a.json", "[{\"text\": \"some words\"}]");
    let ended = with("a.json#text");
    ended.says(4, &["a.json", "expected one of", "call it `.jsonl`"]);
    assert!(!ended.stderr.contains("No such file"), "{}", ended.shown());
    bench.text("b#1.txt");
    assert_eq!(with("b#1.txt").code, 0);
    bench.write("c.tsv#x", "text");
    bench.write("c.tsv", "x\ty\nsome words\tmore words\n");
    with("c.tsv#x").says(4, &["expected one of"]);
    bench.write("d.tsv", sentences(40));
    assert_eq!(with("d.tsv#sentence").code, 0);
}

#[test]
fn what_cannot_be_read_is_said_once() {
    let bench = Workbench::new();
    fs_err::create_dir_all(bench.at("m")).unwrap();
    for words in [
        &["plan", "m"][..],
        &["plan", "demo", "-r", "m"],
        &["report", "m"],
    ] {
        let ended = bench.quench(words);
        let said =
            ended.stderr.matches("cannot read").count() + ended.stderr.matches("failed to").count();
        assert!(said <= 1, "{}", ended.shown());
    }
    let ended = bench.quench(&["plan", "m"]);
    assert_eq!(
        ended.stderr.matches("config.json").count(),
        1,
        "{}",
        ended.shown()
    );
}

#[test]
fn the_interval_of_one_model_is_no_difference() {
    let bench = Workbench::new();
    let model = bench.model("llama-plain-v4", "m");
    word_tokenizer(&model);
    let words: Vec<String> = (0..400).map(|at| format!("w{}", 4 + at * 7 % 92)).collect();
    bench.write("t.txt", words.join(" "));
    bench.write(
        "r.toml",
        "[[evaluate]]\ntask = \"perplexity\"\ndata = \"t.txt\"\nsequence_length = 16\n",
    );
    let ended = bench.quench(&["eval", "m", "-r", "r.toml"]);
    assert_eq!(ended.code, 0, "{}", ended.shown());
    let line = ended
        .stdout
        .lines()
        .find(|line| line.starts_with("perplexity"));
    let line = line.unwrap();
    assert!(line.contains('[') && !line.contains("[+"), "{line}");
}

#[test]
fn what_was_typed_for_a_model_is_looked_at() {
    let bench = Workbench::new();
    bench.decoder("models/small");
    bench
        .quench(&["plan", "models/small/model.safetensors"])
        .says(
            2,
            &[
                "expected a model folder, found the file",
                "the folder it is in: `models/small`",
            ],
        );
    bench.quench(&["plan", "models/smal"]).says(
        4,
        &[
            "model `models/smal` does not exist",
            "did you mean `models/small`?",
        ],
    );
    bench
        .quench(&["plan", "./models/nothing-like-it"])
        .says(4, &["does not exist", "name a folder"]);
    let far = bench.quench(&["plan", "models/other"]);
    assert_eq!(far.code, 4, "{}", far.shown());
    assert!(far.stderr.lines().count() <= 4, "{}", far.shown());
}

#[test]
fn a_missing_model_type_is_named() {
    let bench = Workbench::new();
    let model = bench.decoder("m");
    edit_json(&model.join("config.json"), |config| {
        config.as_object_mut().unwrap().remove("model_type");
    });
    bench
        .quench(&["plan", "m"])
        .says(3, &["expected a `model_type` that", "found none"]);
}
