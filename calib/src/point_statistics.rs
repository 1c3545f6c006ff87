//! Statistics on their way from the cache to the integer-only compile step.

use crate::observers::{Form, LENGTHS, OBSERVERS};
use crate::stats_store::{Entries, Entry, StatsStore, StoreError};
use quantizers::integer::compile::{ChannelRanges, PointStatistics, Samples};
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
    let mut points: BTreeMap<String, PointStatistics> = BTreeMap::new();
    for observer in OBSERVERS {
        let Some(form) = observer.form() else {
            continue;
        };
        let entries = match store.read(observer.name(), stage) {
            Err(StoreError::Io(error)) if error.kind() == ErrorKind::NotFound => continue,
            entries => entries?,
        };
        for (name, entry) in &entries {
            if name.ends_with(LENGTHS) {
                continue;
            }
            let point = points.entry(name.clone()).or_default();
            place(form, observer.name(), name, entry, &entries, point)
                .ok_or_else(|| store.damaged(observer.name(), stage, name))?;
        }
    }
    Ok(points)
}

/// Puts `entry` where `form` says; `None` where its shape is another.
fn place(
    form: Form,
    observer: &str,
    name: &str,
    entry: &Entry,
    entries: &Entries,
    point: &mut PointStatistics,
) -> Option<()> {
    match form {
        Form::Range => {
            let [low, high] = entry.values[..] else {
                return None;
            };
            point.ranges.insert(observer.to_owned(), (low, high));
        }
        Form::Channels => {
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
        Form::Samples => {
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
    }
    Some(())
}
