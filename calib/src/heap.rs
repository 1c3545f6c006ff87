//! How the system keeps the memory of this process.

#[cfg(target_os = "linux")]
use std::ops::Range;

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

/// Moves `blocks` to pages of 2 MiB, as far as they fill such: they are read from end to end again and again, and a
/// processor that has to look up each 4 KiB of it reads a quarter slower. A system whose memory is in pieces has to tidy
/// up for them, so a thread of its own does it, and nobody waits. Without effect on systems that cannot.
pub fn use_large_pages(blocks: &[&[u8]]) {
    #[cfg(target_os = "linux")]
    {
        let ranges = large_pages_of(blocks);
        let thread = std::thread::Builder::new().name("large-pages".to_owned());
        // Without a thread the memory stays where it is, which costs time only.
        drop(thread.spawn(move || ranges.into_iter().for_each(collapse)));
    }
    #[cfg(not(target_os = "linux"))]
    let _ = blocks;
}

/// Bytes of a large page.
#[cfg(target_os = "linux")]
const LARGE_PAGE: usize = 2 << 20;

/// The whole large pages that `blocks` fill, but for what lies between neighbours on the heap.
#[cfg(target_os = "linux")]
fn large_pages_of(blocks: &[&[u8]]) -> Vec<Range<usize>> {
    /// Bytes between blocks that are moved along.
    const GAP: usize = LARGE_PAGE / 32;
    let mut ranges: Vec<Range<usize>> = blocks
        .iter()
        .map(|block| block.as_ptr().addr()..block.as_ptr().addr() + block.len())
        .collect();
    ranges.sort_by_key(|range| range.start);
    let mut merged: Vec<Range<usize>> = Vec::new();
    for range in ranges {
        match merged.last_mut() {
            Some(last) if range.start <= last.end + GAP => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    let whole = merged.into_iter().map(|range| {
        let start = range.start.next_multiple_of(LARGE_PAGE);
        start..range.end / LARGE_PAGE * LARGE_PAGE
    });
    whole.filter(|range| !range.is_empty()).collect()
}

/// Has the system put a large page in the place of every 512 small ones.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "a function of the C library")]
fn collapse(range: Range<usize>) {
    let first = std::ptr::without_provenance_mut(range.start);
    // SAFETY: advice, which changes where memory lies and nothing that is read from it, also if it was freed meanwhile. A
    // system that declines leaves it where it is.
    let _ = unsafe { libc::madvise(first, range.len(), libc::MADV_COLLAPSE) };
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

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::{LARGE_PAGE, collapse, large_pages_of};

    #[test]
    fn neighbours_share_large_pages() {
        let memory = vec![7_u8; 6 * LARGE_PAGE];
        let start = memory.as_ptr().addr();
        let first = start.next_multiple_of(LARGE_PAGE) - start;
        let (left, right) = memory.split_at(first + LARGE_PAGE / 2);
        // Nothing, then what is too short, then two that fill four pages together.
        assert!(large_pages_of(&[]).is_empty());
        assert!(large_pages_of(&[&right[..LARGE_PAGE]]).is_empty());
        let found = large_pages_of(&[&right[64..4 * LARGE_PAGE], left]);
        let whole = start + first..start + first + 4 * LARGE_PAGE;
        assert_eq!(found, [whole]);
    }

    #[test]
    fn memory_reads_the_same_on_large_pages() {
        let bytes = (0..5 * LARGE_PAGE).map(|at| u8::try_from(at % 251).unwrap());
        let memory: Vec<u8> = bytes.clone().collect();
        for range in large_pages_of(&[&memory]) {
            collapse(range);
        }
        assert!(bytes.eq(memory));
    }
}
