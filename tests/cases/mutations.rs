//! Damaged inputs of every kind: whatever is in a file or on the command line, the program ends with a documented
//! exit code other than that of a bug, prints no figure that is NaN and changes nothing but its output.
//!
//! `QUENCH_MUTATIONS=10000` runs that many of each kind instead of a few.

use crate::damage::{Dice, mutated};
use crate::workbench::{Ended, Workbench, contents, sentences, word_tokenizer};
use std::fmt::Write as _;
use std::path::PathBuf;

/// Mutations of each kind unless the environment says otherwise.
const FEW: u64 = 24;

fn count() -> u64 {
    let wanted = std::env::var("QUENCH_MUTATIONS").ok();
    wanted.map_or(FEW, |wanted| wanted.parse().unwrap())
}

/// What must hold of every run.
#[track_caller]
fn check(ended: &Ended, context: &str) {
    let known = [0, 2, 3, 4, 5, 6];
    assert!(known.contains(&ended.code), "{context}: {}", ended.shown());
    for word in ["panicked", "internal error"] {
        assert!(!ended.stderr.contains(word), "{context}: {}", ended.shown());
    }
    let figures = ended.stdout.split_whitespace();
    let nan = figures.filter(|word| word.trim_matches(|c: char| !c.is_alphabetic()) == "NaN");
    assert_eq!(nan.count(), 0, "{context}: {}", ended.shown());
}

/// Runs mutations of one file through commands; `words` gives those of a run.
fn of_file(bench: &Workbench, file: &str, range: Option<usize>, commands: &[&[&str]]) {
    let original = fs_err::read(bench.at(file)).unwrap();
    let end = range.unwrap_or(original.len());
    let seed = file
        .bytes()
        .fold(7_u64, |seed, byte| seed * 31 + u64::from(byte));
    for index in 0..count() {
        let mut dice = Dice(seed ^ (index << 20));
        let mut content = mutated(&original[..end], &mut dice);
        content.extend(&original[end..]);
        bench.write(file, &content);
        let before = inputs(bench);
        let words = commands[dice.below(commands.len())];
        let ended = bench.quench(words);
        let kept = std::env::temp_dir().join("quench-mutation");
        let context = format!("mutation {index} of `{file}`, `{}`", words.join(" "));
        if !(ended.code == 0 || ended.code >= 2) || ended.stderr.contains("internal error") {
            fs_err::write(&kept, &content).unwrap();
        }
        check(&ended, &context);
        assert!(inputs(bench) == before, "{context} changed its inputs");
    }
}

/// Everything but outputs and caches.
fn inputs(bench: &Workbench) -> Vec<(PathBuf, Vec<u8>)> {
    let own = ["out", "cache", "hub-cache", "quench-out"];
    let files = contents(bench.path()).into_iter();
    files
        .filter(|(path, _)| {
            let inside = path.strip_prefix(bench.path()).unwrap();
            let first = inside.components().next().unwrap().as_os_str();
            !own.iter().any(|name| first == *name)
        })
        .collect()
}

fn decoder(bench: &Workbench) {
    let model = bench.model("llama-plain-v4", "m");
    word_tokenizer(&model);
    let words: Vec<String> = (0..300).map(|at| format!("w{}", 4 + at * 7 % 92)).collect();
    bench.write("t.txt", words.join(" "));
    let recipe = "\
        [[layers]]\nmatch = \"*\"\nmethod = \"rtn\"\nbits = 4\n\
        [[evaluate]]\ntask = \"perplexity\"\ndata = \"t.txt\"\nsequence_length = 16\nlimit = 4\n";
    bench.write("r.toml", recipe);
}

const PLAN: &[&str] = &["plan", "m", "-r", "r.toml"];
const QUANTIZE: &[&str] = &[
    "quantize",
    "m",
    "-r",
    "r.toml",
    "-o",
    "out",
    "--force-foreign",
    "--threads",
    "1",
];
const EVAL: &[&str] = &["eval", "m", "-r", "r.toml", "--threads", "1"];
const INSPECT: &[&str] = &["inspect", "m"];

#[test]
fn of_config_json() {
    let bench = Workbench::new();
    decoder(&bench);
    of_file(&bench, "m/config.json", None, &[PLAN, QUANTIZE, EVAL]);
}

#[test]
fn of_tokenizer_json() {
    let bench = Workbench::new();
    decoder(&bench);
    of_file(&bench, "m/tokenizer.json", None, &[EVAL, QUANTIZE]);
}

#[test]
fn of_a_safetensors_header() {
    let bench = Workbench::new();
    decoder(&bench);
    let bytes = fs_err::read(bench.at("m/model.safetensors")).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap());
    let header = 8 + usize::try_from(length).unwrap();
    of_file(
        &bench,
        "m/model.safetensors",
        Some(header),
        &[PLAN, QUANTIZE, EVAL, INSPECT],
    );
}

#[test]
fn of_a_recipe() {
    let bench = Workbench::new();
    decoder(&bench);
    let recipe = "\
        name = \"mine\"\nseed = 3\n[calibration]\ndata = \"t.txt\"\nsamples = 2\nsequence_length = 16\n\
        mode = \"windows\"\nstride = 8\nselection = \"random\"\n\
        [[layers]]\nmatch = \"*.down_proj\"\nmethod = \"keep\"\n\
        [[layers]]\nmatch = \"re:.*self_attn.*\"\nmethod = \"gptq\"\nbits = 4\ngroup_size = 16\ndamping = 0.01\n\
        [[layers]]\nmatch = \"*\"\nmethod = \"kmeans\"\nbits = 3\n\
        [output]\nformat = \"auto\"\nshard_size = \"1MB\"\n[report]\noutput_sqnr = false\n\
        [[evaluate]]\ntask = \"perplexity\"\ndata = \"t.txt\"\nsequence_length = 16\nlimit = 2\n\
        [gate]\nperplexity_ratio = 9.0\n";
    bench.write("r.toml", recipe);
    of_file(&bench, "r.toml", None, &[PLAN, QUANTIZE, EVAL]);
}

#[test]
fn of_a_tsv() {
    let bench = Workbench::new();
    let model = bench.model("bert-classifier-relu", "m");
    word_tokenizer(&model);
    bench.write("d.tsv", sentences(12));
    of_file(
        &bench,
        "d.tsv",
        None,
        &[
            &["eval", "m", "--eval-data", "d.tsv", "--threads", "1"],
            &[
                "quantize",
                "m",
                "--calib",
                "d.tsv#sentence",
                "--samples",
                "4",
                "--eval-data",
                "d.tsv",
                "-o",
                "out",
                "--force-foreign",
                "--threads",
                "1",
            ],
        ],
    );
}

#[test]
fn of_a_jsonl() {
    let bench = Workbench::new();
    decoder(&bench);
    let mut lines = String::new();
    for row in 0..12 {
        let words: Vec<String> = (0..24)
            .map(|at| format!("w{}", 4 + (at * 5 + row) % 92))
            .collect();
        let _ = writeln!(
            lines,
            "{{\"text\": \"{}\", \"id\": {row}}}",
            words.join(" ")
        );
    }
    bench.write("d.jsonl", lines);
    of_file(
        &bench,
        "d.jsonl",
        None,
        &[
            &["eval", "m", "--eval-data", "d.jsonl#text", "--threads", "1"],
            &[
                "quantize",
                "m",
                "--method",
                "gptq",
                "--bits",
                "4",
                "--calib",
                "d.jsonl#text",
                "--samples",
                "2",
                "--sequence-length",
                "16",
                "--no-eval",
                "-o",
                "out",
                "--force-foreign",
                "--threads",
                "1",
            ],
        ],
    );
}

#[test]
fn of_an_image() {
    let bench = Workbench::new();
    bench.model("vit-classifier-no-bias", "m");
    let processor = "{\"image_processor_type\": \"ViTImageProcessor\", \"do_resize\": true, \
                     \"size\": {\"height\": 16, \"width\": 16}, \"do_rescale\": true, \
                     \"do_normalize\": true, \"image_mean\": [0.5, 0.5, 0.5], \"image_std\": [0.5, 0.5, 0.5]}";
    bench.write("m/preprocessor_config.json", processor);
    for class in 0..5_u8 {
        let mut picture = image::RgbImage::new(16, 16);
        for (x, y, pixel) in picture.enumerate_pixels_mut() {
            let mixed = u8::try_from((x * 7 + y * 3) % 256).unwrap();
            *pixel = image::Rgb([class * 40, mixed, 255 - mixed]);
        }
        let folder = bench.at(&format!("images/LABEL_{class}"));
        fs_err::create_dir_all(&folder).unwrap();
        let ending = if class % 2 == 0 { "png" } else { "jpg" };
        picture.save(folder.join(format!("a.{ending}"))).unwrap();
    }
    let words: &[&[&str]] = &[&["eval", "m", "--eval-data", "images", "--threads", "1"]];
    let whole = bench.quench(words[0]);
    assert_eq!(whole.code, 0, "{}", whole.shown());
    of_file(&bench, "images/LABEL_2/a.png", None, words);
    let original = fs_err::read(bench.at("images/LABEL_4/a.png")).unwrap();
    bench.write("images/LABEL_2/a.png", original);
    of_file(&bench, "images/LABEL_3/a.jpg", None, words);
}

#[expect(clippy::too_many_lines, reason = "most of them are the words")]
#[test]
fn of_the_argument_list() {
    const COMMANDS: [&str; 8] = [
        "plan", "quantize", "eval", "inspect", "export", "report", "list", "help",
    ];
    const PLACES: [&str; 16] = [
        "m",
        "m/config.json",
        "r.toml",
        "t.txt",
        "t.txt#a",
        "out",
        "out/x",
        ".",
        "..",
        "",
        "org/name",
        "org/name@v1",
        "hub:a/b/c.tsv#d",
        "synthetic",
        "/dev/null",
        "m/../m",
    ];
    const FLAGS: [&str; 28] = [
        "-r",
        "--recipe",
        "-o",
        "--output",
        "--bits",
        "--method",
        "--format",
        "--calib",
        "--samples",
        "--sequence-length",
        "--seed",
        "--threads",
        "--device",
        "--eval-data",
        "--gate",
        "--baseline",
        "--revision",
        "--dtype",
        "--progress",
        "--json",
        "-q",
        "-v",
        "--force",
        "--no-eval",
        "--offline",
        "--keep-statistics",
        "--",
        "--help",
    ];
    const VALUES: [&str; 22] = [
        "rtn",
        "gptq",
        "kmeans",
        "none",
        "4",
        "8",
        "0",
        "-1",
        "99",
        "auto",
        "dense",
        "quench",
        "f16",
        "cpu",
        "cuda:0",
        "perplexity_ratio<=1.1",
        "accuracy>=x",
        "json",
        "plain",
        "w4",
        "recipes",
        "models",
    ];
    let bench = Workbench::new();
    decoder(&bench);
    for index in 0..count() {
        let mut dice = Dice(0x5eed ^ (index << 20));
        let mut words = vec![dice.one_of(&COMMANDS).to_owned()];
        if dice.below(4) > 0 {
            words.push("m".to_owned());
        }
        for _ in 0..dice.below(6) {
            let all: &[&str] = match dice.below(4) {
                0 => &PLACES,
                1 | 2 => &FLAGS,
                _ => &VALUES,
            };
            words.push(dice.one_of(all).to_owned());
        }
        if dice.below(5) == 0 {
            let at = dice.below(words.len());
            let odd = mutated(words[at].as_bytes(), &mut dice);
            words[at] = String::from_utf8_lossy(&odd).replace('\0', "?");
        }
        // The program's own model takes seconds, and its folder is nobody's business here.
        if words.iter().any(|word| word == "quantize") && !words.contains(&"m".to_owned()) {
            words.push("m".to_owned());
        }
        let before = inputs(&bench);
        let ended = bench.quench_with(&words, &[]);
        let context = format!("mutation {index}, {words:?}");
        check(&ended, &context);
        // An output may have any name; what was there before has to be there still.
        let after = inputs(&bench);
        let kept = before.iter().all(|file| after.contains(file));
        assert!(kept, "{context} changed its inputs");
        for (path, _) in after {
            if !before.iter().any(|(known, _)| *known == path) {
                fs_err::remove_file(path).unwrap();
            }
        }
        let _ = std::fs::remove_dir_all(bench.at("out"));
    }
}
