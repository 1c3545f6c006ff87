//! `quench report`: renders report.md and report.html again from report.json.

use super::{print, print_json, summary};
use crate::Error;
use crate::args::ReportArgs;
use eval::report;

/// Reads report.json, writes the other two beside it and prints the report.
///
/// # Errors
/// A folder without a readable report, or one that cannot be written.
pub fn run(args: &ReportArgs, json: bool) -> Result<(), Error> {
    let path = args.out.join(report::JSON_FILE);
    if !path.is_file() {
        return Err(Error::NotFound {
            what: "report",
            path,
            hint: Some("`quench quantize` and `quench eval` write one".to_owned()),
        });
    }
    let read = report::read(&path)
        .map_err(|error| Error::io(format!("cannot read report `{}`", path.display()), error))?;
    report::write_renderings(&read, &args.out).map_err(|error| {
        Error::io(
            format!("cannot write the report to `{}`", args.out.display()),
            error,
        )
    })?;
    if json {
        print_json(&read)
    } else {
        print(&summary::render(&read, Some(&args.out)))
    }
}
