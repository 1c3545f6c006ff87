//! What a run takes of this machine: threads, device, memory and disk, checked before any work.

use crate::args::MachineArgs;
use crate::machine::Machine;
use crate::model::OpenModel;
use crate::plan::Plan;
use crate::progress::{Progress, memory};
use crate::{Error, cache};
use quantizers::formats::{ArtifactReader, Format, side_file_bytes};
use std::path::{Path, PathBuf};

/// Share of the predicted weights the disk must hold besides them, for headers.
const SLACK: f64 = 1.02;
/// Reports of a model, and what each layer adds.
const REPORT_BYTES: u64 = 64 << 10;
const REPORT_LAYER_BYTES: u64 = 2 << 10;

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

/// Checks that a plan fits: its memory, and on each disk everything that is there at the same time.
pub(super) fn check(
    plan: &Plan,
    model: &Path,
    output: &Path,
    progress: &Progress,
) -> Result<(), Error> {
    check_memory(plan)?;
    let written = room_to_write(plan, side_file_bytes(model));
    let cached = plan.estimate.scratch_bytes + plan.estimate.kept_bytes;
    if cached == 0 {
        return check_disk(output, written, false);
    }
    let cache = cache::folder(progress);
    if same_disk(output, cache) {
        return check_disk(output, written + cached, false);
    }
    check_disk(output, written, false)?;
    check_disk(cache, cached, true)
}

/// Checks that measuring fits, of which a file of scores is left: its memory, and `decoded` bytes of layers that wait
/// for the model to be run with them beside the scratch files of the plan.
pub(super) fn check_measuring(
    plan: &Plan,
    decoded: u64,
    output: &Path,
    progress: &Progress,
) -> Result<(), Error> {
    check_memory(plan)?;
    check_disk(output, REPORT_LAYER_BYTES * plan.layers.len() as u64, false)?;
    let cached = plan.estimate.scratch_bytes + plan.estimate.kept_bytes + decoded;
    if cached == 0 {
        return Ok(());
    }
    check_disk(cache::folder(progress), cached, true)
}

/// Checks that all weights of `open` find room as they are stored, its token table as f32 besides.
///
/// # Errors
/// Less memory than that.
pub(super) fn check_weights(open: &OpenModel) -> Result<(), Error> {
    let folder = open.artifact.reader().folder();
    let table = open
        .model
        .tensors(0)
        .iter()
        .map(|tensor| tensor.shape.iter().product::<usize>());
    let needed_bytes = folder.file_bytes() + 4 * table.sum::<usize>() as u64;
    match memory::available_bytes() {
        Some(free_bytes) if needed_bytes > free_bytes => Err(Error::WeightMemory {
            needed_bytes,
            free_bytes,
        }),
        _ => Ok(()),
    }
}

fn check_memory(plan: &Plan) -> Result<(), Error> {
    let needed_bytes = plan.estimate.memory_bytes;
    match memory::available_bytes() {
        Some(free_bytes) if needed_bytes > free_bytes => Err(Error::Memory {
            needed_bytes,
            free_bytes,
        }),
        _ => Ok(()),
    }
}

/// The most bytes the output folder holds at one time: the weights with the files they wait in until their shard is
/// written, then with the reports in their place; and the files that are copied.
fn room_to_write(plan: &Plan, side_files: u64) -> u64 {
    let weights = with_slack(plan.size.artifact_bytes);
    let waiting = weights.min(plan.shard_bytes.saturating_mul(2));
    let reports = REPORT_BYTES + REPORT_LAYER_BYTES * plan.layers.len() as u64;
    weights + waiting.max(reports) + side_files
}

/// Checks that what `reader` holds finds room at `output` in `format`, on weight files of at most `shard_bytes`.
///
/// # Errors
/// A disk without that room.
pub(super) fn check_export(
    reader: &ArtifactReader,
    format: &dyn Format,
    shard_bytes: u64,
    output: &Path,
) -> Result<(), Error> {
    let tensors = reader.originals().into_values();
    let bytes = tensors.map(|tensor| {
        if tensor.is_stored || format.decoder().is_none() {
            let kept = format.kept_type(tensor.dtype);
            tensor.kept_bytes() * kept.bitsize() as u64 / tensor.dtype.bitsize() as u64
        } else {
            // Codes are laid out anew, and are as many.
            tensor.stored_bytes
        }
    });
    let weights = with_slack(bytes.sum());
    let waiting = weights.min(shard_bytes.saturating_mul(2));
    let side_files = side_file_bytes(reader.folder().origin());
    check_disk(output, weights + waiting + side_files, false)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a size in bytes, far below 2^53"
)]
fn with_slack(bytes: u64) -> u64 {
    (bytes as f64 * SLACK) as u64
}

fn check_disk(path: &Path, needed_bytes: u64, is_cache: bool) -> Result<(), Error> {
    match free_disk_bytes(path) {
        Some(free_bytes) if needed_bytes > free_bytes => Err(Error::Disk {
            path: path.to_owned(),
            needed_bytes,
            free_bytes,
            is_cache,
        }),
        _ => Ok(()),
    }
}

/// The nearest folder of `path` that exists.
fn existing(path: &Path) -> Option<PathBuf> {
    let absolute = std::path::absolute(path).ok()?;
    let mut folders = absolute.ancestors();
    folders.find(|folder| folder.exists()).map(Path::to_owned)
}

/// Whether two paths lie on one file system; where the system does not say, they do.
#[cfg(unix)]
fn same_disk(one: &Path, other: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let device = |path: &Path| Some(fs_err::metadata(existing(path)?).ok()?.dev());
    match (device(one), device(other)) {
        (Some(one), Some(other)) => one == other,
        _ => true,
    }
}

#[cfg(not(unix))]
fn same_disk(_one: &Path, _other: &Path) -> bool {
    true
}

/// Free bytes where `path` would be created; `None` where the system does not say.
#[cfg(unix)]
fn free_disk_bytes(path: &Path) -> Option<u64> {
    let found = rustix::fs::statvfs(existing(path)?).ok()?;
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
