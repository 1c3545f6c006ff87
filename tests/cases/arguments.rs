//! Arguments of every kind: names in any script, bytes that are no UTF-8, words that make no sense; never a panic.

use crate::workbench::Workbench;
use std::ffi::OsString;

#[test]
fn names_in_other_scripts_with_blanks_and_quotes_work() {
    let bench = Workbench::new();
    let model = "μοντέλο 모델 'x' \"y\" $z";
    bench.decoder(model);
    let data = "ガ text – ñ.txt";
    bench.text(data);
    let words = [
        "quantize",
        model,
        "-o",
        "έξοδος 出力 !",
        "--eval-data",
        data,
    ];
    let words = [&words[..], &["--method", "rtn", "--bits", "8", "-q"]].concat();
    let ended = bench.quench(&words);
    assert_eq!(ended.code, 0, "{}", ended.shown());
    let again = bench.quench(&["eval", "έξοδος 出力 !", "--eval-data", data, "-q"]);
    assert_eq!(again.code, 0, "{}", again.shown());
}

#[cfg(unix)]
#[test]
fn bytes_that_are_no_utf8_are_written_to_or_refused() {
    use std::os::unix::ffi::OsStringExt;
    let bench = Workbench::new();
    bench.model("llama-plain-v4", "m");
    let odd = |text: &[u8]| OsString::from_vec(text.to_vec());
    let plain = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
    let run = |words: Vec<OsString>| bench.quench_with(&words, &[]);

    let mut words = plain(&[
        "quantize",
        "m",
        "--method",
        "rtn",
        "--bits",
        "4",
        "--no-eval",
        "-o",
    ]);
    words.push(odd(b"out\xff"));
    let ended = run(words);
    assert_eq!(ended.code, 0, "{}", ended.shown());
    for (before, bytes) in [
        (&["plan"][..], &b"m\xfe"[..]),
        (&["plan", "m", "-r"], b"r\xff.toml"),
        (&["plan", "m", "--calib"], b"\xc3\x28.txt"),
        (&["list"], b"\xff"),
        (&["plan", "m"], b"--\xff"),
        (&["export", "m", "--format", "dense", "-o"], b"e\xff"),
        (&["report"], b"\xf0\x28\x8c\xbc"),
    ] {
        let mut words = plain(before);
        words.push(odd(bytes));
        let ended = run(words);
        assert!([0, 2, 4].contains(&ended.code), "{}", ended.shown());
        assert!(!ended.stderr.contains("panicked"), "{}", ended.shown());
        assert!(
            !ended.stderr.contains("internal error"),
            "{}",
            ended.shown()
        );
    }
}

#[cfg(target_os = "linux")]
#[test]
fn odd_files_in_the_model_folder_are_left_alone() {
    use std::os::unix::ffi::OsStringExt;
    let bench = Workbench::new();
    let model = bench.model("llama-plain-v4", "m");
    let odd = OsString::from_vec(b"LICENSE\xff".to_vec());
    std::fs::write(model.join(odd), "text").unwrap();
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
}

#[test]
fn words_that_make_no_sense_end_with_two_and_one_error() {
    let bench = Workbench::new();
    for words in [
        &["plan", "demo", "--bits", "four"][..],
        &["plan", "demo", "--samples", "-1"],
        &["plan", "demo", "--samples", "99999999999999999999999"],
        &["quantize", "demo", "--gate", "=<>"],
        &["quantize", "demo", "--device", "cuda:x"],
        &["list", "nothing"],
        &["list", "methods", "rtn"],
        &["report"],
        &["", ""],
        &["plan", ""],
    ] {
        let ended = bench.quench(words);
        assert!([2, 4].contains(&ended.code), "{words:?}: {}", ended.shown());
        assert_eq!(
            ended.stderr.matches("error:").count(),
            1,
            "{}",
            ended.shown()
        );
    }
}
