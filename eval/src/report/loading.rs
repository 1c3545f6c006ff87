//! How an artifact is loaded: by what reads its format, with the versions that do.

use super::model::{LayerFacts, Report};
use crate::kind::ModelKind;
use serde::Serialize;

/// First release of transformers that reads compressed-tensors, and the last that was tried.
const TRANSFORMERS: &str =
    "transformers 4.46 or later (5.24 was tried) with compressed-tensors installed";
/// First release of vLLM that reads 4-bit and 8-bit weights of compressed-tensors.
const VLLM: &str = "vLLM 0.5.1 or later";
/// Widths that vLLM has kernels for.
const VLLM_BITS: [u8; 2] = [4, 8];
/// Group sizes that it has kernels for, besides a scale for each channel.
const VLLM_GROUPS: [usize; 3] = [32, 64, 128];

/// One way to load the artifact.
#[derive(Debug, Serialize)]
pub(super) struct Loading {
    with: String,
    pub(super) code: String,
    language: &'static str,
}

/// Every way, the most common first; none for a report without an artifact.
pub(super) fn ways(report: &Report) -> Vec<Loading> {
    let Some(artifact) = &report.artifact else {
        return Vec::new();
    };
    let shell = shell_word(&artifact.path);
    let quench = Loading {
        with: "quench".to_owned(),
        // An integer program has no float weights to export.
        code: if report.nonlinear.is_empty() {
            format!("quench eval {shell}\nquench export {shell} --format dense -o dense")
        } else {
            format!("quench eval {shell}\nquench inspect {shell}")
        },
        language: "sh",
    };
    let class = kind(report).map_or("AutoModel", auto_class);
    let python = format!("{:?}", artifact.path);
    let transformers = |with: &str| Loading {
        with: with.to_owned(),
        code: format!(
            "from transformers import {class}\n\nmodel = {class}.from_pretrained({python})"
        ),
        language: "python",
    };
    let vllm = Loading {
        with: VLLM.to_owned(),
        code: format!("vllm serve {shell}"),
        language: "sh",
    };
    match artifact.format.as_str() {
        format if format.starts_with("compressed-tensors") => {
            let mut ways = vec![transformers(TRANSFORMERS)];
            if kind(report) == Some(ModelKind::Decoder) && report.layers.iter().all(vllm_reads) {
                ways.push(vllm);
            }
            ways.push(quench);
            ways
        }
        format if format.starts_with("dense") => vec![transformers(
            "transformers, any version that knows the model",
        )],
        _ => vec![quench],
    }
}

/// What the model is for; reports of earlier versions say it by their scores alone.
fn kind(report: &Report) -> Option<ModelKind> {
    let scored = |task: &str| report.scores.iter().any(|score| score.task == task);
    report
        .model
        .kind
        .or_else(|| scored("perplexity").then_some(ModelKind::Decoder))
}

/// The class of transformers that opens such a model with its head.
fn auto_class(kind: ModelKind) -> &'static str {
    match kind {
        ModelKind::Decoder => "AutoModelForCausalLM",
        ModelKind::TextClassifier | ModelKind::TextRegressor => {
            "AutoModelForSequenceClassification"
        }
        ModelKind::ImageClassifier | ModelKind::ImageRegressor => "AutoModelForImageClassification",
        ModelKind::MaskedModel => "AutoModelForMaskedLM",
        ModelKind::TokenClassifier => "AutoModelForTokenClassification",
        ModelKind::TextEncoder | ModelKind::ImageEncoder => "AutoModel",
    }
}

fn vllm_reads(layer: &LayerFacts) -> bool {
    VLLM_BITS.contains(&layer.bits)
        && layer.input_bits.is_none_or(|bits| bits == 8)
        && layer
            .group_size
            .is_none_or(|size| VLLM_GROUPS.contains(&size))
}

/// `text` as one word of a POSIX shell.
fn shell_word(text: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "/._-+:@".contains(letter);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::sample;

    #[test]
    fn loading_depends_on_the_format_and_quotes_the_path() {
        let mut report = sample::report();
        assert!(ways(&report)[0].code.starts_with("quench eval 'out <3'\n"));
        let artifact = report.artifact.as_mut().unwrap();
        artifact.format = "compressed-tensors".into();
        artifact.path = "out".into();
        for layer in &mut report.layers {
            (layer.bits, layer.group_size) = (4, Some(128));
        }
        report.model.kind = Some(ModelKind::Decoder);
        let found = ways(&report);
        assert_eq!(found.len(), 3);
        assert!(found[0].code.contains("AutoModelForCausalLM"));
        assert_eq!(found[1].code, "vllm serve out");
        // vLLM has no kernels for 3 bits.
        report.layers[0].bits = 3;
        assert_eq!(ways(&report).len(), 2);
    }

    #[test]
    fn classes_follow_the_model_even_where_nothing_was_scored() {
        let mut report = sample::report();
        report.scores.clear();
        report.artifact.as_mut().unwrap().format = "dense-bf16".into();
        for (kind, class) in [
            (
                ModelKind::TextClassifier,
                "AutoModelForSequenceClassification",
            ),
            (
                ModelKind::ImageClassifier,
                "AutoModelForImageClassification",
            ),
            (ModelKind::TextEncoder, "AutoModel"),
        ] {
            report.model.kind = Some(kind);
            assert!(ways(&report)[0].code.contains(&format!("import {class}\n")));
        }
    }
}
