//! `pytorch_model.bin`: what `torch.save` makes of a state dict, read without executing anything.
//!
//! A checkpoint is a pickle, a program for a small machine that may call any function of any Python
//! package. This reader knows of calls only what tensors are made of and refuses the rest by name; the tensors
//! themselves are raw bytes of the file, where they stay.

mod calls;
mod cursor;
mod error;
mod globals;
mod layout;
mod machine;
mod state_dict;
mod storages;
mod value;
mod zip;

pub use error::TorchError;

use super::{Container, TensorPlace, WeightFiles};
use crate::formats::FormatError;
use error::shown;
use std::collections::BTreeSet;
use std::path::Path;
use storages::{Opened, open_legacy, open_zip};

/// First byte of a pickle of protocol 2 and later.
const PICKLE_HEAD: u8 = 0x80;
/// Where a tar archive says that it is one.
const TAR_HEAD: (usize, &[u8]) = (257, b"ustar");

/// Files of `torch.save`.
pub(in crate::formats) struct TorchFile;

impl Container for TorchFile {
    fn files(&self) -> WeightFiles {
        WeightFiles {
            single: "pytorch_model.bin",
            index: "pytorch_model.bin.index.json",
        }
    }

    fn endings(&self) -> &'static [&'static str] {
        &["bin", "pt", "pth"]
    }

    fn tensors(&self, file: &Path, content: &[u8]) -> Result<Vec<TensorPlace>, FormatError> {
        open(content)
            .and_then(|opened| places(&opened))
            .map_err(|source| FormatError::Torch {
                file: file.to_path_buf(),
                source: Box::new(source),
            })
    }
}

fn open(content: &[u8]) -> Result<Opened<'_>, TorchError> {
    let (tar_at, tar) = TAR_HEAD;
    if content.starts_with(zip::HEAD) {
        open_zip(content)
    } else if is_safetensors(content) {
        Err(TorchError::Safetensors)
    } else if content
        .get(tar_at..)
        .is_some_and(|rest| rest.starts_with(tar))
    {
        Err(TorchError::Tar)
    } else if content.first() == Some(&PICKLE_HEAD) {
        open_legacy(content)
    } else {
        Err(TorchError::Unknown)
    }
}

/// A header length that fits, then the brace of the header.
fn is_safetensors(content: &[u8]) -> bool {
    let length = content
        .first_chunk::<8>()
        .map(|length| u64::from_le_bytes(*length));
    content.get(8) == Some(&b'{') && length.is_some_and(|length| length < content.len() as u64)
}

fn places(opened: &Opened<'_>) -> Result<Vec<TensorPlace>, TorchError> {
    let heap = &opened.pickle.heap;
    let named = state_dict::tensors(heap, opened.pickle.root)?;
    let mut names = BTreeSet::new();
    let mut places = Vec::with_capacity(named.len());
    for (name, tensor) in named {
        if !names.insert(name) {
            return Err(TorchError::Duplicate { name: shown(name) });
        }
        let tensor = &heap.tensors[tensor];
        let key = heap.storages[tensor.storage].key;
        let Some(storage) = opened.storages.get(key) else {
            return Err(TorchError::MissingStorage { key: shown(key) });
        };
        let Some(layout) = layout::place(tensor, storage) else {
            return Err(TorchError::Layout {
                name: shown(name),
                shape: tensor.shape.clone(),
                strides: tensor.strides.clone(),
                offset: tensor.offset,
                elements: storage.len() / calls::element_bytes(tensor.dtype),
            });
        };
        places.push(TensorPlace {
            name: name.to_owned(),
            dtype: tensor.dtype,
            shape: tensor.shape.clone(),
            range: layout.range,
            strides: layout.strides,
        });
    }
    Ok(places)
}
