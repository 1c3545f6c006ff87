//! The cache of keys and values that a recipe asks for: fitted to calibration data, written beside the weights.

use super::calibration::{Calibration, scratch_folder, watched};
use super::write;
use crate::Error;
use crate::model::OpenModel;
use crate::plan::{FITTED_TOKENS, PlannedAttention, PlannedCache, QuantizeRequest};
use crate::progress::Progress;
use calib::Forward;
use calib::running::fisher::{KeyValueOptions, Sequence};
use eval::attention::Refused;
use eval::attention::candidate::{BlockPlan, BlockShape, Candidate, Way, shapes};
use eval::attention::fit::{Codecs, fit};
use eval::attention::fit_backward::{Fitting, fit_backward};
use eval::metrics::mean;
use quantizers::caches::{CachePlan, CacheTensor, CacheValues, KeyHook};
use quantizers::formats::kv_quant::{KvQuant, KvQuantCalibration, KvQuantHeader, KvQuantLayer};
use quantizers::formats::sparse_attention::AttentionHeader;
use quantizers::formats::{ArtifactWriter, FormatError};
use quantizers::graph::QkvNode;
use serde_json::{Map, Value};

/// Fits the cache of `planned` and adds its files to the artifact.
///
/// # Errors
/// A model that cannot be run, keys and values the method cannot be fitted to, a full disk.
pub(super) fn write(
    model: &OpenModel,
    forward: &Forward<'_>,
    planned: &PlannedCache,
    calibration: Option<&Calibration>,
    (request, writer): (&QuantizeRequest, &mut ArtifactWriter),
    progress: &Progress,
) -> Result<(), Error> {
    let candidate = Candidate {
        method: "cache",
        label: planned.method.clone(),
        engines: None,
        way: Way::Cache(planned.configured().map_err(|error| Error::Bug {
            message: "the plan does not configure its own cache".to_owned(),
            source: Some(error.into()),
        })?),
        kept: planned.kept.clone(),
    };
    let refused = |error: Refused| Error::Bug {
        message: "the plan has a cache that the model cannot have".to_owned(),
        source: Some(error.into()),
    };
    let shapes = shapes(model.model.as_ref(), 1).map_err(refused)?;
    let plans = candidate.plans(&shapes).map_err(refused)?;
    let Way::Cache(quantizer) = &candidate.way else {
        unreachable!("it was made one above");
    };
    let sequences = calibration.filter(|_| planned.needs_samples);
    let sequences = sequences.map_or(&[][..], first_sequences);
    let fitting = Fitting {
        quantizer: quantizer.as_ref(),
        plans: &plans,
    };
    let fitted = if planned.needs_gradients {
        let planned_calibration = request.plan.calibration.as_ref();
        let scratch = scratch_folder(progress)?;
        let options = KeyValueOptions {
            seed: request.plan.seed,
            memory_bytes: planned_calibration.map_or(0, |found| found.kept_input_bytes),
            scratch: scratch.path().to_owned(),
        };
        watched(progress, "cache", |report| {
            fit_backward(forward, &shapes, &[fitting], sequences, &options, report)
        })
        .map(|mut codecs| codecs.pop().unwrap_or_default())
    } else {
        let batches = sequences.iter().map(|sequence| sequence.input.clone());
        let track = progress.stage("cache", model.model.stages() - 1);
        let quantizer = quantizer.as_ref();
        fit(
            forward,
            quantizer,
            (&shapes, &plans),
            batches.collect(),
            &|| track.advance(1),
        )
    };
    let fitted = fitted.map_err(|error| {
        let hint = error.hint();
        let message = format!(
            "cannot fit the cache `{}` to `{}`",
            planned.method, model.name
        );
        Error::mismatch(message, error).hinted(hint)
    })?;
    let names = (&model.name[..], sequences.len());
    let files = files(planned, request, names, (&shapes, &plans), &fitted)?;
    let failed = |error| write::failed(request, error);
    files.write(writer).map_err(failed)?;
    if let Some(scheme) = quantizer.engine_scheme() {
        for (block, tensors) in &files.tensors {
            engine_scales(model, *block, tensors, writer).map_err(failed)?;
        }
        writer.cache_scheme(scheme);
    }
    Ok(())
}

/// Adds the file of `planned` to the artifact.
///
/// # Errors
/// A full disk.
pub(super) fn write_attention(
    model: &OpenModel,
    planned: &PlannedAttention,
    (request, writer): (&QuantizeRequest, &mut ArtifactWriter),
) -> Result<(), Error> {
    let header = AttentionHeader {
        attention_version: AttentionHeader::VERSION,
        method: planned.method.clone(),
        parameters: json_table(&planned.parameters)?,
        model: model.name.clone(),
        kept_layers: planned.kept.clone(),
    };
    let failed = |error| write::failed(request, error);
    header.write(writer).map_err(failed)
}

/// The scales of one block as engines look for them: beside the projections, in the type of the model.
fn engine_scales(
    model: &OpenModel,
    block: usize,
    tensors: &[CacheTensor],
    writer: &mut ArtifactWriter,
) -> Result<(), FormatError> {
    let blocks = model.model.graph().blocks();
    let node = blocks
        .filter(|node| node.index == block)
        .map(|node| &node.attention.qkv);
    let layer = node.last().map(|qkv| match qkv {
        QkvNode::Separate { key, .. } => key.name.as_str(),
        QkvNode::Fused { layer, .. } => layer.name.as_str(),
        QkvNode::Latent(_) => unreachable!("planning refuses latent attention"),
    });
    let layer = layer.unwrap_or_default();
    let module = layer.rsplit_once('.').map_or("", |(module, _)| module);
    let originals = model.artifact.reader().originals();
    let weight = format!("{layer}.weight");
    let stored = originals
        .get(&weight)
        .ok_or_else(|| FormatError::MissingTensor {
            origin: model.folder.clone(),
            name: weight.clone(),
            nearest: None,
        })?;
    for tensor in tensors {
        let values: Vec<f32> = match &tensor.values {
            CacheValues::F16(values) => values.iter().map(|value| value.to_f32()).collect(),
            CacheValues::F32(values) => values.clone(),
        };
        let name = format!("{module}.{}", tensor.name);
        writer.changed(&name, stored.dtype, &tensor.shape, &values)?;
    }
    Ok(())
}

/// The first sequences, as many as a cache is fitted to.
fn first_sequences(calibration: &Calibration) -> &[Sequence] {
    let mut tokens = 0;
    let lengths = calibration.lengths();
    let taken = lengths.iter().take_while(|length| {
        let first = tokens == 0;
        tokens += **length;
        first || tokens <= FITTED_TOKENS
    });
    &calibration.sequences[..taken.count()]
}

fn files(
    planned: &PlannedCache,
    request: &QuantizeRequest,
    (model, sequences): (&str, usize),
    (shapes, plans): (&[BlockShape], &[BlockPlan]),
    fitted: &Codecs,
) -> Result<KvQuant, Error> {
    let packed: Vec<&CachePlan> = plans
        .iter()
        .filter_map(|plan| match plan {
            BlockPlan::Cache(plan) => Some(plan),
            BlockPlan::Kept | BlockPlan::Attention { .. } => None,
        })
        .collect();
    let most = |count: fn(&CachePlan) -> usize| packed.iter().map(|plan| count(plan)).max();
    let taken = |hook| packed.iter().any(|plan| plan.hook == hook);
    let hook = match [KeyHook::BeforeRotary, KeyHook::AfterRotary].map(taken) {
        [true, false] => "pre_rope",
        [false, _] => "post_rope",
        [true, true] => "by_layer",
    };
    let calibration = request.plan.calibration.as_ref();
    let layers = shapes
        .iter()
        .zip(fitted)
        .map(|(shape, codec)| KvQuantLayer {
            layer: shape.cache.layer,
            kept: codec.is_none(),
            settings: codec.as_ref().map_or(Value::Null, |codec| codec.settings()),
        });
    let tensors = shapes.iter().zip(fitted).filter_map(|(shape, codec)| {
        let tensors = codec.as_ref()?.tensors();
        (!tensors.is_empty()).then_some((shape.cache.layer, tensors))
    });
    let bits = |of: fn(&CachePlan) -> f64| {
        let bits: Vec<f64> = packed.iter().map(|plan| of(plan)).collect();
        if bits.is_empty() { 16.0 } else { mean(&bits) }
    };
    Ok(KvQuant {
        header: KvQuantHeader {
            kv_quant_version: KvQuantHeader::VERSION,
            method: planned.method.clone(),
            parameters: json_table(&planned.parameters)?,
            hook: hook.to_owned(),
            model: model.to_owned(),
            calib: calibration
                .filter(|_| planned.needs_samples)
                .map(|found| KvQuantCalibration {
                    dataset: found.data.clone(),
                    samples: sequences,
                    seqlen: found.sequence_length,
                    seed: request.plan.seed,
                }),
            bits_k: bits(|plan| plan.key_bits),
            bits_v: bits(|plan| plan.value_bits),
            bytes_per_token: planned.bytes_per_token,
            residual_tokens: most(|plan| plan.recent_keys.max(plan.recent_values)).unwrap_or(0),
            sink_tokens: most(|plan| plan.first).unwrap_or(0),
            layers: layers.collect(),
        },
        tensors: tensors.collect(),
    })
}

/// Parameters of a recipe as JSON.
fn json_table(table: &toml::Table) -> Result<Map<String, Value>, Error> {
    let json = serde_json::to_string(table).and_then(|text| serde_json::from_str(&text));
    json.map_err(|error| Error::Bug {
        message: "cannot write the parameters of a method as JSON".to_owned(),
        source: Some(error.into()),
    })
}
