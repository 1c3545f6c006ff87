//! A folder without `model.safetensors` or `pytorch_model.bin`: what is there instead, and the way out.

/// Endings of weight files in other forms.
const OTHER_FORMS: [&str; 9] = [
    "bin", "pt", "pth", "gguf", "ckpt", "h5", "msgpack", "onnx", "partial",
];

/// The first line of a file that stands for another in a git repository.
const LFS_HEAD: &[u8] = b"version https://git-lfs.github.com/spec/";

/// Whether `content` is what `git clone` without Git LFS leaves of a large file.
pub fn is_lfs_pointer(content: &[u8]) -> bool {
    content.starts_with(LFS_HEAD)
}

/// What to do about a Git LFS pointer.
pub const LFS_HINT: &str =
    "run `git lfs pull` in the repository it was cloned from, or download the file itself";

/// Whether a file of that name may hold weights that are not read here.
pub(super) fn may_hold_weights(name: &str) -> bool {
    ending(name) == "safetensors" || OTHER_FORMS.contains(&ending(name))
}

/// What to do where a folder holds `others` instead of weights under their usual name.
pub(super) fn hint(others: &[String]) -> Option<String> {
    let first = others.first()?;
    let of_form = |form: &str| others.iter().find(|name| ending(name) == form);
    let tensors: Vec<&String> = others
        .iter()
        .filter(|name| ending(name) == "safetensors")
        .collect();
    if let Some(name) = tensors.iter().find(|name| name.starts_with("adapter")) {
        return Some(format!(
            "`{name}` is an adapter: merge it into its base model (`merge_and_unload` of peft), save that and name its folder"
        ));
    }
    if let Some(name) = tensors.iter().find(|name| name.contains("-of-")) {
        return Some(format!(
            "found shards such as `{name}`: put their `model.safetensors.index.json` beside them, from where they came"
        ));
    }
    if let [name] = tensors[..] {
        return Some(format!(
            "found `{name}`: rename it to `model.safetensors` if it holds the weights"
        ));
    }
    if !tensors.is_empty() {
        let names: Vec<String> = tensors.iter().map(|name| format!("`{name}`")).collect();
        return Some(format!(
            "found {}: rename the one that holds the weights to `model.safetensors`",
            names.join(", ")
        ));
    }
    let shard = others.iter().find(|name| {
        name.starts_with("pytorch_model-") && name.contains("-of-") && ending(name) == "bin"
    });
    if let Some(name) = shard {
        return Some(format!(
            "found shards such as `{name}`: put their `pytorch_model.bin.index.json` beside them, from where they came"
        ));
    }
    if let Some(name) = of_form("partial") {
        return Some(format!(
            "found `{name}`, left by a run that did not finish: run it again"
        ));
    }
    let gguf: Vec<String> = others
        .iter()
        .filter(|name| ending(name) == "gguf")
        .map(|name| format!("`{name}`"))
        .collect();
    if !gguf.is_empty() {
        return Some(format!("found {}: name one of them", gguf.join(", ")));
    }
    if let Some(name) = others.iter().find(|name| is_torch(name)) {
        return Some(format!(
            "found `{name}`: rename it to `pytorch_model.bin` if it holds the weights under their names in transformers"
        ));
    }
    Some(format!(
        "found `{first}`: load it once in transformers and `save_pretrained` it, which writes safetensors"
    ))
}

/// Whether a file of that name may be a state dict, and not what a trainer leaves beside one.
fn is_torch(name: &str) -> bool {
    const BESIDE: [&str; 4] = ["training_args", "optimizer", "scheduler", "rng_state"];
    matches!(ending(name), "bin" | "pt" | "pth")
        && !BESIDE.iter().any(|beside| name.starts_with(beside))
}

fn ending(name: &str) -> &str {
    name.rsplit_once('.').map_or("", |(_, ending)| ending)
}

#[cfg(test)]
mod tests {
    use super::hint;

    fn of(names: &[&str]) -> String {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        hint(&names).unwrap_or_default()
    }

    #[test]
    fn each_kind_of_folder_has_its_own_way_out() {
        assert!(of(&["tf_model.h5", "training_args.bin"]).contains("save_pretrained"));
        assert!(of(&["weights.pth"]).contains("rename it to `pytorch_model.bin`"));
        assert!(of(&["pytorch_model-00001-of-00002.bin"]).contains("bin.index.json"));
        assert!(of(&["weights.safetensors"]).contains("rename it to `model.safetensors`"));
        assert!(of(&["model-00001-of-00002.safetensors"]).contains("index.json"));
        assert!(of(&["adapter_model.safetensors"]).contains("adapter"));
        assert!(of(&["a.Q4_K.gguf", "b.gguf"]).contains("`b.gguf`: name one of them"));
        assert!(of(&["model-spool-00001.partial"]).contains("did not finish"));
        assert_eq!(of(&[]), "");
    }
}
