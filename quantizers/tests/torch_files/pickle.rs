//! Pickles written instruction by instruction.

/// A pickle in the making.
#[derive(Clone, Default)]
pub(crate) struct Pickle(pub(crate) Vec<u8>);

impl Pickle {
    /// Protocol 2, as `torch.save` has it.
    pub(crate) fn new() -> Self {
        Self(vec![0x80, 2])
    }

    /// Bytes as they are.
    pub(crate) fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    pub(crate) fn text(self, text: &str) -> Self {
        let length = u32::try_from(text.len()).unwrap();
        self.raw(b"X")
            .raw(&length.to_le_bytes())
            .raw(text.as_bytes())
    }

    pub(crate) fn global(self, module: &str, name: &str) -> Self {
        self.raw(format!("c{module}\n{name}\n").as_bytes())
    }

    pub(crate) fn int(self, value: i64) -> Self {
        match i32::try_from(value) {
            Ok(value) => self.raw(b"J").raw(&value.to_le_bytes()),
            Err(_) => self.raw(&[0x8a, 8]).raw(&value.to_le_bytes()),
        }
    }

    /// `(values, ...)`
    pub(crate) fn ints(mut self, values: &[i64]) -> Self {
        self = self.raw(b"(");
        for value in values {
            self = self.int(*value);
        }
        self.raw(b"t")
    }

    /// An empty `OrderedDict`.
    pub(crate) fn ordered_dict(self) -> Self {
        self.global("collections", "OrderedDict").raw(b")R")
    }

    /// The storage `key` of `elements` of the class `kind`.
    pub(crate) fn storage(self, kind: &str, key: &str, elements: i64) -> Self {
        self.raw(b"(")
            .text("storage")
            .global("torch", kind)
            .text(key)
            .text("cpu")
            .int(elements)
            .raw(b"tQ")
    }

    /// A view of an f32 storage `0`.
    pub(crate) fn tensor(self, view: &View) -> Self {
        self.global("torch._utils", "_rebuild_tensor_v2")
            .raw(b"(")
            .storage(view.kind, "0", view.elements)
            .int(view.offset)
            .ints(view.shape)
            .ints(view.strides)
            .raw(&[0x89])
            .ordered_dict()
            .raw(b"tR")
    }

    pub(crate) fn stop(self) -> Vec<u8> {
        self.raw(b".").0
    }
}

/// The arguments of a tensor.
pub(crate) struct View<'a> {
    pub(crate) kind: &'a str,
    pub(crate) elements: i64,
    pub(crate) offset: i64,
    pub(crate) shape: &'a [i64],
    pub(crate) strides: &'a [i64],
}

/// All six f32 of [`SIX`], as a `[2, 3]` matrix.
pub(crate) const PLAIN: View<'static> = View {
    kind: "FloatStorage",
    elements: 6,
    offset: 0,
    shape: &[2, 3],
    strides: &[3, 1],
};

/// 0 to 5.
pub(crate) fn six() -> Vec<u8> {
    (0..6_u8).flat_map(|i| f32::from(i).to_le_bytes()).collect()
}

/// The pickle of a state dict with one tensor `weight`.
pub(crate) fn state_dict(view: &View) -> Vec<u8> {
    Pickle::new()
        .raw(b"}(")
        .text("weight")
        .tensor(view)
        .raw(b"u")
        .stop()
}
