//! Which kernel this machine runs.

use super::avx2::Avx2;
use super::kernel::Kernel;
use super::scalar::Scalar;
use std::sync::OnceLock;

/// All of them, the fastest first.
pub(super) static KERNELS: &[&dyn Kernel] = &[&Avx2, &Scalar];

/// The one that is used: the first this machine has, or the one named by `QUENCH_KERNEL` if it has that.
pub(super) fn kernel() -> &'static dyn Kernel {
    static FOUND: OnceLock<&'static dyn Kernel> = OnceLock::new();
    *FOUND.get_or_init(|| {
        let asked = std::env::var("QUENCH_KERNEL").ok();
        let mut available = KERNELS
            .iter()
            .copied()
            .filter(|kernel| kernel.is_available());
        let named = available
            .clone()
            .find(|kernel| asked.as_deref() == Some(kernel.name()));
        named.or_else(|| available.next()).unwrap_or(&Scalar)
    })
}
