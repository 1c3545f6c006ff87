//! Checkpoints as PyTorch itself writes them give the bytes their safetensors twins give.

use crate::{assets, quench};
use std::path::Path;
use std::process::Command;

/// Layouts of `tests/golden/make_torch_twin.py` that hold the same values in the same types.
const LAYOUTS: [&str; 3] = ["zip", "legacy", "shards"];

fn twin(python: &Path, model: &Path, out: &Path, layout: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let made = Command::new(python)
        .arg(root.join("tests/golden/make_torch_twin.py"))
        .args([model, out])
        .arg(layout)
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&made.stderr);
    assert!(made.status.success(), "{stderr}");
}

/// Quantizes `model` and gives back the weights.
fn weights(folder: &Path, model: &str, out: &str, options: &[&str]) -> Vec<u8> {
    let words = ["quantize", model, "-o", out, "--no-eval"];
    quench(folder, &[&words[..], options].concat());
    std::fs::read(folder.join(out).join("model.safetensors")).unwrap()
}

#[test]
#[ignore = "needs QUENCH_ASSETS, and QUENCH_PYTHON with torch and safetensors"]
fn every_asset_and_its_twins_give_the_same_bytes_by_hand() {
    let python = std::env::var_os("QUENCH_PYTHON").expect("QUENCH_PYTHON is set");
    let text = include_str!("../fixtures/text/sampled.txt");
    let text: String = text.chars().take(6000).collect();
    let calibrated: &[&str] = &[
        "-r",
        "w4",
        "--calib",
        "t.txt",
        "--samples",
        "6",
        "--sequence-length",
        "48",
    ];
    let plain: &[&str] = &["--method", "rtn", "--bits", "4"];
    for (asset, options) in [
        ("wiki-llama-1.4m", calibrated),
        ("wiki-llama-10m", plain),
        ("stories260k", plain),
        ("minilm-l6-v2", plain),
        ("minilm-sst2", plain),
        ("vit-cifar10", plain),
    ] {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("t.txt"), &text).unwrap();
        let model = assets().join(asset);
        let expected = weights(folder.path(), model.to_str().unwrap(), "out", options);
        for layout in LAYOUTS {
            twin(
                Path::new(&python),
                &model,
                &folder.path().join(layout),
                layout,
            );
            let out = format!("out-{layout}");
            let found = weights(folder.path(), layout, &out, options);
            assert!(found == expected, "{asset}: {layout} differs");
        }
    }
}
