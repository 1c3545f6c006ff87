//! The road of integer-only models: calibrate every activation, compile, write the program.

use super::calibration_inputs::CalibrationInputs;
use super::layer_source::LayerSource;
use super::{Clock, data, early, report, synthetic_ranges, write, written};
use crate::Error;
use crate::model::OpenModel;
use crate::plan::{PlannedInteger, QuantizeRequest};
use crate::progress::Progress;
use calib::{Forward, ModelOutput};
use eval::report::{CandidateFacts, LayerFacts, Report, SlotFacts};
use eval::runner::Pooling;
use quantizers::formats::{ArtifactReader, ArtifactWriter, Written, verify};
use quantizers::integer::Program;
use quantizers::integer::compile::{self, Candidate, Compilation, Options, Slot};
use std::collections::BTreeMap;

/// Carries out an integer-only `request` on `model`.
///
/// # Errors
/// Anything that keeps the road from its end.
pub(super) fn run(
    model: &OpenModel,
    request: &QuantizeRequest,
    planned: &PlannedInteger,
    mut clock: Clock,
    progress: &Progress,
) -> Result<Report, Error> {
    let device = request.machine.device.open()?;
    let forward = Forward::new(model.model.as_ref(), model.weights(), device);
    clock.stage("check", || {
        early::check_request(model, request, progress)?;
        model.check_values(progress)
    })?;
    let activations = clock.stage("calibrate", || {
        CalibrationInputs::prepare(model, &forward, request, progress)
    })?;
    let options = Options {
        pooling: pooling(model)?,
        ..crate::recipe::integer::options(&planned.nonlinear, &planned.activations)
    };
    let source = LayerSource::new(model, request, &activations, progress)?;
    let mut compilation = clock.stage("compile", || {
        compile_with(&source, &options, model, request)
    })?;
    let calibration = clock.stage("compare", || {
        synthetic_ranges::compare(model, &forward, &activations, request, progress)
    })?;
    let slots = compilation.slots.drain(..).map(slot_facts).collect();
    let (mut layers, histograms) = source.into_parts();
    let written = clock.stage("write", || {
        let _unfinished = write::unfinished(request);
        write_all(model, request, &compilation, &mut layers)
    })?;
    let _finished = write::finished(model, request);
    clock.stage("verify", || {
        verified(request, &written, &compilation.program)
    })?;
    let evaluated = written::evaluate(model, request, &mut clock, progress);
    let scores = evaluated.scores();
    let mut made = report::of_quantize(model, request, &written, layers, scores, progress);
    made.histograms = histograms;
    made.nonlinear = slots;
    made.calibration = Some(calibration);
    evaluated.complete(made, request, &clock)
}

fn compile_with(
    source: &LayerSource<'_>,
    options: &Options,
    model: &OpenModel,
    request: &QuantizeRequest,
) -> Result<Compilation, Error> {
    let compiled = compile::compile(model.model.graph(), source, options);
    compiled.map_err(|error| {
        let message = format!("cannot compile `{}` to an integer program", model.name);
        Error::mismatch(message, error).with_hint(format!(
            "calibrated on `{}`; other data, another observer or another approximation may do",
            request
                .plan
                .calibration
                .as_ref()
                .map_or("nothing", |calibration| calibration.data.as_str())
        ))
    })
}

/// How an embedding is made of the states, where the folder says so (sentence-transformers); a bare
/// encoder returns its states.
fn pooling(model: &OpenModel) -> Result<Option<compile::Pooling>, Error> {
    let is_embedding = model.model.output() == ModelOutput::HiddenStates
        && model.model.vocabulary().is_some()
        && model.folder.join("modules.json").is_file();
    if !is_embedding {
        return Ok(None);
    }
    let files = data::input_files(&model.name, &model.folder)?;
    Ok(Some(match files.pooling {
        Pooling::Mean => compile::Pooling::Mean,
        Pooling::First => compile::Pooling::First,
        Pooling::Last => {
            let message = format!(
                "cannot compile `{}` to an integer program: it pools the last token, and programs pool the mean or \
                 the first",
                model.name
            );
            return Err(Error::Mismatch {
                message,
                source: None,
                hint: None,
            });
        }
    }))
}

/// Writes layers, tables and program; fills in the true sizes of `layers`.
fn write_all(
    model: &OpenModel,
    request: &QuantizeRequest,
    compilation: &Compilation,
    layers: &mut [LayerFacts],
) -> Result<Written, Error> {
    let failed = |error| write::failed(request, error);
    let mut writer: ArtifactWriter = write::begin(request)?;
    for (name, tensor) in &compilation.layers {
        let planned = request.plan.layers.iter().find(|layer| layer.name == *name);
        let Some(planned) = planned else {
            return Err(Error::Bug {
                message: format!("the program reads `{name}`, which the plan does not have"),
                source: None,
            });
        };
        let size = writer
            .layer(name, tensor, &planned.plan.scheme)
            .map_err(failed)?;
        if let Some(facts) = layers.iter_mut().find(|facts| facts.name == *name) {
            facts.bits_per_weight = size.bits as f64 / size.weights.max(1) as f64;
        }
    }
    writer
        .integer_program(&compilation.program, &replaced(model, request))
        .map_err(failed)?;
    model.copy_side_files(&mut writer).map_err(failed)?;
    let config = model.artifact.reader().original_config();
    let linear: Vec<String> = compilation
        .layers
        .iter()
        .map(|(name, _)| name.clone())
        .collect();
    writer.finish(&config, &linear).map_err(failed)
}

/// Shapes of the model's tensors that are not in the folder as layers of the same shape.
fn replaced(model: &OpenModel, request: &QuantizeRequest) -> BTreeMap<String, Vec<usize>> {
    let quantized = |name: &str, shape: &[usize]| {
        let layer = name.strip_suffix(".weight");
        let mut layers = request.plan.layers.iter();
        layers.any(|planned| Some(planned.name.as_str()) == layer && planned.shape[..] == *shape)
    };
    (0..model.model.stages())
        .flat_map(|stage| model.model.tensors(stage))
        .filter(|tensor| !quantized(&tensor.name, &tensor.shape))
        .map(|tensor| (tensor.name.clone(), tensor.shape.clone()))
        .collect()
}

/// Opens the folder again, compares every byte, and reads the program back.
fn verified(request: &QuantizeRequest, written: &Written, program: &Program) -> Result<(), Error> {
    let failed = |source: crate::errors::Cause| Error::Verification {
        path: request.output.clone(),
        source,
    };
    verify(&request.output, &written.expected).map_err(|error| failed(error.into()))?;
    let reader = ArtifactReader::open(&request.output).map_err(|error| failed(error.into()))?;
    let again = reader
        .integer_program()
        .map_err(|error| failed(error.into()))?;
    let same = again.is_some_and(|again| {
        again.to_parts() == program.to_parts() && again.weights == program.weights
    });
    if same {
        return Ok(());
    }
    Err(failed(
        "the integer program does not read back as it was compiled".into(),
    ))
}

fn slot_facts(slot: Slot) -> SlotFacts {
    SlotFacts {
        name: slot.name,
        function: slot.function.to_owned(),
        chosen: slot.chosen,
        candidates: slot.candidates.into_iter().map(candidate_facts).collect(),
    }
}

fn candidate_facts(candidate: Candidate) -> CandidateFacts {
    let both = candidate.input_sqnr_db.zip(candidate.output_sqnr_db);
    CandidateFacts {
        name: candidate.name,
        input_sqnr_db: candidate.input_sqnr_db,
        output_sqnr_db: candidate.output_sqnr_db,
        loss_db: both.map(|(input, output)| input - output),
        refused: candidate.refused,
    }
}
