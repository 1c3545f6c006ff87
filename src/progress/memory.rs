//! Memory of this process, and of the machine.

/// Resident memory now; `None` where the system does not say.
pub fn resident_bytes() -> Option<u64> {
    status_bytes("VmRSS:")
}

/// The largest resident memory so far; `None` where the system does not say.
pub fn peak_bytes() -> Option<u64> {
    status_bytes("VmHWM:")
}

/// Memory that could be had now; `None` where the system does not say.
pub fn available_bytes() -> Option<u64> {
    kibibytes(
        &fs_err::read_to_string("/proc/meminfo").ok()?,
        "MemAvailable:",
    )
}

fn status_bytes(key: &str) -> Option<u64> {
    kibibytes(&fs_err::read_to_string("/proc/self/status").ok()?, key)
}

fn kibibytes(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    line.trim()
        .strip_suffix("kB")?
        .trim()
        .parse::<u64>()
        .ok()?
        .checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_table_is_read_by_key() {
        assert_eq!(
            kibibytes("VmPeak:\t 9 kB\nVmRSS:\t     12 kB\n", "VmRSS:"),
            Some(12 * 1024)
        );
        assert_eq!(kibibytes("VmRSS:\t12\n", "VmRSS:"), None);
    }
}
