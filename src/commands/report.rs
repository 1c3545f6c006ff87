//! `quench report`: renders report.md and report.html again from report.json.

use super::{print, print_json, summary, write_report};
use crate::Error;
use crate::args::ReportArgs;
use eval::report;

/// Reads report.json, renders the other two files and prints the report.
///
/// # Errors
/// A folder without a readable report, or one that cannot be written.
pub fn run(args: &ReportArgs, json: bool) -> Result<(), Error> {
    let path = args.folder.join(report::JSON_FILE);
    if !path.is_file() {
        return Err(Error::NotFound {
            what: "report",
            path,
            hint: Some("`quench quantize`, and `quench eval` with `-o`, write one".to_owned()),
        });
    }
    let read = report::read(&path)
        .map_err(|error| Error::io(format!("cannot read report `{}`", path.display()), error))?;
    let output = if let Some(output) = &args.output {
        write_report(&read, output, args.force)?;
        output
    } else {
        report::write_renderings(&read, &args.folder).map_err(|error| {
            Error::io(
                format!("cannot write the report to `{}`", args.folder.display()),
                error,
            )
        })?;
        &args.folder
    };
    if json {
        print_json(&read)
    } else {
        print(&summary::render(&read, Some(output)))
    }
}
