//! Data that is missing, short or half decoded: an error with file and line, or a counted note; never a figure over
//! nothing.

use crate::datasets::{
    figure, image_classifier, image_folders, picture, sentences, text_classifier,
};
use crate::workbench::{Ended, Workbench};
use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, ImageEncoder, RgbImage, imageops};
use std::path::Path;

fn eval(bench: &Workbench, model: &str, data: &str) -> Ended {
    bench.quench(&[
        "eval",
        model,
        "--eval-data",
        data,
        "--json",
        "-q",
        "--threads",
        "1",
    ])
}

/// Quantizes the decoder `m` with statistics of `data`.
fn calibrate(bench: &Workbench, data: &str, samples: &str) -> Ended {
    bench.quench(&[
        "quantize",
        "m",
        "-o",
        "out",
        "--force",
        "--method",
        "gptq",
        "--bits",
        "4",
        "--calib",
        data,
        "--samples",
        samples,
        "--sequence-length",
        "32",
        "--no-eval",
        "--json",
        "--threads",
        "1",
    ])
}

#[track_caller]
fn assert_noted(ended: &Ended, note: &str) {
    assert_eq!(ended.code, 0, "{}", ended.shown());
    let warnings = ended.json()["warnings"].to_string();
    assert!(warnings.contains(note), "{}", ended.shown());
}

/// JSON lines with a text of its own each, as `row` writes it.
fn lines(count: usize, row: impl Fn(usize, &str) -> String) -> String {
    let texts = (0..count).map(|at| format!("the {at} stories of a river and of a town"));
    let rows = texts.enumerate().map(|(at, text)| row(at, &text) + "\n");
    rows.collect()
}

#[test]
fn keys_that_nobody_asked_for_are_no_matter() {
    let bench = Workbench::new();
    bench.decoder("m");
    bench.write(
        "a.jsonl",
        lines(6, |at, text| match at {
            0 => format!("{{\"text\": \"{text}\", \"meta\": {{\"id\": 1}}}}"),
            3 => format!("{{\"id\": 3, \"text\": \"{text}\"}}"),
            _ => format!("{{\"text\": \"{text}\"}}"),
        }),
    );
    let ended = calibrate(&bench, "a.jsonl#text", "6");
    assert_eq!(ended.code, 0, "{}", ended.shown());
    assert!(!ended.stderr.contains("left out"), "{}", ended.shown());
    calibrate(&bench, "a.jsonl#meta", "6").says(
        3,
        &["`a.jsonl` line 1: expected text in `meta`, found an object"],
    );
    calibrate(&bench, "a.jsonl#texts", "6").says(4, &["did you mean `text`?"]);
}

#[test]
fn null_and_absent_text_is_counted_and_never_a_word() {
    let bench = Workbench::new();
    bench.decoder("m");
    let row = |at: usize, text: &str| match at {
        1 => "{\"text\": null}".to_owned(),
        4 => "{\"title\": \"none\"}".to_owned(),
        5 => "{\"text\": \"  \"}".to_owned(),
        _ => format!("{{\"text\": \"{text}\"}}"),
    };
    bench.write("holes.jsonl", lines(8, row));
    let told = "`holes.jsonl`: 3 rows without text in `text` are left out (the first at line 2)";
    assert_noted(&calibrate(&bench, "holes.jsonl#text", "5"), told);
    // Perplexity of the rows with text is that of a file without the others.
    bench.write(
        "whole.jsonl",
        lines(40, |_, text| format!("{{\"text\": \"{text}\"}}")),
    );
    let whole = fs_err::read_to_string(bench.at("whole.jsonl")).unwrap();
    bench.write(
        "nulls.jsonl",
        format!("{{\"text\": null}}\n{whole}{{\"text\": null}}\n"),
    );
    let found = ["whole.jsonl#text", "nulls.jsonl#text"].map(|data| {
        let ended = eval(&bench, "m", data);
        assert_eq!(ended.code, 0, "{}", ended.shown());
        figure(&ended.json(), "perplexity").to_bits()
    });
    assert_eq!(found[0], found[1]);
    bench.write("none.jsonl", "{\"text\": null}\n{\"text\": null}\n");
    eval(&bench, "m", "none.jsonl#text").says(3, &["has no text in `text`: 2 rows"]);
}

#[test]
fn rows_without_text_are_left_out_of_a_table_and_labels_are_not() {
    let bench = Workbench::new();
    text_classifier(&bench, "m");
    let rows = sentences(9, &["0", "1", "2"]);
    bench.write("whole.tsv", &rows);
    bench.write(
        "blank.tsv",
        rows.replacen("\tlabel\n", "\tlabel\n\t1\n \t2\n", 1),
    );
    let blank = eval(&bench, "m", "blank.tsv");
    assert_noted(
        &blank,
        "`blank.tsv`: 2 rows without text in `sentence` are left out (the first at line 2)",
    );
    assert_eq!(blank.json()["scores"][0]["samples"], 9);
    let whole = eval(&bench, "m", "whole.tsv").json();
    assert_eq!(
        figure(&whole, "cross_entropy").to_bits(),
        figure(&blank.json(), "cross_entropy").to_bits()
    );
    bench.write("gap.tsv", rows.replacen("\tlabel\n", "\tlabel\n\n", 1));
    assert_noted(
        &eval(&bench, "m", "gap.tsv"),
        "1 row of nothing is left out (the first at line 2)",
    );
    let json = "{\"sentence\": \"w4 w5\", \"label\": 1}\n{\"sentence\": \"w6\", \"label\": null}\n";
    bench.write("label.jsonl", json);
    eval(&bench, "m", "label.jsonl").says(3, &["`label.jsonl` line 2", "found nothing"]);
}

#[test]
fn no_rows_are_an_error_and_no_figure() {
    let bench = Workbench::new();
    text_classifier(&bench, "m");
    bench.decoder("d");
    bench.write("empty.tsv", "sentence\tlabel\n");
    eval(&bench, "m", "empty.tsv").says(4, &["`empty.tsv` has no rows"]);
    bench.write("empty.jsonl", "\n\n");
    eval(&bench, "d", "empty.jsonl#text").says(4, &["`empty.jsonl` has no rows"]);
    bench.write("empty.txt", "");
    eval(&bench, "d", "empty.txt").says(3, &["gives no sequence of 256 tokens: it has 0"]);
    bench.write("blank.tsv", "sentence\tlabel\n \t1\n");
    eval(&bench, "m", "blank.tsv").says(3, &["has no text in `sentence`"]);
}

#[test]
fn a_rank_correlation_over_equal_scores_is_an_error() {
    let bench = Workbench::new();
    let encoder = bench.model("bert-prefixed-greek", "e");
    crate::datasets::write_tokenizer(&encoder, 60);
    let pairs = |scores: &[&str]| {
        let rows = scores.iter().enumerate();
        let rows = rows.map(|(at, score)| format!("w{} w7\tw8 w{}\t{score}\n", at + 4, at + 9));
        "sentence1\tsentence2\tscore\n".to_owned() + &rows.collect::<String>()
    };
    bench.write("same.tsv", pairs(&["2", "2", "2"]));
    let told = "a rank correlation needs different scores, and all 3 pairs have the same";
    eval(&bench, "e", "same.tsv").says(3, &[told]);
    bench.write("one.tsv", pairs(&["2"]));
    eval(&bench, "e", "one.tsv").says(3, &["all 1 pairs"]);
    bench.write("gap.tsv", pairs(&["2", "", "1"]));
    eval(&bench, "e", "gap.tsv").says(3, &["`gap.tsv` line 3: expected a number in `score`"]);
    bench.write("fine.tsv", pairs(&["2", "3", "1"]));
    assert_eq!(eval(&bench, "e", "fine.tsv").code, 0);
}

#[test]
fn fewer_samples_than_asked_for_are_told() {
    let bench = Workbench::new();
    bench.decoder("m");
    bench.text("text.txt");
    let ended = calibrate(&bench, "text.txt", "1000");
    assert_eq!(ended.code, 0, "{}", ended.shown());
    ended.says(
        0,
        &[
            "note: calibrated on ",
            " of 1000 samples: `text.txt` gives no more of 32 tokens",
        ],
    );
    bench.write(
        "few.jsonl",
        lines(5, |_, text| format!("{{\"text\": \"{text}\"}}")),
    );
    assert_noted(
        &calibrate(&bench, "few.jsonl#text", "8"),
        "calibrated on 5 of 8 samples",
    );
    bench.write(
        "judge.toml",
        "[[evaluate]]\ntask = \"perplexity\"\ndata = \"text.txt\"\nlimit = 500\nsequence_length = 64\n",
    );
    let judged = bench.quench(&["eval", "m", "-r", "judge.toml", "--json", "-q"]);
    assert_noted(&judged, "of 500 sequences: `text.txt` gives no more");
}

/// Writes a JPEG with an EXIF orientation.
fn write_jpeg(path: &Path, picture: &RgbImage, orientation: u8) {
    let mut bytes = Vec::new();
    let mut encoder = JpegEncoder::new_with_quality(&mut bytes, 100);
    // A little-endian TIFF header and one entry: tag 0x0112, one short.
    let mut exif = b"II\x2a\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".to_vec();
    exif.extend([orientation, 0, 0, 0, 0, 0, 0, 0]);
    encoder.set_exif_metadata(exif).unwrap();
    let (width, height) = picture.dimensions();
    encoder
        .write_image(picture, width, height, ExtendedColorType::Rgb8)
        .unwrap();
    fs_err::create_dir_all(path.parent().unwrap()).unwrap();
    fs_err::write(path, bytes).unwrap();
}

#[test]
fn photos_are_seen_upright() {
    let bench = Workbench::new();
    image_classifier(&bench, "v");
    for index in 0..10 {
        let upright = picture(index);
        let name = format!("{}/{index}.jpg", index % 5);
        write_jpeg(&bench.at("upright").join(&name), &upright, 1);
        // Stored as the camera held it: 6 wants a quarter turn to the right, 3 half a turn, 2 a mirror.
        write_jpeg(
            &bench.at("six").join(&name),
            &imageops::rotate270(&upright),
            6,
        );
        write_jpeg(
            &bench.at("three").join(&name),
            &imageops::rotate180(&upright),
            3,
        );
        write_jpeg(
            &bench.at("two").join(&name),
            &imageops::flip_horizontal(&upright),
            2,
        );
        write_jpeg(
            &bench.at("untold").join(&name),
            &imageops::rotate270(&upright),
            1,
        );
    }
    let loss = |data: &str| figure(&eval(&bench, "v", data).json(), "cross_entropy");
    let upright = loss("upright");
    for turned in ["six", "three", "two"] {
        // Blocks of a JPEG lie otherwise in a picture that is turned.
        assert!(
            (loss(turned) - upright).abs() < 0.05,
            "{turned}: {} {upright}",
            loss(turned)
        );
    }
    assert!((loss("untold") - upright).abs() > 0.05);
}

#[test]
fn an_image_that_is_cut_short_is_named() {
    let bench = Workbench::new();
    image_classifier(&bench, "v");
    image_folders(&bench, "im", &["0", "1"]);
    let path = bench.at("im/1/cut.jpg");
    write_jpeg(&path, &picture(3), 1);
    let whole = fs_err::read(&path).unwrap();
    assert_eq!(eval(&bench, "v", "im").code, 0);
    for length in [whole.len() - 1, whole.len() * 3 / 4, whole.len() / 2] {
        fs_err::write(&path, &whole[..length]).unwrap();
        eval(&bench, "v", "im").says(3, &["im/1/cut.jpg"]);
    }
    fs_err::remove_file(&path).unwrap();
    let path = bench.at("im/1/cut.png");
    picture(3).save(&path).unwrap();
    let whole = fs_err::read(&path).unwrap();
    fs_err::write(&path, &whole[..whole.len() / 2]).unwrap();
    eval(&bench, "v", "im").says(3, &["im/1/cut.png"]);
    // What a clone without Git LFS leaves of it.
    fs_err::write(&path, crate::messages::POINTER).unwrap();
    let ended = eval(&bench, "v", "im");
    assert_ne!(ended.code, 0);
    ended.says(
        ended.code,
        &["im/1/cut.png", "Git LFS pointer", "git lfs pull"],
    );
}

#[test]
fn windows_line_ends_are_noted() {
    let bench = Workbench::new();
    bench.decoder("m");
    bench.text("lf.txt");
    let text = fs_err::read_to_string(bench.at("lf.txt")).unwrap() + "\nand a last line\n";
    bench.write("crlf.txt", text.replace('\n', "\r\n"));
    let ended = eval(&bench, "m", "crlf.txt");
    assert_noted(
        &ended,
        "Windows line ends (CR LF), which are read as they are",
    );
    let plain = eval(&bench, "m", "lf.txt").json();
    assert!(
        !plain["warnings"].to_string().contains("line ends"),
        "{plain:#}"
    );
    bench.write("t.tsv", "text\r\none two three\r\n");
    assert!(!calibrate(&bench, "t.tsv", "1").stdout.contains("line ends"));
}

#[test]
fn text_of_another_encoding_names_the_line() {
    let bench = Workbench::new();
    bench.decoder("m");
    bench.write("latin.txt", b"one line\nna\xefve\n");
    eval(&bench, "m", "latin.txt").says(
        4,
        &["`latin.txt` line 2: expected UTF-8 text, found the byte 0xef"],
    );
    bench.write("wide.txt", b"\xff\xfeh\0e\0l\0l\0o\0");
    eval(&bench, "m", "wide.txt").says(4, &["found UTF-16"]);
}
