//! What a run takes of this machine: threads, device, memory and disk, checked before any work.

use crate::Error;
use crate::args::MachineArgs;
use crate::machine::Machine;
use crate::plan::Plan;
use crate::progress::memory;
use std::path::Path;

/// Share of the predicted output the disk must hold besides it, for headers and reports.
const SLACK: f64 = 1.02;

/// Builds the thread pool and checks that this build has the device.
pub(super) fn prepare(args: &MachineArgs) -> Result<Machine, Error> {
    args.device.check()?;
    let threads = args.threads.unwrap_or_else(available_threads);
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build_global()
        .map_err(|error| Error::Bug {
            message: format!("cannot start {threads} threads"),
            source: Some(error.into()),
        })?;
    Ok(Machine {
        device: args.device,
        threads,
    })
}

/// Threads this machine has.
pub(super) fn available_threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Checks that a plan fits.
///
pub(super) fn check(plan: &Plan, output: &Path) -> Result<(), Error> {
    let needed_bytes = plan.estimate.memory_bytes;
    if let Some(free_bytes) = memory::available_bytes()
        && needed_bytes > free_bytes
    {
        return Err(Error::Memory {
            needed_bytes,
            free_bytes,
        });
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a size in bytes, far below 2^53"
    )]
    let needed_bytes = (plan.size.artifact_bytes as f64 * SLACK) as u64
        + plan.estimate.scratch_bytes
        + plan.estimate.kept_bytes;
    if let Some(free_bytes) = free_disk_bytes(output)
        && needed_bytes > free_bytes
    {
        return Err(Error::Disk {
            path: output.to_owned(),
            needed_bytes,
            free_bytes,
        });
    }
    Ok(())
}

/// Free bytes where `path` would be created; `None` where the system does not say.
#[cfg(unix)]
fn free_disk_bytes(path: &Path) -> Option<u64> {
    let absolute = std::path::absolute(path).ok()?;
    let existing = absolute.ancestors().find(|folder| folder.exists())?;
    let found = rustix::fs::statvfs(existing).ok()?;
    found.f_bavail.checked_mul(found.f_frsize)
}

#[cfg(not(unix))]
fn free_disk_bytes(_path: &Path) -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    #[test]
    #[cfg(unix)]
    fn the_disk_of_a_folder_that_does_not_exist_yet_is_that_of_its_parent() {
        let folder = tempfile::tempdir().unwrap();
        let free = super::free_disk_bytes(&folder.path().join("not/yet"));
        assert!(free.is_some_and(|bytes| bytes > 0));
    }
}
