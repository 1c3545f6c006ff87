//! What the pickle of a checkpoint can make: plain data, storages and tensors.
//!
//! Compound values lie side by side in a [`Heap`] and name each other by index, so neither reading nor
//! dropping them recurses, however deep a file nests them.

use super::error::TorchError;
use safetensors::Dtype;

/// Deepest nesting; a state dict has two or three levels, a tensor in it four.
const DEEPEST: u8 = 64;
/// Items of all compound values together.
const MOST_ITEMS: usize = 1 << 23;
/// Tensors of one file, and references to storages.
const MOST_TENSORS: usize = 1 << 19;

/// A value; compound ones are indices into the [`Heap`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Value<'a> {
    None,
    Bool(bool),
    Int(i64),
    /// An integer of more than 64 bits, little-endian.
    Long(&'a [u8]),
    Float,
    Text(&'a str),
    Global(Global),
    Tuple(usize),
    List(usize),
    /// Keys and values in turn.
    Dict(usize),
    Storage(usize),
    Tensor(usize),
}

/// What the name of a function or class stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Global {
    OrderedDict,
    /// `_rebuild_tensor_v2`: the type of the elements is that of the storage.
    RebuildTensor,
    /// `_rebuild_tensor_v3`: the storage is of bytes, the type is an argument.
    RebuildTyped,
    RebuildParameter,
    Storage(Dtype),
    UntypedStorage,
    Dtype(Dtype),
}

/// A storage as tensors refer to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StorageRef<'a> {
    pub(super) key: &'a str,
    /// Type of the elements; none for bytes that tensors give a type.
    pub(super) dtype: Option<Dtype>,
    /// All of its bytes.
    pub(super) bytes: usize,
}

/// A tensor: a view of a storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TensorRef {
    /// Index of the storage.
    pub(super) storage: usize,
    pub(super) dtype: Dtype,
    /// First element.
    pub(super) offset: usize,
    pub(super) shape: Vec<usize>,
    pub(super) strides: Vec<usize>,
}

struct Compound<'a> {
    depth: u8,
    items: Vec<Value<'a>>,
}

/// All compound values of one pickle.
#[derive(Default)]
pub(super) struct Heap<'a> {
    compounds: Vec<Compound<'a>>,
    /// Items of all of them.
    count: usize,
    pub(super) storages: Vec<StorageRef<'a>>,
    pub(super) tensors: Vec<TensorRef>,
}

impl<'a> Heap<'a> {
    /// Makes a compound of `items`; its index.
    pub(super) fn add(&mut self, items: Vec<Value<'a>>) -> Result<usize, TorchError> {
        self.compounds.push(Compound {
            depth: 0,
            items: Vec::new(),
        });
        let index = self.compounds.len() - 1;
        self.extend(index, items)?;
        Ok(index)
    }

    /// Adds `items` to the compound `index`.
    pub(super) fn extend(&mut self, index: usize, items: Vec<Value<'a>>) -> Result<(), TorchError> {
        let deepest = items.iter().filter_map(|item| match item {
            Value::Tuple(i) | Value::List(i) | Value::Dict(i) => Some(self.compounds[*i].depth + 1),
            _ => None,
        });
        let depth = deepest.max().unwrap_or(0);
        self.count += items.len();
        if self.count > MOST_ITEMS {
            return Err(limit("items", MOST_ITEMS));
        }
        let compound = &mut self.compounds[index];
        compound.depth = compound.depth.max(depth);
        if compound.depth > DEEPEST {
            return Err(limit("levels of nesting", DEEPEST.into()));
        }
        if compound.items.is_empty() {
            compound.items = items;
        } else {
            compound.items.extend(items);
        }
        Ok(())
    }

    /// The value of a new storage.
    pub(super) fn add_storage(&mut self, storage: StorageRef<'a>) -> Result<Value<'a>, TorchError> {
        if self.storages.len() == MOST_TENSORS {
            return Err(limit("storages", MOST_TENSORS));
        }
        self.storages.push(storage);
        Ok(Value::Storage(self.storages.len() - 1))
    }

    /// The value of a new tensor.
    pub(super) fn add_tensor(&mut self, tensor: TensorRef) -> Result<Value<'a>, TorchError> {
        if self.tensors.len() == MOST_TENSORS {
            return Err(limit("tensors", MOST_TENSORS));
        }
        self.tensors.push(tensor);
        Ok(Value::Tensor(self.tensors.len() - 1))
    }

    /// For every compound, whether one of its items is a tensor.
    pub(super) fn with_tensors(&self) -> Vec<bool> {
        let is_tensor = |item: &Value<'_>| matches!(item, Value::Tensor(_));
        let compounds = self.compounds.iter();
        compounds
            .map(|compound| compound.items.iter().any(is_tensor))
            .collect()
    }

    /// The items of the compound `index`.
    pub(super) fn items(&self, index: usize) -> &[Value<'a>] {
        &self.compounds[index].items
    }

    /// Keys and values of the dictionary `index`.
    pub(super) fn pairs(&self, index: usize) -> impl Iterator<Item = (Value<'a>, Value<'a>)> {
        let (pairs, _) = self.items(index).as_chunks::<2>();
        pairs.iter().map(|[key, value]| (*key, *value))
    }
}

/// The error for more than `most` of something.
pub(super) fn limit(what: &'static str, most: usize) -> TorchError {
    TorchError::Limit { what, most }
}
