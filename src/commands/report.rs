//! `quench report`: renders report.md and report.html again from report.json, or compares several artifacts of
//! one model.

use super::output::{self, Input, Replace};
use super::{print, print_json, summary, write_report};
use crate::Error;
use crate::args::ReportArgs;
use eval::report::{self, Comparison, Report};
use std::path::Path;

/// Reads report.json, renders the other two files and prints the report; of several folders prints one table,
/// and writes it where `-o` says.
///
/// # Errors
/// A folder without a readable report, reports of different models, a folder that cannot be written.
pub fn run(args: &ReportArgs, json: bool) -> Result<(), Error> {
    match &args.folders[..] {
        [folder] => render(folder, args, json),
        folders => compare(folders, args, json),
    }
}

fn read(folder: &Path) -> Result<Report, Error> {
    let path = folder.join(report::JSON_FILE);
    if !path.is_file() {
        return Err(Error::NotFound {
            what: "report",
            path,
            hint: Some("`quench quantize`, and `quench eval` with `-o`, write one".to_owned()),
        });
    }
    report::read(&path)
        .map_err(|error| Error::io(format!("cannot read report `{}`", path.display()), error))
}

fn render(folder: &Path, args: &ReportArgs, json: bool) -> Result<(), Error> {
    let read = read(folder)?;
    let output = if let Some(output) = &args.output {
        check_output(args, output)?;
        write_report(&read, output)?;
        output
    } else {
        report::write_renderings(&read, folder).map_err(|error| {
            Error::io(
                format!("cannot write the report to `{}`", folder.display()),
                error,
            )
        })?;
        folder
    };
    if json {
        print_json(&read)
    } else {
        print(&summary::render(&read, Some(output)))
    }
}

fn check_output(args: &ReportArgs, output: &Path) -> Result<(), Error> {
    let inputs: Vec<Input> = args
        .folders
        .iter()
        .map(|folder| Input::new("report folder", folder))
        .collect();
    output::check(output, Replace::of(args.force, args.force_foreign), &inputs)
}

fn compare(folders: &[std::path::PathBuf], args: &ReportArgs, json: bool) -> Result<(), Error> {
    let mut reports = Vec::new();
    for folder in folders {
        reports.push((folder.display().to_string(), read(folder)?));
    }
    let comparison = Comparison::of(reports)
        .map_err(|error| Error::mismatch("these reports cannot be compared", error))?;
    if let Some(output) = &args.output {
        check_output(args, output)?;
        let failed = |error| {
            let message = format!("cannot write the comparison to `{}`", output.display());
            Error::io(message, error)
        };
        fs_err::create_dir_all(output).map_err(|error| failed(error.into()))?;
        output::mark(output)?;
        report::write_comparison(&comparison, output).map_err(failed)?;
    }
    if json {
        return print_json(&comparison);
    }
    print(&summary::table(&comparison.table(), 1))
}
