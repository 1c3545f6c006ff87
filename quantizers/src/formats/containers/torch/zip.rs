//! The directory of a zip archive whose entries are stored uncompressed, as `torch.save` writes it.

use super::error::{TorchError, shown};
use std::collections::BTreeMap;
use std::ops::Range;

/// First bytes of an archive.
pub(super) const HEAD: &[u8] = b"PK\x03\x04";

const END: &[u8] = b"PK\x05\x06";
const END_BYTES: usize = 22;
const END64: &[u8] = b"PK\x06\x06";
const END64_BYTES: usize = 56;
const LOCATOR64: &[u8] = b"PK\x06\x07";
const LOCATOR64_BYTES: usize = 20;
const ENTRY: &[u8] = b"PK\x01\x02";
const ENTRY_BYTES: usize = 46;
const LOCAL_BYTES: usize = 30;
/// Longest comment after the end record.
const LONGEST_COMMENT: usize = u16::MAX as usize;
/// Id of the extra field with sizes of 64 bits.
const ZIP64: u16 = 1;

/// Bytes of every entry, by name.
pub(super) type Entries<'a> = BTreeMap<&'a str, Range<usize>>;

/// Reads the directory of `archive`; every range lies before the directory, and no two overlap.
///
/// # Errors
/// A directory that is damaged or lies outside of the file; entries that are compressed, encrypted,
/// listed twice, or are not where the directory says.
pub(super) fn entries(archive: &[u8]) -> Result<Entries<'_>, TorchError> {
    let directory = directory(archive)?;
    let mut rest = &archive[directory.range.clone()];
    let mut entries = Entries::new();
    for _ in 0..directory.count {
        let (name, range, length) = entry(archive, rest, directory.range.start)?;
        rest = &rest[length..];
        if entries.insert(name, range).is_some() {
            return Err(TorchError::Duplicate { name: shown(name) });
        }
    }
    if !rest.is_empty() {
        return Err(damaged("it has more bytes than entries"));
    }
    let mut ranges: Vec<(usize, usize, &str)> = entries
        .iter()
        .map(|(name, range)| (range.start, range.end, *name))
        .filter(|(start, end, _)| start < end)
        .collect();
    ranges.sort_unstable();
    match ranges.windows(2).find(|pair| pair[0].1 > pair[1].0) {
        Some(pair) => Err(wrong(pair[1].2, "overlaps another")),
        None => Ok(entries),
    }
}

struct Directory {
    range: Range<usize>,
    count: u64,
}

fn directory(archive: &[u8]) -> Result<Directory, TorchError> {
    let from = archive.len().saturating_sub(END_BYTES + LONGEST_COMMENT);
    let last = (from..=archive.len().saturating_sub(END_BYTES)).rev();
    // The comment fills the rest of the file, or this is no end record.
    let is_end = |at: &usize| {
        archive[*at..].starts_with(END)
            && u16_at(archive, at + 20)
                .is_some_and(|c| at + END_BYTES + usize::from(c) == archive.len())
    };
    let Some(end) = last.into_iter().find(is_end) else {
        return Err(TorchError::Truncated {
            at: archive.len(),
            what: "its zip archive",
        });
    };
    let read = || {
        let disks = (u16_at(archive, end + 4)?, u16_at(archive, end + 6)?);
        let counts = (u16_at(archive, end + 8)?, u16_at(archive, end + 10)?);
        let (size, offset) = (u32_at(archive, end + 12)?, u32_at(archive, end + 16)?);
        Some((disks, counts, u64::from(size), u64::from(offset)))
    };
    let Some((disks, counts, size, offset)) = read() else {
        return Err(damaged("its end record is cut short"));
    };
    let locator = end
        .checked_sub(LOCATOR64_BYTES)
        .filter(|at| archive[*at..].starts_with(LOCATOR64));
    let (count, size, offset, stop) = match locator {
        None if disks == (0, 0) && counts.0 == counts.1 => (u64::from(counts.0), size, offset, end),
        None => return Err(damaged("it is spread over several archives")),
        Some(locator) => {
            let at = u64_at(archive, locator + 8).and_then(|at| usize::try_from(at).ok());
            let Some(at) = at.filter(|at| {
                at.checked_add(END64_BYTES)
                    .is_some_and(|end| end <= locator)
                    && archive[*at..].starts_with(END64)
            }) else {
                return Err(damaged("its 64-bit end record is not where it says"));
            };
            let read = || {
                let disks = (u32_at(archive, at + 16)?, u32_at(archive, at + 20)?);
                let counts = (u64_at(archive, at + 24)?, u64_at(archive, at + 32)?);
                let single = disks == (0, 0) && counts.0 == counts.1;
                single.then_some((
                    counts.0,
                    u64_at(archive, at + 40)?,
                    u64_at(archive, at + 48)?,
                    at,
                ))
            };
            match read() {
                Some(read) => read,
                None => return Err(damaged("it is spread over several archives")),
            }
        }
    };
    let range = usize::try_from(offset)
        .ok()
        .zip(usize::try_from(size).ok())
        .and_then(|(offset, size)| Some(offset..offset.checked_add(size)?));
    match range {
        Some(range) if range.end == stop && count <= (range.len() / ENTRY_BYTES) as u64 => {
            Ok(Directory { range, count })
        }
        _ => Err(damaged("its place or length does not fit the file")),
    }
}

/// Name, bytes and directory length of the entry that `rest` of the directory begins with.
fn entry<'a>(
    archive: &'a [u8],
    rest: &'a [u8],
    directory: usize,
) -> Result<(&'a str, Range<usize>, usize), TorchError> {
    let short = || damaged("an entry of it is cut short");
    if !rest.starts_with(ENTRY) {
        return Err(damaged("an entry of it does not begin as one"));
    }
    let word = |at| u16_at(rest, at).ok_or_else(short);
    let long = |at| u32_at(rest, at).ok_or_else(short).map(u64::from);
    let name_end = ENTRY_BYTES + usize::from(word(28)?);
    let extra_end = name_end + usize::from(word(30)?);
    let end = extra_end + usize::from(word(32)?);
    let name = rest.get(ENTRY_BYTES..name_end).ok_or_else(short)?;
    let extra = rest.get(name_end..extra_end).ok_or_else(short)?;
    if end > rest.len() {
        return Err(short());
    }
    let name = std::str::from_utf8(name).map_err(|_| damaged("a name in it is no UTF-8"))?;
    if word(8)? & 1 != 0 {
        return Err(wrong(name, "is encrypted"));
    }
    if word(10)? != 0 {
        return Err(wrong(name, "is compressed, which `torch.save` never does"));
    }
    let narrow = [long(24)?, long(20)?, long(42)?];
    let [size, stored, local] =
        widen(narrow, extra).ok_or_else(|| wrong(name, "lacks its 64-bit sizes"))?;
    if size != stored {
        return Err(wrong(name, "has two sizes"));
    }
    let range = usize::try_from(local)
        .ok()
        .and_then(|local| data_range(archive, local, name, usize::try_from(size).ok()?));
    match range.filter(|range| range.end <= directory) {
        Some(range) => Ok((name, range, end)),
        None => Err(wrong(name, "is not where the directory says")),
    }
}

/// The bytes after the local header at `local`, which has to be that of `name`.
fn data_range(archive: &[u8], local: usize, name: &str, size: usize) -> Option<Range<usize>> {
    let header = archive.get(local..)?;
    if !header.starts_with(HEAD) || u16_at(header, 8)? != 0 {
        return None;
    }
    let name_end = LOCAL_BYTES + usize::from(u16_at(header, 26)?);
    if header.get(LOCAL_BYTES..name_end)? != name.as_bytes() {
        return None;
    }
    let start = local + name_end + usize::from(u16_at(header, 28)?);
    Some(start..start.checked_add(size)?)
}

/// Size, stored size and offset, each from the 64-bit field where its 32 bits are all set.
fn widen(narrow: [u64; 3], mut extra: &[u8]) -> Option<[u64; 3]> {
    const SET: u64 = u32::MAX as u64;
    if !narrow.contains(&SET) {
        return Some(narrow);
    }
    loop {
        let (id, length) = (u16_at(extra, 0)?, usize::from(u16_at(extra, 2)?));
        let field = extra.get(4..4 + length)?;
        if id == ZIP64 {
            let mut at = 0;
            let mut wide = narrow;
            for value in wide.iter_mut().filter(|value| **value == SET) {
                *value = u64_at(field, at)?;
                at += 8;
            }
            return Some(wide);
        }
        extra = &extra[4 + length..];
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn damaged(what: &'static str) -> TorchError {
    TorchError::Zip { what }
}

fn wrong(entry: &str, what: &'static str) -> TorchError {
    TorchError::Entry {
        entry: shown(entry),
        what,
    }
}
