//! Worker threads and the device, checked before any work.

use crate::Error;
use crate::args::{DeviceChoice, MachineArgs};
use crate::plan::Machine;

/// Builds the thread pool and checks that this build has the device.
pub(super) fn prepare(args: &MachineArgs) -> Result<Machine, Error> {
    if matches!(args.device, DeviceChoice::Cuda(_)) && !cfg!(feature = "cuda") {
        return Err(Error::Device {
            device: args.device.to_string(),
        });
    }
    let threads = args.threads.unwrap_or_else(available);
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
pub(super) fn available() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
