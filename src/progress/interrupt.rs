//! Ctrl-C: say what is kept and how to go on, and leave at once with exit code 130.
//!
//! Files under way carry the ending `.partial` until they are complete, so leaving at any instant
//! leaves nothing that looks finished.

use crate::ExitCode;
use crate::ending::Ending;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Folders to remove on the way out.
static TEMPORARY: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// What an interruption would leave, innermost last.
static SITUATIONS: Mutex<Vec<Left>> = Mutex::new(Vec::new());

/// What an interruption calls instead of ending the program.
static STOP: Mutex<Option<Stop>> = Mutex::new(None);

/// Has something stop in its own time.
type Stop = Box<dyn FnOnce() + Send>;

/// What an interruption leaves.
#[derive(Debug, Clone)]
struct Left {
    /// Tells it from others that say the same.
    number: usize,
    kept: String,
    next: String,
}

/// For as long as it lives, an interruption says what this says.
#[derive(Debug)]
pub struct Situation(usize);

impl Situation {
    /// `kept` says what an interruption now would leave, `next` how to go on.
    pub fn new(kept: impl Into<String>, next: impl Into<String>) -> Self {
        let mut all = lock(&SITUATIONS);
        let number = all.last().map_or(0, |last| last.number + 1);
        all.push(Left {
            number,
            kept: kept.into(),
            next: next.into(),
        });
        Self(number)
    }
}

impl Drop for Situation {
    fn drop(&mut self) {
        lock(&SITUATIONS).retain(|left| left.number != self.0);
    }
}

/// Takes over Ctrl-C and termination requests.
///
/// # Errors
/// A system that does not let us.
pub fn install() -> std::io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    std::thread::Builder::new()
        .name("interrupt".to_owned())
        .spawn(move || {
            loop {
                if signals.forever().next().is_none() {
                    return;
                }
                let Some(stop) = lock(&STOP).take() else {
                    break;
                };
                stop();
            }
            for folder in lock(&TEMPORARY).iter() {
                // What cannot be removed lies in the system's temporary folder.
                let _ = fs_err::remove_dir_all(folder);
            }
            let mut stderr = std::io::stderr().lock();
            if stderr.is_terminal() {
                // Ends the line a bar is on and shows the cursor again.
                let _ = stderr.write_all(b"\r\x1b[K\x1b[?25h");
            }
            drop(stderr);
            ending().print();
            #[expect(
                clippy::exit,
                reason = "this thread is the only one that can end the program"
            )]
            std::process::exit(i32::from(ExitCode::Interrupted as u8));
        })?;
    Ok(())
}

/// Has the next interruption call `stop`; the one after it ends the program.
pub fn stop_by(stop: impl FnOnce() + Send + 'static) {
    *lock(&STOP) = Some(Box::new(stop));
}

/// What is said of an interruption now.
fn ending() -> Ending {
    let (kept, next) = match lock(&SITUATIONS).last() {
        Some(left) => (left.kept.clone(), left.next.clone()),
        None => (
            "nothing was written".to_owned(),
            "run the same command again".to_owned(),
        ),
    };
    Ending {
        message: format!("interrupted: {kept}"),
        causes: Vec::new(),
        hint: Some(next),
        code: ExitCode::Interrupted,
    }
}

/// Has a folder removed if the program is interrupted.
pub fn remove_on_interrupt(folder: &Path) {
    lock(&TEMPORARY).push(folder.to_owned());
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_situation_is_told_and_ends_with_its_work() {
        let outer = Situation::new("outer", "go on");
        let inner = Situation::new("inner", "go on");
        assert_eq!(ending().message, "interrupted: inner");
        drop(inner);
        assert_eq!(ending().message, "interrupted: outer");
        drop(outer);
        assert_eq!(ending().message, "interrupted: nothing was written");
    }
}
