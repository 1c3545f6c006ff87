//! Text goes on without asking for memory: what a token needs is there from the one before.

#![expect(
    clippy::unwrap_used,
    reason = "the functions the tests share fail as the tests do"
)]
#![expect(unsafe_code, reason = "an allocator")]

use assert_cmd::Command;
use burn::tensor::Device;
use calib::artifact::Artifact;
use calib::generation::{Decoder, Sampling, TextMemory};
use calib::packed_weights::PackedWeights;
use calib::{Checkpoint, open_model};
use quantizers::kernels::{COMPUTES, Compute};
use std::alloc::{GlobalAlloc, Layout, System};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The allocator of the system, which counts what it is asked for.
struct Counting;

static ASKED: AtomicUsize = AtomicUsize::new(0);

// SAFETY: all is left to the allocator of the system.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ASKED.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How often each of 96 tokens of `texts` texts asked for memory, the model in `folder` computing as `compute` says.
fn asked_by_token(
    folder: &Path,
    compute: Compute,
    sampling: &Sampling,
    texts: usize,
) -> Vec<usize> {
    let checkpoint = Checkpoint::open(folder).unwrap();
    let artifact = Artifact::open(folder).unwrap();
    let model = open_model(checkpoint.config(), &artifact).unwrap();
    let weights = PackedWeights::new(&artifact, &artifact, compute);
    let device = Device::flex();
    let decoder = Decoder::new(model.as_ref(), &weights, &device, None, &mut |_, _| {}).unwrap();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build();
    // A token that comes from outside is handed to the threads, which takes memory now and then.
    pool.unwrap().install(|| {
        let mut memories: Vec<TextMemory> = (0..texts).map(|_| decoder.memory().unwrap()).collect();
        let mut context = vec![3, 5, 7];
        context.reserve(200);
        for memory in &mut memories {
            decoder.logits_after(memory, &context).unwrap();
        }
        let mut asked = Vec::with_capacity(96);
        for step in 0..96 {
            let before = ASKED.load(Ordering::Relaxed);
            let logits = memories[0].logits().unwrap();
            let token = sampling.choose(logits, &context, step).unwrap().token;
            context.push(token);
            if let [memory] = memories.as_mut_slice() {
                decoder.step(&mut [(memory, token)]).unwrap();
            } else {
                let [first, second] = memories.as_mut_slice() else {
                    panic!("one or two texts");
                };
                decoder
                    .step(&mut [(first, token), (second, token)])
                    .unwrap();
            }
            asked.push(ASKED.load(Ordering::Relaxed) - before);
        }
        asked
    })
}

/// 4-bit codebooks, weights apart.
const RECIPE: &str = r#"
name = "sparse codebooks"

[calibration]
data = "synthetic"
samples = 2

[[layers]]
match = "*"
method = "squeezellm"
bits = 4
outlier_fraction = 0.004
sensitive_fraction = 0.0005


[output]
format = "quench"
"#;

// One test: the counter is of all threads.
#[test]
fn a_token_asks_for_no_memory() {
    let folder = tempfile::tempdir().unwrap();
    let (recipe, out) = (folder.path().join("recipe.toml"), folder.path().join("out"));
    fs_err::write(&recipe, RECIPE).unwrap();
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/wiki-llama-1.4m");
    let mut quantize = Command::cargo_bin("quench").unwrap();
    let quantize = quantize.arg("quantize").arg(&model).arg("--recipe");
    quantize
        .arg(&recipe)
        .arg("--output")
        .arg(&out)
        .assert()
        .success();
    let drawn = Sampling {
        temperature: 0.8,
        top_p: 0.9,
        top_k: 40,
        repetition_penalty: 1.1,
        frequency_penalty: 0.2,
        ..Sampling::default()
    };
    for folder in [&model, &out] {
        for entry in COMPUTES {
            for (sampling, texts) in [(&Sampling::default(), 1), (&drawn, 1), (&drawn, 2)] {
                let asked = asked_by_token(folder, entry.name.parse().unwrap(), sampling, texts);
                // Room for scores and tokens doubles where they have filled it, at 32 and 64 tokens; a thread may yet
                // have to meet its first task.
                let with_some = |asked: &[usize]| asked.iter().filter(|asked| **asked > 0).count();
                let what = format!("{}, {}, {texts}", folder.display(), entry.name);
                assert!(with_some(&asked[16..]) <= 8, "{what}: {asked:?}");
                assert!(with_some(&asked[66..]) <= 1, "{what}: {asked:?}");
            }
        }
    }
}
