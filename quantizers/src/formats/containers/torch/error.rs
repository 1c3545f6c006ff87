//! What can be wrong with a PyTorch checkpoint.

use thiserror::Error;

/// A file that is no checkpoint of `torch.save`, is damaged, or asks for more than tensors.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TorchError {
    /// Neither of the two layouts of `torch.save`.
    #[error("expected a zip archive or a pickle of `torch.save`, found neither")]
    Unknown,
    /// The layout of PyTorch before 0.1.10.
    #[error("it is a tar archive, as PyTorch wrote before version 0.1.10")]
    Tar,
    /// A safetensors file under a name of PyTorch.
    #[error("it is a safetensors file under another name")]
    Safetensors,
    /// The file ends before what it announces.
    #[error("it ends early: byte {at} is the last, and {what} goes on")]
    Truncated {
        /// Length of the file, or of its part.
        at: usize,
        /// What was being read.
        what: &'static str,
    },
    /// An instruction that `torch.save` does not write for tensors.
    #[error(
        "its pickle has the instruction 0x{opcode:02x} at byte {at}, which no state dict needs"
    )]
    Opcode {
        /// The instruction.
        opcode: u8,
        /// Where it stands.
        at: usize,
    },
    /// A function or class that is not read.
    #[error(
        "its pickle refers to `{name}`, expected nothing but tensors, numbers, texts and dictionaries"
    )]
    Global {
        /// Module and name.
        name: String,
    },
    /// Something that is called with what it does not take, or that cannot be called.
    #[error("its pickle is wrong at byte {at}: expected {expected}")]
    Pickle {
        /// Where the instruction stands.
        at: usize,
        /// What would be right.
        expected: &'static str,
    },
    /// More of something than any checkpoint has.
    #[error("its pickle has more than {most} {what}")]
    Limit {
        /// Of what.
        what: &'static str,
        /// How many are read.
        most: usize,
    },
    /// Tensors of another byte order.
    #[error("its tensors are big-endian, expected little-endian")]
    ByteOrder,
    /// A zip archive that is wrong as a whole.
    #[error("its zip directory is damaged: {what}")]
    Zip {
        /// What is wrong with it.
        what: &'static str,
    },
    /// An entry of the archive that cannot be used.
    #[error("entry `{entry}` of its zip archive {what}")]
    Entry {
        /// Its name.
        entry: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A storage that tensors refer to and that is not there.
    #[error("it has no storage `{key}`, to which tensors refer")]
    MissingStorage {
        /// Its key.
        key: String,
    },
    /// A storage that the file lists and that no tensor needs, or lists twice.
    #[error("its list of storages has `{key}`, which {what}")]
    ListedStorage {
        /// Its key.
        key: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A storage of another size than the tensors say.
    #[error("storage `{key}`: expected {expected} bytes, found {found}")]
    StorageSize {
        /// Its key.
        key: String,
        /// Bytes the pickle announces.
        expected: u64,
        /// Bytes there are, or announced elsewhere.
        found: u64,
    },
    /// A tensor that reaches beyond its storage.
    #[error(
        "tensor `{name}`: shape {shape:?} with strides {strides:?} from element {offset} does not fit its storage of {elements} elements"
    )]
    Layout {
        /// The tensor.
        name: String,
        /// Its dimensions.
        shape: Vec<usize>,
        /// Elements from one index to the next.
        strides: Vec<usize>,
        /// First element.
        offset: usize,
        /// Elements of the storage.
        elements: usize,
    },
    /// The same name twice.
    #[error("it has two entries `{name}`")]
    Duplicate {
        /// The name.
        name: String,
    },
    /// A name that is no text.
    #[error("an entry of its state dict has a name that is no text")]
    Name,
    /// Not a dictionary with tensors.
    #[error("expected a dictionary of tensors, found {found}")]
    NoStateDict {
        /// What it holds.
        found: &'static str,
    },
    /// More than one dictionary of tensors.
    #[error("it holds more than one set of tensors: {first} and `{second}`")]
    Ambiguous {
        /// One of them.
        first: String,
        /// Key of the other.
        second: String,
    },
}

impl TorchError {
    /// What the user could do about it, in one line.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Tar => {
                "load it with an old PyTorch and `torch.save` it again, or save it as safetensors"
            }
            Self::Safetensors => "rename it to `model.safetensors`",
            Self::Global { .. }
            | Self::Opcode { .. }
            | Self::NoStateDict { .. }
            | Self::Ambiguous { .. } => {
                "save the weights alone: `torch.save(model.state_dict(), ...)`, or `save_pretrained` in transformers; nothing in the file was executed"
            }
            Self::Entry { .. } => "load it with `torch.load` and `torch.save` it again",
            Self::Truncated { .. } | Self::StorageSize { .. } | Self::Zip { .. } => {
                "the file is damaged or its download was cut short: get it again"
            }
            _ => return None,
        })
    }
}

/// At most this many characters of a name from a file are shown.
const SHOWN: usize = 100;

/// A name from a file as it may be shown: short, and without control characters.
pub(super) fn shown(name: &str) -> String {
    let mut text: String = name
        .chars()
        .take(SHOWN)
        .flat_map(char::escape_debug)
        .collect();
    if name.chars().nth(SHOWN).is_some() {
        text.push_str("...");
    }
    text
}
