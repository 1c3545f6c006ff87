//! How the C library's allocator treats memory that is freed.

/// Keeps freed memory in the process, to be used again.
///
/// Layers allocate their outputs and free their inputs, megabytes each, all the time. GNU's allocator
/// gives such memory back to the system at once, and the next layer pays for having its pages mapped and
/// cleared anew: a tenth of a forward pass. To be called once, before other threads run; without effect
/// where another C library is used.
pub fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    gnu::keep_freed_memory();
}

/// Gives freed memory back to the system, once: between phases that need blocks of quite other sizes, so that
/// the later one does not come on top of what the earlier one left.
pub fn give_back_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    gnu::give_back_freed_memory();
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod gnu {
    use libc::{M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, c_int, malloc_trim, mallopt};

    #[expect(unsafe_code, reason = "a function of the C library")]
    pub(super) fn give_back_freed_memory() {
        // SAFETY: takes a number; touches only memory that is free, under the allocator's own locks.
        let _ = unsafe { malloc_trim(0) };
    }

    /// Free bytes at the end of a heap from which on it shrinks.
    const TRIM: c_int = 256 << 20;
    /// Blocks from this size on are mappings of their own, unmapped when they are freed.
    const MAPPED: c_int = 1 << 30;

    #[expect(unsafe_code, reason = "a function of the C library")]
    pub(super) fn keep_freed_memory() {
        for (parameter, value) in [(M_TRIM_THRESHOLD, TRIM), (M_MMAP_THRESHOLD, MAPPED)] {
            // SAFETY: takes two numbers and touches nothing but the allocator's settings, under its own
            // lock. A setting it refuses stays as it was, which costs time only.
            let _ = unsafe { mallopt(parameter, value) };
        }
    }
}
