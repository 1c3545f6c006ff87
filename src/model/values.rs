//! The values of a checkpoint before anything is made of them: no float a model reads may be NaN or infinite.

use super::OpenModel;
use crate::Error;
use crate::progress::Progress;
use quantizers::formats::finite::{first_not_finite, first_not_finite_value};
use std::collections::BTreeSet;

impl OpenModel {
    /// Checks every float tensor that the model reads: integer layers by what is stored of them, those of other
    /// programs by their values.
    ///
    /// # Errors
    /// The first tensor that holds NaN or infinity, with its place.
    pub fn check_values(&self, progress: &Progress) -> Result<(), Error> {
        let reader = self.artifact.reader();
        let used: BTreeSet<String> = (0..self.model.stages())
            .flat_map(|stage| self.model.tensor_names(stage))
            .collect();
        let folder = reader.folder();
        let stored: Vec<&str> = folder
            .names()
            .filter(|name| {
                let is_own = used.contains(*name) && !reader.is_part(name);
                is_own || reader.layer_of_entry(name).is_some()
            })
            .collect();
        let decoded = reader.decoded().iter();
        let decoded: Vec<_> = decoded.filter(|(name, _)| used.contains(*name)).collect();
        let track = progress.step("check", stored.len() + decoded.len());
        let read = |name: &str, error| {
            Error::io(format!("cannot read `{name}` of `{}`", self.name), error)
        };
        for name in stored {
            let (dtype, shape, bytes) = reader.raw(name).map_err(|error| read(name, error))?;
            if let Some(found) = first_not_finite(dtype, &bytes) {
                return Err(self.not_finite(name, shape, found));
            }
            folder.release(name);
            track.advance(1);
        }
        for (name, tensor) in decoded {
            let values = reader.values(name).map_err(|error| read(name, error))?;
            if let Some(found) = first_not_finite_value(&values) {
                return Err(self.not_finite(name, &tensor.shape, found));
            }
            track.advance(1);
        }
        Ok(())
    }

    fn not_finite(&self, name: &str, shape: &[usize], (at, value): (usize, f32)) -> Error {
        let message = format!(
            "`{name}` {shape:?} of `{}` holds {value} at {:?}, expected finite numbers",
            self.name,
            place(at, shape)
        );
        Error::Mismatch {
            message,
            source: None,
            hint: Some(
                "the checkpoint is damaged, or its training diverged: get it again, or take an earlier one"
                    .to_owned(),
            ),
        }
    }
}

/// Indices of a row-major position.
fn place(position: usize, shape: &[usize]) -> Vec<usize> {
    let mut rest = position;
    let mut indices: Vec<usize> = shape
        .iter()
        .rev()
        .map(|&side| {
            let index = rest % side.max(1);
            rest /= side.max(1);
            index
        })
        .collect();
    indices.reverse();
    indices
}

#[cfg(test)]
mod tests {
    use super::place;

    #[test]
    fn a_position_becomes_indices() {
        assert_eq!(place(7, &[3, 5]), [1, 2]);
        assert_eq!(place(0, &[4]), [0]);
        assert_eq!(place(23, &[2, 3, 4]), [1, 2, 3]);
    }
}
