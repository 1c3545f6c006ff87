//! `quench export`: a quantized folder in another format.

use crate::Error;
use crate::args::ExportArgs;
use crate::progress::Progress;

/// Writes the folder.
///
/// # Errors
/// A folder that is not quantized, a format that cannot hold it, or one that cannot be written.
pub fn run(args: &ExportArgs, json: bool, progress: &Progress) -> Result<(), Error> {
    let _ = (json, progress);
    super::quantize::check_output(&args.output, args.force)?;
    Err(Error::Bug { message: "this build cannot export yet".to_owned(), source: None })
}
