//! The functions and classes a checkpoint may name. Nothing else is looked up, and these are not called
//! either: they only say what kind of value follows.

use super::error::{TorchError, shown};
use super::value::Global;
use safetensors::Dtype;

/// Module, name, and what it stands for.
const GLOBALS: &[(&str, &str, Global)] = &[
    ("collections", "OrderedDict", Global::OrderedDict),
    ("torch._utils", "_rebuild_tensor_v2", Global::RebuildTensor),
    ("torch._utils", "_rebuild_tensor_v3", Global::RebuildTyped),
    (
        "torch._utils",
        "_rebuild_parameter",
        Global::RebuildParameter,
    ),
    ("torch", "DoubleStorage", Global::Storage(Dtype::F64)),
    ("torch", "FloatStorage", Global::Storage(Dtype::F32)),
    ("torch", "HalfStorage", Global::Storage(Dtype::F16)),
    ("torch", "BFloat16Storage", Global::Storage(Dtype::BF16)),
    ("torch", "LongStorage", Global::Storage(Dtype::I64)),
    ("torch", "IntStorage", Global::Storage(Dtype::I32)),
    ("torch", "ShortStorage", Global::Storage(Dtype::I16)),
    ("torch", "CharStorage", Global::Storage(Dtype::I8)),
    ("torch", "ByteStorage", Global::Storage(Dtype::U8)),
    ("torch", "BoolStorage", Global::Storage(Dtype::BOOL)),
    ("torch.storage", "UntypedStorage", Global::UntypedStorage),
    // Types that have no storage class of their own; arguments of `_rebuild_tensor_v3`.
    ("torch", "uint16", Global::Dtype(Dtype::U16)),
    ("torch", "uint32", Global::Dtype(Dtype::U32)),
    ("torch", "uint64", Global::Dtype(Dtype::U64)),
    ("torch", "float8_e4m3fn", Global::Dtype(Dtype::F8_E4M3)),
    ("torch", "float8_e5m2", Global::Dtype(Dtype::F8_E5M2)),
];

/// What `module.name` stands for.
///
/// # Errors
/// Everything that is not in the table.
pub(super) fn find(module: &str, name: &str) -> Result<Global, TorchError> {
    let known = GLOBALS
        .iter()
        .find(|(of, known, _)| (*of, *known) == (module, name));
    let found = known.map(|(_, _, global)| *global);
    found.ok_or_else(|| TorchError::Global {
        name: shown(&format!("{module}.{name}")),
    })
}
