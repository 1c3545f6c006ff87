//! Which of the values in a checkpoint are the weights.

use super::error::{TorchError, shown};
use super::value::{Heap, Value};

/// Keys under which training scripts put the state dict beside other things.
const NESTED: [&str; 2] = ["state_dict", "model"];

/// Name and index of every tensor of the state dict in `root`: that is `root` itself, or what it has under
/// one of the usual keys. Numbers, texts and other values beside the tensors are left out.
///
/// # Errors
/// No dictionary, none with tensors, several of them, a name that is no text.
pub(super) fn tensors<'a>(
    heap: &Heap<'a>,
    root: Value<'a>,
) -> Result<Vec<(&'a str, usize)>, TorchError> {
    let Value::Dict(dict) = root else {
        let found = match root {
            Value::Tensor(_) => "a tensor",
            Value::List(_) | Value::Tuple(_) => "a list",
            _ => "another value",
        };
        return Err(TorchError::NoStateDict { found });
    };
    let with_tensors = heap.with_tensors();
    let inner = |value: Value<'a>| match value {
        Value::Dict(inner) => with_tensors[inner].then_some(inner),
        _ => None,
    };
    if with_tensors[dict] {
        // A dictionary of tensors beside tensors: which of the two are the weights?
        let second = heap.pairs(dict).find(|(_, value)| inner(*value).is_some());
        return match second {
            None => named(heap, dict),
            Some((key, _)) => Err(TorchError::Ambiguous {
                first: "the file itself".to_owned(),
                second: text(key).map(shown)?,
            }),
        };
    }
    let usual = |key: Value<'a>| NESTED.into_iter().find(|name| Value::Text(name) == key);
    let mut nested = heap
        .pairs(dict)
        .filter_map(|(key, value)| Some((usual(key)?, inner(value)?)));
    match (nested.next(), nested.next()) {
        (Some((_, dict)), None) => named(heap, dict),
        (None, _) => Err(TorchError::NoStateDict {
            found: "one without tensors",
        }),
        (Some((first, _)), Some((second, _))) => Err(TorchError::Ambiguous {
            first: format!("`{first}`"),
            second: second.to_owned(),
        }),
    }
}

fn named<'a>(heap: &Heap<'a>, dict: usize) -> Result<Vec<(&'a str, usize)>, TorchError> {
    let tensors = heap.pairs(dict).filter_map(|(key, value)| match value {
        Value::Tensor(tensor) => Some(text(key).map(|name| (name, tensor))),
        _ => None,
    });
    tensors.collect()
}

fn text(key: Value<'_>) -> Result<&str, TorchError> {
    match key {
        Value::Text(name) => Ok(name),
        _ => Err(TorchError::Name),
    }
}
