//! Ctrl-C: leave at once with exit code 130.
//!
//! Files under way carry the ending `.partial` until they are complete, so leaving at any instant
//! leaves nothing that looks finished.

use crate::ExitCode;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Folders to remove on the way out.
static TEMPORARY: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Takes over Ctrl-C and termination requests.
///
/// # Errors
/// A system that does not let us.
pub fn install() -> std::io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    std::thread::Builder::new()
        .name("interrupt".to_owned())
        .spawn(move || {
            if signals.forever().next().is_none() {
                return;
            }
            let folders = TEMPORARY.lock().unwrap_or_else(PoisonError::into_inner);
            for folder in folders.iter() {
                // What cannot be removed lies in the system's temporary folder.
                let _ = fs_err::remove_dir_all(folder);
            }
            // Ends the line a bar is on and shows the cursor again.
            let _ = std::io::stderr()
                .lock()
                .write_all(b"\r\x1b[K\x1b[?25herror: interrupted\n");
            #[expect(
                clippy::exit,
                reason = "this thread is the only one that can end the program"
            )]
            std::process::exit(i32::from(ExitCode::Interrupted as u8));
        })?;
    Ok(())
}

/// Has a folder removed if the program is interrupted.
pub fn remove_on_interrupt(folder: &Path) {
    TEMPORARY
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(folder.to_owned());
}
