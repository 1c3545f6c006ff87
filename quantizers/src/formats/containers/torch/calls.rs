//! What the calls in a pickle mean: a tensor is a view of a storage, a parameter is its tensor.
//!
//! Nothing is called. Arguments are read as data and every one of them is checked.

use super::error::TorchError;
use super::value::{Global, Heap, StorageRef, TensorRef, Value, limit};
use safetensors::Dtype;

/// Dimensions of a tensor; weights have five at most.
const MOST_DIMENSIONS: usize = 16;

/// Values of a pickle with the place of the instruction that is carried out.
pub(super) struct Call<'h, 'a> {
    pub(super) heap: &'h mut Heap<'a>,
    /// Byte of the instruction.
    pub(super) at: usize,
}

impl<'a> Call<'_, 'a> {
    /// The value that `function` makes of `arguments` (a tuple).
    pub(super) fn result(
        &mut self,
        function: Value<'a>,
        arguments: Value<'a>,
    ) -> Result<Value<'a>, TorchError> {
        let (Value::Global(function), Value::Tuple(arguments)) = (function, arguments) else {
            return self.wrong("a function and a tuple of arguments");
        };
        let arguments = self.heap.items(arguments).to_vec();
        match (function, &arguments[..]) {
            (Global::OrderedDict, []) => self.dictionary(Vec::new()),
            // As Python 2 writes them: a list of pairs.
            (Global::OrderedDict, [Value::List(list)]) => {
                let pairs = self.heap.items(*list).to_vec();
                let mut items = Vec::new();
                for pair in pairs {
                    match pair {
                        Value::List(pair) | Value::Tuple(pair)
                            if self.heap.items(pair).len() == 2 =>
                        {
                            items.extend_from_slice(self.heap.items(pair));
                        }
                        _ => return self.wrong("pairs as the content of an `OrderedDict`"),
                    }
                }
                self.dictionary(items)
            }
            (Global::RebuildTensor, [view @ .., requires_grad, hooks]) if view.len() == 4 => {
                self.tensor(view, *requires_grad, &[*hooks], None)
            }
            (Global::RebuildTensor, [view @ .., requires_grad, hooks, metadata])
                if view.len() == 4 =>
            {
                self.tensor(view, *requires_grad, &[*hooks, *metadata], None)
            }
            (
                Global::RebuildTyped,
                [view @ .., requires_grad, hooks, Value::Global(Global::Dtype(dtype))],
            ) if view.len() == 4 => self.tensor(view, *requires_grad, &[*hooks], Some(*dtype)),
            (
                Global::RebuildTyped,
                [view @ .., requires_grad, hooks, Value::Global(Global::Dtype(dtype)), metadata],
            ) if view.len() == 4 => {
                self.tensor(view, *requires_grad, &[*hooks, *metadata], Some(*dtype))
            }
            (Global::RebuildParameter, [tensor @ Value::Tensor(_), Value::Bool(_), hooks]) => {
                self.nothing(*hooks)?;
                Ok(*tensor)
            }
            (Global::OrderedDict, _) => self.wrong("nothing or a list as the content of an `OrderedDict`"),
            (Global::RebuildTensor | Global::RebuildTyped, _) => self.wrong(
                "(storage, offset, size, stride, requires_grad, hooks) as the arguments of a tensor",
            ),
            (Global::RebuildParameter, _) => {
                self.wrong("(tensor, requires_grad, hooks) as the arguments of a parameter")
            }
            (Global::Storage(_) | Global::UntypedStorage | Global::Dtype(_), _) => {
                self.wrong("a function, found the name of a type")
            }
        }
    }

    /// The storage that a persistent id stands for: `("storage", type, key, device, elements)`.
    pub(super) fn storage(&mut self, id: Value<'a>) -> Result<Value<'a>, TorchError> {
        const ID: &str = "(\"storage\", type, key, device, elements) as the id of a storage";
        let Value::Tuple(id) = id else {
            return self.wrong(ID);
        };
        let id = match self.heap.items(id) {
            // In the old layout a sixth part described views, which nothing has written for years.
            [id @ .., Value::None] if id.len() == 5 => id,
            id => id,
        };
        let &[
            Value::Text("storage"),
            Value::Global(kind),
            Value::Text(key),
            Value::Text(_),
            Value::Int(elements),
        ] = id
        else {
            return self.wrong(ID);
        };
        let dtype = match kind {
            Global::Storage(dtype) => Some(dtype),
            Global::UntypedStorage => None,
            _ => return self.wrong(ID),
        };
        let elements = self.size(elements)?;
        let Some(bytes) = elements.checked_mul(dtype.map_or(1, element_bytes)) else {
            return self.wrong("a storage of less than 2^64 bytes");
        };
        self.heap.add_storage(StorageRef { key, dtype, bytes })
    }

    /// A tensor from `(storage, offset, size, stride)`; `rest` has to be empty.
    fn tensor(
        &mut self,
        view: &[Value<'a>],
        requires_grad: Value<'a>,
        rest: &[Value<'a>],
        dtype: Option<Dtype>,
    ) -> Result<Value<'a>, TorchError> {
        let &[
            Value::Storage(storage),
            Value::Int(offset),
            Value::Tuple(shape),
            Value::Tuple(strides),
        ] = view
        else {
            return self
                .wrong("(storage, offset, size, stride) as the first arguments of a tensor");
        };
        if !matches!(requires_grad, Value::Bool(_)) {
            return self.wrong("a bool as the fifth argument of a tensor");
        }
        for value in rest {
            self.nothing(*value)?;
        }
        let dtype = match (dtype, self.heap.storages[storage].dtype) {
            (Some(dtype), None) | (None, Some(dtype)) => dtype,
            (Some(_), Some(_)) => return self.wrong("a storage of bytes for a tensor with a type"),
            (None, None) => return self.wrong("a storage with a type"),
        };
        let tensor = TensorRef {
            storage,
            dtype,
            offset: self.size(offset)?,
            shape: self.sizes(shape)?,
            strides: self.sizes(strides)?,
        };
        self.heap.add_tensor(tensor)
    }

    fn dictionary(&mut self, items: Vec<Value<'a>>) -> Result<Value<'a>, TorchError> {
        self.heap.add(items).map(Value::Dict)
    }

    /// Hooks and metadata (such as a negated or conjugated view) would change what a tensor means.
    fn nothing(&self, value: Value<'a>) -> Result<(), TorchError> {
        match value {
            Value::None => Ok(()),
            Value::Dict(dict) if self.heap.items(dict).is_empty() => Ok(()),
            _ => self.wrong("a tensor without hooks and metadata"),
        }
    }

    fn sizes(&self, tuple: usize) -> Result<Vec<usize>, TorchError> {
        if self.heap.items(tuple).len() > MOST_DIMENSIONS {
            return Err(limit("dimensions in a tensor", MOST_DIMENSIONS));
        }
        let sizes = self.heap.items(tuple).iter().map(|size| match size {
            Value::Int(size) => self.size(*size),
            _ => self.wrong("integers as sizes and strides"),
        });
        sizes.collect()
    }

    fn size(&self, size: i64) -> Result<usize, TorchError> {
        match usize::try_from(size) {
            Ok(size) => Ok(size),
            Err(_) => self.wrong("sizes, strides and offsets of 0 or more"),
        }
    }

    fn wrong<T>(&self, expected: &'static str) -> Result<T, TorchError> {
        Err(TorchError::Pickle {
            at: self.at,
            expected,
        })
    }
}

/// Bytes of one element; all types here have whole bytes.
pub(super) fn element_bytes(dtype: Dtype) -> usize {
    dtype.bitsize() / 8
}
