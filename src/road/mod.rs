//! The road a checkpoint travels, one file per stage.

mod calibration_inputs;
mod blocks;
mod budget;
mod calibration;
mod divergence;
mod data;
mod early;
mod experts;
mod groups;
mod integer;
mod job;
mod cache_memory;
mod kept_cache;
mod layer_source;
mod measuring;
mod receiver;
mod report;
mod stages;
mod statistics;
mod survey;
mod transform;
mod tuning;
mod tuning_record;
mod synthetic_ranges;
mod watch;
mod written;
mod written_layers;
mod write;
pub mod cache;
pub mod evaluate;
pub mod measure;
pub mod quantize;

use std::collections::BTreeMap;
use std::time::Instant;

/// Wall time of the stages of the road.
#[derive(Debug)]
pub struct Clock {
    started: Instant,
    stages: BTreeMap<String, f64>,
}

impl Clock {
    /// Starts now.
    pub fn start() -> Self {
        Self {
            started: Instant::now(),
            stages: BTreeMap::new(),
        }
    }

    /// Runs `body` as the stage `name`.
    pub fn stage<R>(&mut self, name: &str, body: impl FnOnce() -> R) -> R {
        let started = Instant::now();
        let result = body();
        *self.stages.entry(name.to_owned()).or_default() += started.elapsed().as_secs_f64();
        result
    }

    /// Counts `seconds` that were spent in the stage `from` as those of `to`.
    pub fn move_to(&mut self, from: &str, to: &str, seconds: f64) {
        *self.stages.entry(from.to_owned()).or_default() -= seconds;
        *self.stages.entry(to.to_owned()).or_default() += seconds;
    }

    /// Seconds since the start.
    pub fn seconds(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    /// Seconds by stage.
    pub fn stages(&self) -> BTreeMap<String, f64> {
        self.stages.clone()
    }
}
