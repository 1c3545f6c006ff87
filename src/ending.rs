//! How the program ends when it does not end well: an error, a bug or Ctrl-C, as lines for a person or as
//! JSON for a program.

use crate::args::{ConsoleArgs, ProgressMode};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::io::Write as _;
use std::panic::PanicHookInfo;
use std::sync::atomic::{AtomicBool, Ordering};

/// The result on stdout is JSON (`--json`).
static JSON_RESULT: AtomicBool = AtomicBool::new(false);
/// Lines on stderr are JSON (`--progress json`).
static JSON_LINES: AtomicBool = AtomicBool::new(false);
/// A bug was reported already: what its unwinding breaks on the way is none of its own.
static BUG_REPORTED: AtomicBool = AtomicBool::new(false);

/// Longest text of a bug that is printed.
const LONGEST: usize = 400;

/// Exit codes of the program, stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitCode {
    /// Everything asked for was done.
    Done = 0,
    /// A bug in quench.
    Bug = 1,
    /// The command line cannot be understood.
    Usage = 2,
    /// Recipe, pattern and model do not fit each other.
    Mismatch = 3,
    /// Download, authentication, disk, or a file that cannot be read.
    Io = 4,
    /// Not enough memory.
    Memory = 5,
    /// An accuracy gate failed; the files are written and marked.
    Gate = 6,
    /// The written files do not decode to what was quantized.
    Verification = 7,
    /// Stopped by Ctrl-C.
    Interrupted = 130,
}

/// What is said at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// What happened.
    pub message: String,
    /// Why, outermost first.
    pub causes: Vec<String>,
    /// What to do: at most one line.
    pub hint: Option<String>,
    /// The exit code of the program.
    pub code: ExitCode,
}

/// Has endings printed as the command line says.
pub fn configure(console: &ConsoleArgs) {
    JSON_RESULT.store(console.json, Ordering::Relaxed);
    let lines = console.progress == ProgressMode::Json;
    JSON_LINES.store(lines, Ordering::Relaxed);
}

/// Has endings printed as JSON before the command line is understood.
pub fn print_json_results() {
    JSON_RESULT.store(true, Ordering::Relaxed);
}

impl Ending {
    /// `error: ...`, `  cause: ...` for every cause, `hint: ...`; ends in a newline.
    pub fn text(&self) -> String {
        let mut text = format!("error: {}\n", self.message);
        for cause in &self.causes {
            let _ = writeln!(text, "  cause: {}", cause.replace('\n', "\n         "));
        }
        if let Some(hint) = &self.hint {
            let _ = writeln!(text, "hint: {hint}");
        }
        text
    }

    /// The same as an object.
    pub fn json(&self) -> Value {
        json!({
            "message": self.message,
            "causes": self.causes,
            "hint": self.hint,
            "exit_code": self.code as u8,
        })
    }

    /// Prints it; streams that are closed are no error, there is nobody to tell.
    ///
    /// `{"error": ...}` goes to stdout under `--json`, unless the result is there already and says that a gate
    /// failed.
    pub fn print(&self) {
        if JSON_RESULT.load(Ordering::Relaxed) && self.code != ExitCode::Gate {
            let object = json!({ "error": self.json() });
            let _ = writeln!(std::io::stdout().lock(), "{object:#}");
        }
        let text = if JSON_LINES.load(Ordering::Relaxed) {
            let mut event = json!({ "event": "error" });
            if let (Some(event), Value::Object(facts)) = (event.as_object_mut(), self.json()) {
                event.extend(facts);
            }
            format!("{event}\n")
        } else {
            self.text()
        };
        let _ = std::io::stderr().lock().write_all(text.as_bytes());
    }
}

/// Where a bug is reported.
pub(crate) fn report_it() -> String {
    let place = match env!("CARGO_PKG_REPOSITORY") {
        "" => "in the issue list of the repository it was built from",
        address => address,
    };
    format!(
        "this is a bug in quench: please report it with the command line and the recipe, {place}"
    )
}

/// Has a panic end in one line and a hint instead of a stack trace, unless `RUST_BACKTRACE` asks for one.
pub fn install_panic_hook() {
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if calib::foreign_code::is_guarded() {
            return;
        }
        if !BUG_REPORTED.swap(true, Ordering::Relaxed) {
            of_panic(info).print();
        }
        if std::env::var_os("RUST_BACKTRACE").is_some_and(|value| value != "0") {
            default(info);
        }
    }));
}

fn of_panic(info: &PanicHookInfo<'_>) -> Ending {
    let said = info.payload_as_str().unwrap_or("no message");
    let said: String = said.lines().collect::<Vec<_>>().join(" ");
    let said: String = said.chars().take(LONGEST).collect();
    let place = info
        .location()
        .map_or_else(String::new, |at| format!(" ({}:{})", at.file(), at.line()));
    Ending {
        message: format!("internal error: {said}{place}"),
        causes: Vec::new(),
        hint: Some(report_it()),
        code: ExitCode::Bug,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ending_is_the_same_as_text_and_as_json() {
        let ending = Ending {
            message: "cannot read `a`".to_owned(),
            causes: vec!["no\nluck".to_owned()],
            hint: Some("try `b`".to_owned()),
            code: ExitCode::Io,
        };
        assert_eq!(
            ending.text(),
            "error: cannot read `a`\n  cause: no\n         luck\nhint: try `b`\n"
        );
        let json = ending.json();
        assert_eq!(json["causes"][0], "no\nluck");
        assert_eq!(json["exit_code"], 4);
    }
}
