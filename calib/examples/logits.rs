//! Writes what this program's own forward pass answers, for another program to reproduce.
//!
//! ```text
//! cargo run --release -p calib --example logits -- FOLDER OUT.safetensors
//! python tests/golden/load_in_transformers.py FOLDER OUT.safetensors
//! ```
//! FOLDER is a quantized artifact or a plain checkpoint of a text model. The file holds `input_ids`,
//! `[2, 64]` random tokens, and `logits`, or `hidden` for encoders without a head.

use burn::tensor::{Device, Int, Tensor, TensorData};
use calib::artifact::Artifact;
use calib::{Checkpoint, Forward, Hidden, ModelOutput, open_model};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use std::error::Error;
use std::path::PathBuf;

const SHAPE: [usize; 2] = [2, 64];

fn main() -> Result<(), Box<dyn Error>> {
    let mut words = std::env::args().skip(1).map(PathBuf::from);
    let folder = words.next().ok_or("no folder given")?;
    let out = words.next().ok_or("no file to write given")?;
    let checkpoint = Checkpoint::open(&folder)?;
    let weights = Artifact::open(&folder)?;
    let model = open_model(checkpoint.config(), &weights)?;
    let vocabulary = model.vocabulary().ok_or("not a text model")?;
    let vocabulary = i64::try_from(vocabulary)?;
    let mut random = ChaCha8Rng::seed_from_u64(0);
    let ids: Vec<i64> = (0..SHAPE[0] * SHAPE[1])
        .map(|_| random.random_range(0..vocabulary))
        .collect();
    let device = Device::flex();
    let tokens = Tensor::<2, Int>::from_data(TensorData::new(ids.clone(), SHAPE), &device);
    let forward = Forward::new(model.as_ref(), &weights, device);
    let answers = forward.run(0..model.stages(), vec![Hidden::Tokens(tokens)])?;
    let Some(Hidden::States(answer)) = answers.into_iter().next() else {
        return Err("the model answers no states".into());
    };
    // Class logits are [batch, 1, classes] here and [batch, classes] elsewhere.
    let shape = match model.output() {
        ModelOutput::ClassLogits => vec![answer.dims()[0], answer.dims()[2]],
        ModelOutput::TokenLogits
        | ModelOutput::MaskedTokenLogits
        | ModelOutput::TokenClassLogits
        | ModelOutput::HiddenStates => answer.dims().to_vec(),
    };
    let name = match model.output() {
        ModelOutput::ClassLogits
        | ModelOutput::TokenLogits
        | ModelOutput::MaskedTokenLogits
        | ModelOutput::TokenClassLogits => "logits",
        ModelOutput::HiddenStates => "hidden",
    };
    let values = calib::hidden::values(answer);
    let views = [
        (
            "input_ids",
            TensorView::new(Dtype::I64, SHAPE.to_vec(), bytemuck::cast_slice(&ids))?,
        ),
        (
            name,
            TensorView::new(Dtype::F32, shape, bytemuck::cast_slice(&values))?,
        ),
    ];
    safetensors::serialize_to_file(views, None, &out)?;
    Ok(())
}
