//! Mapping a weight file, and what to say where there is none.

use crate::formats::{FormatError, no_weights};
use memmap2::Mmap;
use std::path::Path;

/// Maps `path`, which is no stand-in of Git LFS.
pub(super) fn map(path: &Path) -> Result<Mmap, FormatError> {
    let io = |source| FormatError::io("read", path, source);
    let file = fs_err::File::open(path).map_err(io)?;
    #[expect(unsafe_code, reason = "memory-mapping a file")]
    // SAFETY: the caller of `open` keeps the files unchanged while they are mapped.
    let map = unsafe { Mmap::map(&file) }.map_err(io)?;
    if no_weights::is_lfs_pointer(&map) {
        return Err(FormatError::LfsPointer {
            file: path.to_path_buf(),
        });
    }
    Ok(map)
}

/// The error for `folder`, which has none of the files weights are read from.
pub(super) fn no_weights_in(folder: &Path) -> FormatError {
    let entries = match fs_err::read_dir(folder) {
        Ok(entries) => entries,
        Err(source) => return FormatError::io("read", folder, source),
    };
    let mut others: Vec<String> = entries
        .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
        .filter(|name| no_weights::may_hold_weights(name))
        .collect();
    others.sort();
    FormatError::NoWeights {
        dir: folder.to_path_buf(),
        others,
    }
}
