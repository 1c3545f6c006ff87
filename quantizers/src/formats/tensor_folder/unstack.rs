//! Tensors that hold one matrix for each expert, seen as so many matrices.

use super::{TensorFolder, TensorInfo};

/// What a stacked tensor holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// `[experts, a, b]`.
    Weight,
    /// `[experts, a]`.
    Bias,
}

impl TensorFolder {
    /// Shows every slice of a stacked tensor as a tensor of its own and the whole no more: `M.weight` or `M` of
    /// `[experts, a, b]` as `M.0.weight`, `M.1.weight` .. of `[a, b]`, and `M.bias` or `M_bias` of `[experts, a]` as
    /// `M.0.bias` .. of `[a]`. `modules` are the ends of the names `M`.
    pub fn unstack(&mut self, modules: &[&str]) {
        let stacked: Vec<(String, String, Part)> = self
            .tensors
            .iter()
            .filter_map(|(name, info)| {
                let (module, part) = stacked(name, &info.shape, modules)?;
                Some((name.clone(), module.to_owned(), part))
            })
            .collect();
        for (name, module, part) in stacked {
            let Some(whole) = self.tensors.remove(&name) else {
                continue;
            };
            for index in 0..whole.shape[0] {
                let slice = slice(&whole, index);
                self.tensors.insert(slice_name(&module, index, part), slice);
            }
        }
    }

    /// The names under which the slices of the stacked tensor `name` are shown, where it is one of `modules`.
    pub(in super::super) fn slice_names(
        name: &str,
        shape: &[usize],
        modules: &[&str],
    ) -> Option<Vec<String>> {
        let (module, part) = stacked(name, shape, modules)?;
        let names = (0..shape[0]).map(|index| slice_name(module, index, part));
        Some(names.collect())
    }
}

/// Module and part of a tensor that is a stack of one of `modules`.
fn stacked<'n>(name: &'n str, shape: &[usize], modules: &[&str]) -> Option<(&'n str, Part)> {
    let (module, part) = module_of(name);
    let known = modules.iter().any(|end| is_end(module, end));
    let dimensions = match part {
        Part::Weight => 3,
        Part::Bias => 2,
    };
    (known && shape.len() == dimensions).then_some((module, part))
}

fn slice_name(module: &str, index: usize, part: Part) -> String {
    let suffix = match part {
        Part::Weight => "weight",
        Part::Bias => "bias",
    };
    format!("{module}.{index}.{suffix}")
}

/// The module a tensor belongs to, and as what.
fn module_of(name: &str) -> (&str, Part) {
    for suffix in [".bias", "_bias"] {
        if let Some(module) = name.strip_suffix(suffix) {
            return (module, Part::Bias);
        }
    }
    (name.strip_suffix(".weight").unwrap_or(name), Part::Weight)
}

fn is_end(module: &str, end: &str) -> bool {
    let rest = module.strip_suffix(end);
    rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

fn slice(whole: &TensorInfo, index: usize) -> TensorInfo {
    let size = whole.dtype.bitsize() / 8;
    let shape = whole.shape[1..].to_vec();
    let elements: usize = shape.iter().product();
    let (start, end) = match whole.strides.first() {
        // Elements of a gathered tensor lie anywhere in its range.
        Some(stride) => (index * stride * size, whole.range.len()),
        None => (index * elements * size, (index + 1) * elements * size),
    };
    TensorInfo {
        dtype: whole.dtype,
        bytes: elements * size,
        shape,
        file: whole.file,
        range: whole.range.start + start..whole.range.start + end,
        strides: whole.strides.get(1..).unwrap_or_default().to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use safetensors::tensor::{Dtype, TensorView, serialize};

    #[test]
    fn experts_become_matrices_and_other_tensors_stay() {
        let values: Vec<u8> = (0..12_u8)
            .flat_map(|i| f32::from(i).to_le_bytes())
            .collect();
        let view = |shape: Vec<usize>, bytes| TensorView::new(Dtype::F32, shape, bytes).unwrap();
        let tensors = [
            ("l.0.experts.down_proj", view(vec![2, 2, 3], &values[..])),
            (
                "l.0.experts.down_proj_bias",
                view(vec![2, 2], &values[..16]),
            ),
            ("l.0.input_linear.weight", view(vec![3, 2, 2], &values[..])),
            ("l.0.other", view(vec![3, 2, 2], &values[..])),
        ];
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("model.safetensors");
        fs_err::write(&file, serialize(tensors, None).unwrap()).unwrap();
        let mut folder = TensorFolder::open(dir.path()).unwrap();
        folder.unstack(&["experts.down_proj", "input_linear", "ther"]);
        let names: Vec<&str> = folder.names().collect();
        let expected = [
            "l.0.experts.down_proj.0.bias",
            "l.0.experts.down_proj.0.weight",
            "l.0.experts.down_proj.1.bias",
            "l.0.experts.down_proj.1.weight",
            "l.0.input_linear.0.weight",
            "l.0.input_linear.1.weight",
            "l.0.input_linear.2.weight",
            "l.0.other",
        ];
        assert_eq!(names, expected);
        let floats = |name: &str| folder.floats(name).unwrap().into_owned();
        assert_eq!(
            floats("l.0.experts.down_proj.1.weight"),
            [6.0, 7.0, 8.0, 9.0, 10.0, 11.0]
        );
        assert_eq!(floats("l.0.experts.down_proj.1.bias"), [2.0, 3.0]);
        assert_eq!(floats("l.0.input_linear.2.weight"), [8.0, 9.0, 10.0, 11.0]);
    }
}
