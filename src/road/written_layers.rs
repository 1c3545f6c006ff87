//! Layers on their way into the artifact, and their rows of the report.

use super::job::{LayerJob, LayerResult};
use super::receiver::Receiver;
use super::report::WorstLayers;
use super::write;
use crate::Error;
use crate::plan::QuantizeRequest;
use eval::report::{LayerFacts, WeightHistogram};
use quantizers::formats::{ArtifactWriter, StoredSize};
use std::collections::BTreeMap;

/// Writes each layer.
pub(super) struct WrittenLayers<'a> {
    request: &'a QuantizeRequest,
    writer: ArtifactWriter,
    /// Rows of the report, by planned layer.
    facts: BTreeMap<usize, LayerFacts>,
    histograms: WorstLayers,
}

impl<'a> WrittenLayers<'a> {
    /// Begins the output folder.
    ///
    /// # Errors
    /// As [`write::begin`].
    pub(super) fn begin(request: &'a QuantizeRequest) -> Result<Self, Error> {
        let names = request.plan.layers.iter().map(|layer| layer.name.as_str());
        Ok(Self {
            writer: write::begin(request)?.in_order(names),
            request,
            facts: BTreeMap::new(),
            histograms: WorstLayers::default(),
        })
    }

    /// The writer, the rows in the order of the plan, and the histograms of the worst layers.
    pub(super) fn into_parts(self) -> (ArtifactWriter, Vec<LayerFacts>, Vec<WeightHistogram>) {
        (
            self.writer,
            self.facts.into_values().collect(),
            self.histograms.into_inner(),
        )
    }
}

impl Receiver for WrittenLayers<'_> {
    fn receive(
        &mut self,
        index: usize,
        job: &LayerJob<'_>,
        result: &LayerResult,
    ) -> Result<StoredSize, Error> {
        let planned = job.planned;
        let size = self
            .writer
            .layer(&planned.name, &result.tensor, &planned.plan.scheme)
            .map_err(|error| write::failed(self.request, error))?;
        self.histograms.offer(planned, result);
        self.facts.insert(index, result.facts(planned, size));
        Ok(size)
    }
}
