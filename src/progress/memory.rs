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

/// A size in binary units with three significant digits: `1.36 MiB`.
pub fn shown(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut unit = "B";
    for next in ["KiB", "MiB", "GiB", "TiB"] {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    let decimals = match value {
        _ if unit == "B" => 0,
        v if v < 10.0 => 2,
        v if v < 100.0 => 1,
        _ => 0,
    };
    format!("{value:.decimals$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_keep_three_digits() {
        assert_eq!(shown(0), "0 B");
        assert_eq!(shown(1023), "1023 B");
        assert_eq!(shown(1536), "1.50 KiB");
        assert_eq!(shown(7_077_888), "6.75 MiB");
        assert_eq!(shown(150 << 20), "150 MiB");
    }

    #[test]
    fn the_kernel_table_is_read_by_key() {
        assert_eq!(
            kibibytes("VmPeak:\t 9 kB\nVmRSS:\t     12 kB\n", "VmRSS:"),
            Some(12 * 1024)
        );
        assert_eq!(kibibytes("VmRSS:\t12\n", "VmRSS:"), None);
    }
}
