//! The values of a checkpoint before anything is made of them: no float a model reads may be NaN or infinite.

use super::OpenModel;
use crate::Error;
use crate::progress::Progress;
use quantizers::formats::finite::first_not_finite;
use std::collections::BTreeSet;

impl OpenModel {
    /// Checks every float tensor that the model reads, quantized layers by what is stored of them.
    ///
    /// # Errors
    /// The first tensor that holds NaN or infinity, with its place.
    pub fn check_values(&self, progress: &Progress) -> Result<(), Error> {
        let reader = self.artifact.reader();
        let used: BTreeSet<String> = (0..self.model.stages())
            .flat_map(|stage| self.model.tensor_names(stage))
            .collect();
        let folder = reader.folder();
        let names: Vec<&str> = folder
            .names()
            .filter(|name| used.contains(*name) || reader.layer_of_entry(name).is_some())
            .collect();
        let track = progress.step("check", names.len());
        for name in names {
            let read = |error| Error::io(format!("cannot read `{name}` of `{}`", self.name), error);
            let (dtype, shape, bytes) = reader.raw(name).map_err(read)?;
            if let Some((position, value)) = first_not_finite(dtype, &bytes) {
                let message = format!(
                    "`{name}` {shape:?} of `{}` holds {value} at {:?}, expected finite numbers",
                    self.name,
                    place(position, shape)
                );
                return Err(Error::Mismatch {
                    message,
                    source: None,
                    hint: Some(
                        "the checkpoint is damaged, or its training diverged: get it again, or take an earlier one"
                            .to_owned(),
                    ),
                });
            }
            folder.release(name);
            track.advance(1);
        }
        Ok(())
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
