//! Files of data sets on the Hub.

use super::{Content, DataError, DataSpec, Request, Source, load};
use crate::hub::{RepoType, fetch_file};

/// `hub:owner/name[@revision]/path/in/repository#column`: downloaded once, then read as a local file.
#[derive(Debug, Clone, Copy)]
pub struct HubFile;

impl Source for HubFile {
    fn name(&self) -> &'static str {
        "hub"
    }

    fn summary(&self) -> &'static str {
        "a text, table or safetensors file of a data set on the Hub; `hub:owner/name/file#column`"
    }

    fn accepts(&self, spec: &DataSpec) -> bool {
        matches!(spec, DataSpec::Hub { .. })
    }

    fn load(&self, spec: &DataSpec, request: &mut Request<'_>) -> Result<Content, DataError> {
        let DataSpec::Hub { repo, file, column } = spec else {
            return Err(DataError::Spec {
                spec: spec.to_string(),
                expected: "`hub:owner/name/file`",
                found: "another source".to_owned(),
            });
        };
        let path = fetch_file(repo, RepoType::Dataset, file, request.hub, request.progress)?;
        load(
            &DataSpec::Path {
                path,
                column: column.clone(),
            },
            request,
        )
    }
}
