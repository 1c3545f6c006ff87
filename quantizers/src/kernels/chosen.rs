//! Which kernel this machine runs.

use super::kernel::Kernel;
use super::scalar::Scalar;
use std::sync::OnceLock;
use thiserror::Error;

/// All of them, the fastest first.
pub(super) static KERNELS: &[&dyn Kernel] = &[
    #[cfg(target_arch = "x86_64")]
    &super::avx512::Avx512,
    #[cfg(target_arch = "x86_64")]
    &super::avx2::Avx2,
    &Scalar,
];

/// Names the kernel to use.
const VARIABLE: &str = "QUENCH_KERNEL";

/// A kernel that was asked for and cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{VARIABLE}: expected {}, which this machine has, found `{found}`", expected.join(" or "))]
pub struct KernelError {
    /// What the variable names.
    pub found: String,
    /// The kernels of this machine.
    pub expected: Vec<&'static str>,
}

/// Whether the kernel that the variable `QUENCH_KERNEL` names can be had, if it names one.
///
/// # Errors
/// A name that is none, or of a kernel this machine lacks.
pub fn check_kernel() -> Result<(), KernelError> {
    let Some(found) = std::env::var_os(VARIABLE) else {
        return Ok(());
    };
    let found = found.to_string_lossy().into_owned();
    if available().any(|kernel| kernel.name() == found) {
        return Ok(());
    }
    Err(KernelError {
        found,
        expected: available().map(Kernel::name).collect(),
    })
}

fn available() -> impl Iterator<Item = &'static dyn Kernel> {
    let all = KERNELS.iter().copied();
    all.filter(|kernel| kernel.is_available())
}

/// The name of the kernel that is used.
pub fn kernel_name() -> &'static str {
    kernel().name()
}

/// The one that is used: the one `QUENCH_KERNEL` names if this machine has it ([`check_kernel`] says where not), else
/// the first it has.
pub(super) fn kernel() -> &'static dyn Kernel {
    static FOUND: OnceLock<&'static dyn Kernel> = OnceLock::new();
    *FOUND.get_or_init(|| {
        let asked = std::env::var(VARIABLE).ok();
        let named = available().find(|kernel| asked.as_deref() == Some(kernel.name()));
        named.or_else(|| available().next()).unwrap_or(&Scalar)
    })
}
