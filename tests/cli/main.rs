//! The program as a person meets it: words in, words and exit codes out.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod commands;
mod errors;
mod help;
mod road;

use assert_cmd::Command;
use std::fmt::Write as _;
use std::path::Path;

/// What a run ended with.
struct Ended {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Ended {
    /// Everything in one snapshot.
    fn shown(&self) -> String {
        let mut text = format!("exit code {}\n", self.code);
        for (name, stream) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            if !stream.is_empty() {
                let _ = write!(text, "--- {name} ---\n{stream}");
            }
        }
        text
    }
}

/// Runs the program in `folder`, without a Hub and without colours.
fn quench_in(folder: &Path, words: &[&str]) -> Ended {
    let output = Command::new(env!("CARGO_BIN_EXE_quench"))
        .current_dir(folder)
        .args(words)
        .env("HF_HUB_OFFLINE", "1")
        .env("HF_HOME", folder.join("hub-cache"))
        .env("QUENCH_CACHE", folder.join("cache"))
        .env("NO_COLOR", "1")
        .output()
        .unwrap();
    let here = folder.to_string_lossy().into_owned();
    let text = |bytes| String::from_utf8(bytes).unwrap().replace(&here, "[HERE]");
    Ended {
        code: output.status.code().unwrap_or(-1),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

/// Runs the program in an empty folder.
fn quench(words: &[&str]) -> Ended {
    let folder = tempfile::tempdir().unwrap();
    quench_in(folder.path(), words)
}
