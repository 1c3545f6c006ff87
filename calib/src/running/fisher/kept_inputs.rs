//! Block inputs kept from the forward pass: in memory within a budget, the rest in a scratch file.

use crate::hidden::values;
use crate::running::error::StoreError;
use crate::{Hidden, StageError};
use burn::tensor::{Device, Tensor, TensorData};
use std::collections::BTreeMap;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Where one kept tensor is.
enum Place {
    Memory(Box<Tensor<3>>),
    File { offset: u64, shape: [usize; 3] },
}

/// Inputs by stage, in sequence order.
pub(super) struct KeptInputs {
    stages: BTreeMap<usize, Vec<Option<Place>>>,
    memory_left: u64,
    scratch: PathBuf,
    file: Option<std::fs::File>,
    end: u64,
}

impl KeptInputs {
    /// Keeps up to `memory_bytes` in memory; the scratch file is made when it is needed, in `scratch`.
    pub(super) fn new(memory_bytes: u64, scratch: &Path) -> Self {
        Self {
            stages: BTreeMap::new(),
            memory_left: memory_bytes,
            scratch: scratch.to_owned(),
            file: None,
            end: 0,
        }
    }

    /// Keeps the inputs of `stage`.
    pub(super) fn keep(
        &mut self,
        stage: usize,
        inputs: &[Hidden],
    ) -> Result<(), crate::running::error::CollectError> {
        let mut places = Vec::with_capacity(inputs.len());
        for input in inputs {
            let Hidden::States(states) = input else {
                return Err(StageError::Input {
                    stage: format!("stage {stage}"),
                    expected: "states",
                    found: "tokens or pixels",
                }
                .into());
            };
            places.push(Some(self.place(states).map_err(StoreError::Io)?));
        }
        self.stages.insert(stage, places);
        Ok(())
    }

    fn place(&mut self, states: &Tensor<3>) -> io::Result<Place> {
        let shape = states.dims();
        let bytes = 4 * shape.iter().product::<usize>() as u64;
        if bytes <= self.memory_left {
            self.memory_left -= bytes;
            return Ok(Place::Memory(Box::new(states.clone())));
        }
        let file = match self.file.take() {
            Some(file) => self.file.insert(file),
            None => self.file.insert(scratch_file(&self.scratch)?),
        };
        let encoded: Vec<u8> = values(states.clone())
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        let offset = self.end;
        file.seek(SeekFrom::Start(offset))?;
        file.write_all(&encoded)?;
        self.end += bytes;
        Ok(Place::File { offset, shape })
    }

    /// Gives back, and forgets, the inputs of `sequences` of `stage`.
    pub(super) fn take(
        &mut self,
        stage: usize,
        sequences: Range<usize>,
        device: &Device,
    ) -> Result<Vec<Tensor<3>>, StoreError> {
        let places = self
            .stages
            .get_mut(&stage)
            .map(Vec::as_mut_slice)
            .unwrap_or_default();
        let mut taken = Vec::with_capacity(sequences.len());
        for place in places[sequences].iter_mut().filter_map(Option::take) {
            taken.push(match place {
                Place::Memory(states) => {
                    self.memory_left += 4 * states.dims().iter().product::<usize>() as u64;
                    *states
                }
                Place::File { offset, shape } => {
                    let mut encoded = vec![0; 4 * shape.iter().product::<usize>()];
                    if let Some(file) = &mut self.file {
                        file.seek(SeekFrom::Start(offset))?;
                        file.read_exact(&mut encoded)?;
                    }
                    let values: Vec<f32> = encoded
                        .as_chunks::<4>()
                        .0
                        .iter()
                        .map(|&bytes| f32::from_le_bytes(bytes))
                        .collect();
                    Tensor::from_data(TensorData::new(values, shape), device)
                }
            });
        }
        Ok(taken)
    }
}

/// A file without a name: unlinked while open, so its space goes back to the disk whatever ends the
/// process.
fn scratch_file(folder: &Path) -> io::Result<std::fs::File> {
    let path = folder.join(format!("block-inputs-{}", std::process::id()));
    let file = fs_err::File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(&path)?;
    fs_err::remove_file(&path)?;
    Ok(file.into_parts().0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_in_memory_comes_back_from_the_file_unchanged() {
        let device = Device::flex();
        let scratch = tempfile::tempdir().unwrap();
        let inputs: Vec<Hidden> = (0..3)
            .map(|i| {
                let values: Vec<f32> = (0..6).map(|j| (i * 6 + j) as f32 * 0.37).collect();
                Hidden::States(Tensor::from_data(
                    TensorData::new(values, [1, 2, 3]),
                    &device,
                ))
            })
            .collect();
        // Room for one tensor of 24 bytes: the other two go to the file.
        let mut kept = KeptInputs::new(30, scratch.path());
        kept.keep(4, &inputs).unwrap();
        assert_eq!(kept.end, 48);
        for (index, input) in inputs.iter().enumerate() {
            let Hidden::States(expected) = input else {
                unreachable!()
            };
            let found = kept.take(4, index..index + 1, &device).unwrap();
            assert_eq!(found[0].to_data(), expected.to_data());
        }
        assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0);
    }
}
