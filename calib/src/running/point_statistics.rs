//! Statistics on their way from the cache to the integer-only compile step.

use super::error::StoreError;
use super::measured::{Entries, Entry, StageStatistics};
use super::observers::{LENGTHS, OBSERVERS};
use super::stats_store::StatsStore;
use quantizers::Statistic;
use quantizers::integer::compile::{ChannelRanges, PointStatistics, Samples};
use quantizers::statistics::StatisticShape;
use std::collections::BTreeMap;
use std::io::ErrorKind;

/// Everything the compile step reads that was collected at the points of `stage`, by point.
/// Statistics nobody collected are absent.
///
/// # Errors
/// A file that cannot be read or is damaged.
pub fn stage_statistics(
    store: &StatsStore,
    stage: usize,
) -> Result<BTreeMap<String, PointStatistics>, StoreError> {
    let mut statistics = StageStatistics::default();
    for observer in OBSERVERS {
        let statistic = observer.statistic();
        if !is_read_by_compiler(statistic) {
            continue;
        }
        match store.read(statistic, stage) {
            Err(StoreError::Io(error)) if error.kind() == ErrorKind::NotFound => {}
            entries => statistics.insert(statistic, entries?),
        }
    }
    by_point(&statistics).map_err(|(statistic, name)| store.damaged(statistic, stage, &name))
}

/// What the compile step reads of the statistics of one stage, by point.
///
/// # Errors
/// The statistic and the point of an entry of another shape than the statistic's.
pub fn by_point(
    statistics: &StageStatistics,
) -> Result<BTreeMap<String, PointStatistics>, (&'static Statistic, String)> {
    let mut points: BTreeMap<String, PointStatistics> = BTreeMap::new();
    for (statistic, entries) in statistics.iter() {
        if !is_read_by_compiler(statistic) {
            continue;
        }
        for (name, entry) in entries {
            if name.ends_with(LENGTHS) {
                continue;
            }
            let point = points.entry(name.clone()).or_default();
            place(statistic, name, entry, entries, point)
                .ok_or_else(|| (statistic, name.clone()))?;
        }
    }
    Ok(points)
}

/// Whether the compile step of integer programs reads `statistic`.
pub fn is_read_by_compiler(statistic: &Statistic) -> bool {
    matches!(
        statistic.shape,
        StatisticShape::Range | StatisticShape::Channels | StatisticShape::Samples
    )
}

/// Puts `entry` where the shape of its statistic says; `None` where its own shape is another.
fn place(
    statistic: &Statistic,
    name: &str,
    entry: &Entry,
    entries: &Entries,
    point: &mut PointStatistics,
) -> Option<()> {
    match statistic.shape {
        StatisticShape::Range => {
            let [low, high] = entry.values[..] else {
                return None;
            };
            point.ranges.insert(statistic.name.to_owned(), (low, high));
        }
        StatisticShape::Channels => {
            let [4, width] = entry.shape[..] else {
                return None;
            };
            let row = |row: usize| entry.values[row * width..(row + 1) * width].to_vec();
            point.channels = Some(ChannelRanges {
                min: row(0),
                max: row(1),
                mean: row(2),
                mean_square: row(3),
            });
        }
        StatisticShape::Samples => {
            let [rows, width] = entry.shape[..] else {
                return None;
            };
            let lengths = entries.get(&format!("{name}{LENGTHS}"))?;
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "lengths were stored as whole numbers, which f32 holds to 2^24"
            )]
            let lengths: Vec<usize> = lengths.values.iter().map(|&x| x as usize).collect();
            if lengths.iter().sum::<usize>() != rows {
                return None;
            }
            point.samples = Some(Samples {
                values: entry.values.clone(),
                width,
                lengths,
            });
        }
        StatisticShape::PerInput
        | StatisticShape::InputByInput
        | StatisticShape::InputByInputOfGroups(_)
        | StatisticShape::PerWeight
        | StatisticShape::Count => return None,
    }
    Some(())
}
