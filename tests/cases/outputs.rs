//! The source is never destroyed: an output and anything that is read are different places, and what quench did
//! not write is not replaced.

use crate::workbench::{Workbench, contents};

/// Words of a run that writes little.
const RUN: [&str; 8] = [
    "--method",
    "rtn",
    "--bits",
    "4",
    "--no-eval",
    "-q",
    "--threads",
    "1",
];

fn quantize(
    bench: &Workbench,
    model: &str,
    output: &str,
    more: &[&str],
) -> crate::workbench::Ended {
    let mut words = vec!["quantize", model, "-o", output];
    words.extend(RUN);
    words.extend(more);
    bench.quench(&words)
}

#[test]
fn an_output_that_is_the_model_is_refused_however_it_is_written() {
    let bench = Workbench::new();
    let model = bench.model("llama-plain-v4", "m");
    let before = contents(&model);
    for output in ["m", "./m/../m", "m/"] {
        for force in [&[][..], &["--force"], &["--force-foreign"]] {
            let ended = quantize(&bench, "m", output, force);
            ended.says(2, &["is the model `m`", "name a folder of its own"]);
        }
    }
    assert_eq!(contents(&model), before);
}

#[test]
fn an_output_inside_the_model_or_around_it_is_refused() {
    let bench = Workbench::new();
    let model = bench.model("llama-plain-v4", "all/m");
    let before = contents(&model);
    quantize(&bench, "all/m", "all/m/out", &[]).says(2, &["lies inside the model"]);
    quantize(&bench, "all/m", "all", &["--force-foreign"]).says(2, &["holds the model"]);
    assert_eq!(contents(&model), before);
}

#[cfg(unix)]
#[test]
fn links_do_not_hide_it() {
    let bench = Workbench::new();
    let model = bench.model("llama-plain-v4", "m");
    let before = contents(&model);
    std::os::unix::fs::symlink(&model, bench.at("link")).unwrap();
    quantize(&bench, "m", "link", &["--force"]).says(2, &["is the model"]);
    quantize(&bench, "link", "m/new", &[]).says(2, &["lies inside the model"]);
    // A folder inside the output that leads back.
    fs_err::create_dir_all(bench.at("out")).unwrap();
    std::os::unix::fs::symlink(&model, bench.at("out/1_Pooling")).unwrap();
    quantize(&bench, "m", "out", &["--force-foreign"]).says(2, &["is a link to where"]);
    assert_eq!(contents(&model), before);
}

#[test]
fn data_recipes_and_baselines_are_inputs_too() {
    let bench = Workbench::new();
    bench.decoder("m");
    let data = bench.text("out/data.txt");
    let recipe = "[[layers]]\nmatch = \"*\"\nmethod = \"rtn\"\nbits = 4\n";
    bench.write("recipes/r.toml", recipe);
    let before = contents(&bench.at("out"));
    let force = ["--force-foreign", "--no-eval", "-q"];
    let with = |words: &[&str]| {
        let mut all = words.to_vec();
        all.extend(force);
        bench.quench(&all)
    };
    let evaluated = ["quantize", "m", "-r", "recipes/r.toml", "-o", "out", "-q"];
    let mut evaluated = evaluated.to_vec();
    evaluated.extend(["--force-foreign", "--eval-data", "out/data.txt"]);
    bench
        .quench(&evaluated)
        .says(2, &["holds the evaluation data"]);
    with(&["quantize", "m", "-r", "recipes/r.toml", "-o", "recipes"])
        .says(2, &["holds the recipe"]);
    with(&[
        "quantize",
        "m",
        "--method",
        "gptq",
        "--calib",
        "out/data.txt",
        "-o",
        "out",
    ])
    .says(2, &["holds the calibration data"]);
    let data = data.to_string_lossy().into_owned();
    bench
        .quench(&[
            "eval",
            "m",
            "--eval-data",
            &data,
            "-o",
            "m",
            "--force-foreign",
        ])
        .says(2, &["is the model"]);
    bench.decoder("base");
    bench
        .quench(&[
            "eval",
            "m",
            "--baseline",
            "base",
            "--eval-data",
            &data,
            "-o",
            "base",
            "--force",
        ])
        .says(2, &["is the baseline"]);
    assert_eq!(contents(&bench.at("out")), before);
}

#[test]
fn force_replaces_what_quench_wrote_and_nothing_else() {
    let bench = Workbench::new();
    bench.model("llama-plain-v4", "m");
    assert_eq!(quantize(&bench, "m", "out", &[]).code, 0);
    quantize(&bench, "m", "out", &[]).says(2, &["output folder `out` exists", "`--force`"]);
    bench.write("out/notes.txt", "mine");
    let again = quantize(&bench, "m", "out", &["--force"]);
    assert_eq!(again.code, 0, "{}", again.shown());
    assert_eq!(fs_err::read(bench.at("out/notes.txt")).unwrap(), b"mine");

    // A weight file that came from elsewhere makes the folder somebody's.
    bench.write("out/model-mine.safetensors", "mine");
    let refused = quantize(&bench, "m", "out", &["--force"]);
    refused.says(
        2,
        &[
            "does not list its `model-mine.safetensors`",
            "--force-foreign",
        ],
    );
    assert_eq!(
        fs_err::read(bench.at("out/model-mine.safetensors")).unwrap(),
        b"mine"
    );
}

#[test]
fn a_folder_of_somebody_else_needs_more_than_force() {
    let bench = Workbench::new();
    bench.model("llama-plain-v4", "m");
    bench.model("llama-plain-v4", "theirs");
    bench.write("theirs/download.bin.partial", "half");
    let before = contents(&bench.at("theirs"));
    for force in [&[][..], &["--force"]] {
        quantize(&bench, "m", "theirs", force)
            .says(2, &["quench did not write it", "--force-foreign"]);
    }
    assert_eq!(contents(&bench.at("theirs")), before);
    let forced = quantize(&bench, "m", "theirs", &["--force-foreign"]);
    assert_eq!(forced.code, 0, "{}", forced.shown());
    assert!(bench.at("theirs/download.bin.partial").is_file());
}

#[test]
fn exports_and_reports_keep_apart_from_what_they_read() {
    let bench = Workbench::new();
    bench.model("llama-plain-v4", "m");
    assert_eq!(quantize(&bench, "m", "a", &[]).code, 0);
    let before = contents(&bench.at("a"));
    bench
        .quench(&["export", "a", "--format", "dense", "-o", "a", "--force"])
        .says(2, &["is the quantized folder"]);
    bench
        .quench(&["report", "a", "-o", "a/new"])
        .says(2, &["lies inside the report folder"]);
    assert_eq!(contents(&bench.at("a")), before);
    let ended = bench.quench(&["report", "a", "-o", "copy"]);
    assert_eq!(ended.code, 0, "{}", ended.shown());
    assert_eq!(bench.quench(&["report", "a", "-o", "copy"]).code, 2);
    assert_eq!(
        bench.quench(&["report", "a", "-o", "copy", "--force"]).code,
        0
    );
}

#[cfg(unix)]
#[test]
fn files_have_the_modes_the_umask_leaves() {
    use std::os::unix::fs::PermissionsExt;
    let bench = Workbench::new();
    bench.model("llama-plain-v4", "m");
    assert_eq!(quantize(&bench, "m", "out", &[]).code, 0);
    let plain = bench.write("plain", "x");
    let mode = |path: &std::path::Path| fs_err::metadata(path).unwrap().permissions().mode();
    for file in contents(&bench.at("out")).keys() {
        assert_eq!(mode(file), mode(&plain), "{}", file.display());
    }
}
