//! Endings: Ctrl-C says what is kept and how to go on, errors are JSON where the result is, and a pipe gets no
//! terminal codes.

use crate::workbench::{Workbench, contents};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

#[test]
fn errors_are_json_where_results_are() {
    let bench = Workbench::new();
    for (words, code) in [
        (&["plan", "no/such/model", "--json"][..], 4),
        (&["plan", "demo", "-r", "w44", "--json"], 3),
        (&["plan", "demo", "--bits", "99", "--json"], 2),
        (&["--json", "nonsense"], 2),
        (&["report", "nothing", "--json"], 4),
    ] {
        let ended = bench.quench(words);
        assert_eq!(ended.code, code, "{}", ended.shown());
        let error = &ended.json()["error"];
        assert!(!error["message"].as_str().unwrap().is_empty());
        assert_eq!(error["exit_code"], code);
        assert!(error["causes"].is_array());
    }
}

#[test]
fn a_failed_gate_leaves_one_document_on_stdout() {
    let bench = Workbench::new();
    bench.decoder("m");
    bench.text("t.txt");
    let words = [
        "quantize",
        "m",
        "--method",
        "rtn",
        "--bits",
        "2",
        "--eval-data",
        "t.txt",
        "--gate",
        "perplexity_ratio<=0.5",
        "--json",
        "-q",
        "-o",
        "out",
    ];
    let ended = bench.quench(&words);
    assert_eq!(ended.code, 6, "{}", ended.shown());
    assert_eq!(ended.json()["gates"][0]["passed"], false);
}

#[test]
fn notes_say_note_once_in_lines_and_not_at_all_in_json() {
    let bench = Workbench::new();
    bench.decoder("m");
    let words = [
        "quantize",
        "m",
        "-r",
        "w8",
        "--samples",
        "3",
        "--no-eval",
        "-o",
        "out",
    ];
    let plain = bench.quench(&words);
    let note = "calibration flags change nothing";
    plain.says(0, &[&format!("note: {note}")]);
    assert!(!plain.stderr.contains("note: note:"), "{}", plain.shown());
    let json = [&words[..], &["--progress", "json", "--force"]].concat();
    let json = bench.quench(&json);
    let told = json
        .stderr
        .lines()
        .find(|line| line.contains(note))
        .unwrap();
    let event: Value = serde_json::from_str(told).unwrap();
    assert_eq!(event["event"], "note");
    assert!(event["text"].as_str().unwrap().starts_with(note), "{told}");
    let bad = bench.quench(&["plan", "demo", "-r", "w44", "--progress", "json"]);
    let event: Value = serde_json::from_str(bad.stderr.trim()).unwrap();
    assert_eq!(
        (&event["event"], &event["exit_code"]),
        (&"error".into(), &3.into())
    );
}

/// Starts the program, interrupts it when stderr says `sign`, and returns all of stderr.
#[cfg(unix)]
fn interrupted(bench: &Workbench, words: &[&str], sign: &str) -> (i32, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_quench"))
        .current_dir(bench.path())
        .args(words)
        .args(["--progress", "plain"])
        .env("HF_HUB_OFFLINE", "1")
        .env("QUENCH_CACHE", bench.at("cache"))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut all = String::new();
    loop {
        let mut line = String::new();
        assert!(stderr.read_line(&mut line).unwrap() > 0, "it ended: {all}");
        all.push_str(&line);
        if line.contains(sign) {
            break;
        }
    }
    let id = child.id().to_string();
    let sent = Command::new("kill").args(["-INT", &id]).status().unwrap();
    assert!(sent.success());
    stderr.read_to_string(&mut all).unwrap();
    (child.wait().unwrap().code().unwrap_or(-1), all)
}

#[cfg(unix)]
#[test]
fn an_interruption_says_what_is_kept_and_how_to_go_on() {
    let bench = Workbench::new();
    bench.decoder("m");
    // Long enough to be caught in the middle.
    let words = [
        "quantize",
        "m",
        "-r",
        "squeeze-3",
        "--samples",
        "60",
        "-o",
        "out",
        "--threads",
        "1",
    ];
    let (code, stderr) = interrupted(&bench, &words, "quantize: 0/");
    assert_eq!(code, 130, "{stderr}");
    assert!(
        stderr.contains("error: interrupted: `out` holds no model yet"),
        "{stderr}"
    );
    assert!(
        stderr.contains("hint: run the same command again"),
        "{stderr}"
    );
    assert!(!stderr.contains('\u{1b}'), "{stderr:?}");
    assert!(!bench.at("out/config.json").exists());

    // The same folder is written from the start without more words.
    let short = ["quantize", "m", "-r", "w8", "-o", "out", "--no-eval", "-q"];
    let ended = bench.quench(&short);
    assert_eq!(ended.code, 0, "{}", ended.shown());
    let left = contents(&bench.at("out"));
    assert!(
        left.keys()
            .all(|path| path.extension().is_none_or(|e| e != "partial"))
    );
}

#[cfg(unix)]
#[test]
fn a_model_that_is_written_is_said_to_be() {
    let bench = Workbench::new();
    bench.decoder("m");
    let text = include_str!("../fixtures/text/sampled.txt").repeat(20);
    bench.write("t.txt", text);
    let words = [
        "quantize",
        "m",
        "-r",
        "w8",
        "-o",
        "out",
        "--eval-data",
        "t.txt",
        "--threads",
        "1",
    ];
    let (code, stderr) = interrupted(&bench, &words, "perplexity");
    assert_eq!(code, 130, "{stderr}");
    assert!(
        stderr.contains("interrupted: the model is written in `out`"),
        "{stderr}"
    );
    assert!(
        stderr.contains("hint: `quench eval 'out' --baseline 'm'"),
        "{stderr}"
    );
    assert!(bench.at("out/config.json").is_file());
}

#[test]
fn what_was_there_is_said_to_be_as_it_was() {
    let bench = Workbench::new();
    bench.decoder("m");
    let first = ["quantize", "m", "-r", "w8", "-o", "out", "--no-eval", "-q"];
    assert_eq!(bench.quench(&first).code, 0);
    #[cfg(unix)]
    {
        let before = fs_err::read(bench.at("out/model.safetensors")).unwrap();
        let words = [
            "quantize",
            "m",
            "-r",
            "squeeze-3",
            "--samples",
            "60",
            "-o",
            "out",
            "--force",
            "--threads",
            "1",
        ];
        let (code, stderr) = interrupted(&bench, &words, "quantize: 0/");
        assert_eq!(code, 130, "{stderr}");
        assert!(
            stderr.contains("the model in `out` is as it was"),
            "{stderr}"
        );
        assert!(fs_err::read(bench.at("out/model.safetensors")).unwrap() == before);
    }
}
