//! Everything an evaluation will need, opened and tried before the first weight is touched: input files of the model,
//! data, columns, labels, tokens. What a quantization is calibrated on is read whole right after, and only once.

use super::data;
use super::watch::{Watch, failed};
use crate::Error;
use crate::machine::Machine;
use crate::model::OpenModel;
use crate::plan::{PlannedEvaluation, QuantizeRequest, SYNTHETIC};
use crate::progress::Progress;
use calib::Forward;
use calib::data::Content;
use calib::hub::FetchOptions;
use eval::subject::Subject;
use eval::tasks::{self, TASKS};

/// Tries the evaluations of `request`.
///
/// # Errors
/// What would keep the road from its end, as far as that is known before the model is run.
pub(super) fn check_request(
    model: &OpenModel,
    request: &QuantizeRequest,
    progress: &Progress,
) -> Result<(), Error> {
    if !request.evaluate {
        return Ok(());
    }
    let (evaluations, machine) = (&request.plan.evaluations, &request.machine);
    check(model, evaluations, machine, &request.fetch, progress)
}

/// Tries `evaluations` on `model` as far as that is possible without running it.
///
/// # Errors
/// What would keep one of them from running.
pub(super) fn check(
    model: &OpenModel,
    evaluations: &[PlannedEvaluation],
    machine: &Machine,
    fetch: &FetchOptions,
    progress: &Progress,
) -> Result<(), Error> {
    if evaluations.is_empty() {
        return Ok(());
    }
    let device = machine.device.open()?;
    let subject = Subject {
        original: Some(Box::new(Forward::new(
            model.model.as_ref(),
            model.weights(),
            device,
        ))),
        quantized: None,
        inputs: data::input_files(&model.name, &model.folder)?,
    };
    for planned in evaluations {
        let spec = &planned.spec;
        let content = if spec.data == SYNTHETIC {
            // What the model will write is not known yet; that it is tokens is.
            Content::Tokens(vec![vec![0, 0]])
        } else {
            let wanted = data::Wanted {
                samples: 0,
                sequence_length: 0,
                seed: 0,
            };
            let tokenizer = subject.inputs.tokenizer.as_ref();
            data::load(&spec.data, &wanted, None, tokenizer, fetch, progress)?
        };
        let watch = Watch::new(progress, &spec.task);
        tasks::check(TASKS, &subject, spec, &content, &watch)
            .map_err(|error| failed(spec, error))?;
    }
    Ok(())
}
