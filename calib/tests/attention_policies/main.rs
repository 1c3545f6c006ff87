//! Attention by a policy: one that changes nothing changes no bit, and one that sees all keys changes rounding alone.

#![expect(
    clippy::unwrap_used,
    reason = "the functions the tests share fail as the tests do"
)]

mod gradients;

use burn::tensor::{Device, Int, Tensor, TensorData};
use calib::attention_policy::{Attending, AttentionPolicy};
use calib::cache_policy::{CachePolicy, Protocol};
use calib::layers::Rope;
use calib::layers::attention::{attend, attend_from};
use calib::policy_error::PolicyError;
use calib::sparse_policy::SparsePolicy;
use calib::{Checkpoint, Forward, Hidden, Model, ModelOutput, open_model};
use quantizers::attentions::ATTENTIONS;
use quantizers::caches::{CACHES, CacheSamples, CacheShape};
use quantizers::graph::{AttentionNode, QkvNode, RopeScaling};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const TOKENS: usize = 40;

struct Decoder {
    name: String,
    checkpoint: Checkpoint,
    model: Box<dyn Model>,
    tokens: usize,
}

/// Every decoder among the fixtures.
fn decoders() -> Vec<Decoder> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/models");
    let folders = fs_err::read_dir(folder).unwrap();
    let mut folders: Vec<PathBuf> = folders.map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    let opened = folders.into_iter().map(|folder| {
        let checkpoint = Checkpoint::open(&folder).unwrap();
        let model = open_model(checkpoint.config(), &checkpoint).unwrap();
        Decoder {
            name: folder.file_name().unwrap().to_string_lossy().into_owned(),
            tokens: model.max_positions().unwrap_or(TOKENS).min(TOKENS),
            checkpoint,
            model,
        }
    });
    opened
        .filter(|decoder| decoder.model.output() == ModelOutput::TokenLogits)
        .collect()
}

impl Decoder {
    fn blocks(&self) -> Vec<AttentionNode> {
        let blocks = self.model.graph().blocks();
        blocks.map(|block| block.attention.clone()).collect()
    }

    /// The tokens of a text.
    fn ids(&self) -> Vec<u32> {
        let vocabulary = self.model.vocabulary().unwrap();
        let ids = (0..self.tokens).map(|at| u32::try_from((at * 7 + 3) % vocabulary).unwrap());
        ids.collect()
    }

    fn input(&self, device: &Device) -> Hidden {
        let ids = TensorData::new(self.ids(), [1, self.tokens]);
        Hidden::Tokens(Tensor::<2, Int>::from_data(ids, device))
    }

    /// Logits of a text, with attention by `policy`, if any.
    fn logits(&self, policy: Option<Arc<dyn AttentionPolicy>>) -> Vec<f32> {
        let device = Device::flex();
        let ids = self.input(&device);
        let mut forward = Forward::new(self.model.as_ref(), &self.checkpoint, device);
        if let Some(policy) = policy {
            forward = forward.attending_by(policy);
        }
        let stages = self.model.stages();
        let mut outputs = forward.run(0..stages, vec![ids]).unwrap();
        let Hidden::States(logits) = outputs.remove(0) else {
            panic!("a decoder returns logits");
        };
        logits.into_data().try_to_vec::<f32>().unwrap()
    }
}

/// Largest distance, relative to the largest value.
fn distance(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
    let pairs = found.iter().zip(expected);
    pairs.fold(0.0_f32, |most, (a, b)| most.max((a - b).abs())) / largest
}

/// Exact attention, in one go or in blocks of queries.
#[derive(Debug)]
struct Exact {
    queries: Option<usize>,
}

impl AttentionPolicy for Exact {
    fn attend(&self, input: Attending) -> Result<Tensor<4>, PolicyError> {
        let rotated = (input.rotate)(input.unrotated.clone());
        let [rotated, key] = [&rotated, &input.key].map(|x| x.clone().into_data());
        assert_eq!(rotated, key, "what a cache before rotation gives back");
        let Some(step) = self.queries else {
            return Ok(attend(input.query, input.key, input.value, &input.scores));
        };
        let tokens = input.query.dims()[2];
        let parts = (0..tokens).step_by(step).map(|start| {
            let end = (start + step).min(tokens);
            let until = |x: &Tensor<4>| x.clone().narrow(2, 0, end);
            attend_from(
                start,
                input.query.clone().narrow(2, start, end - start),
                until(&input.key),
                until(&input.value),
                &input.scores,
            )
        });
        Ok(Tensor::cat(parts.collect(), 2))
    }
}

#[test]
fn exact_attention_by_a_policy_changes_no_bit_of_any_decoder() {
    let decoders = decoders();
    assert!(decoders.len() >= 20, "{} decoders", decoders.len());
    for decoder in decoders {
        let expected = decoder.logits(None);
        let exact = |queries| decoder.logits(Some(Arc::new(Exact { queries })));
        assert_eq!(exact(None), expected, "{}", decoder.name);
        let apart = distance(&exact(Some(16)), &expected);
        assert!(apart < 1e-4, "{}: {apart}", decoder.name);
    }
}

/// The cache `line` (a name and parameters) in every block of `decoder`, which are alike.
fn cache(decoder: &Decoder, name: &str, table: &str, protocol: Protocol) -> Option<CachePolicy> {
    let blocks = decoder.blocks();
    let node = &blocks[0];
    if matches!(node.qkv, QkvNode::Latent(_)) {
        return None;
    }
    let found = CACHES.iter().find(|cache| cache.name() == name).unwrap();
    let quantizer = found.configure(&toml::from_str(table).unwrap()).unwrap();
    let shape = CacheShape {
        layer: 0,
        layers: blocks.len(),
        kv_heads: node.kv_heads,
        key_dim: node.head_dim,
        value_dim: node.head_dim,
    };
    let plan = quantizer.plan(shape).unwrap();
    let codec = quantizer.fit(shape, &CacheSamples::default()).unwrap();
    Some(CachePolicy {
        codec: codec.into(),
        plan,
        protocol,
    })
}

#[test]
fn a_cache_that_keeps_every_bit_changes_none() {
    for decoder in decoders() {
        let Some(policy) = cache(&decoder, "none", "", Protocol::Strict) else {
            continue;
        };
        let expected = decoder.logits(None);
        assert_eq!(
            decoder.logits(Some(Arc::new(policy.clone()))),
            expected,
            "{}",
            decoder.name
        );
        // The same through blocks of queries.
        let mut runtime = CachePolicy {
            protocol: Protocol::Runtime,
            ..policy
        };
        (runtime.plan.recent_keys, runtime.plan.recent_values) = (7, 9);
        let apart = distance(&decoder.logits(Some(Arc::new(runtime))), &expected);
        assert!(apart < 1e-4, "{}: {apart}", decoder.name);
    }
}

#[test]
fn a_cache_of_eight_bits_is_near_and_one_of_four_is_farther() {
    let decoders = decoders();
    let mut compared = 0;
    for decoder in &decoders {
        let logits = |name| {
            let policy = cache(decoder, name, "", Protocol::Strict)?;
            Some(decoder.logits(Some(Arc::new(policy))))
        };
        let (Some(eight), Some(four)) = (logits("int8-token-head"), logits("int4-token-head"))
        else {
            continue;
        };
        let expected = decoder.logits(None);
        let (near, far) = (distance(&eight, &expected), distance(&four, &expected));
        assert!(0.0 < near && near < far, "{}: {near} {far}", decoder.name);
        compared += 1;
    }
    assert!(compared >= 15, "{compared} compared");
}

// Newest tokens that are kept exact until the end leave nothing to quantize.
#[test]
fn a_text_of_newest_tokens_is_exact_in_use() {
    let decoders = decoders();
    let plain = decoders
        .iter()
        .find(|decoder| decoder.name == "llama-plain-v4");
    let decoder = plain.unwrap_or(&decoders[0]);
    let policy = cache(decoder, "int4-token-head", "", Protocol::Runtime).unwrap();
    let expected = decoder.logits(None);
    let mut kept = policy.clone();
    kept.plan.recent_keys = TOKENS;
    kept.plan.recent_values = TOKENS;
    let apart = distance(&decoder.logits(Some(Arc::new(kept))), &expected);
    assert!(apart < 1e-4, "{apart}");
    let apart = distance(&decoder.logits(Some(Arc::new(policy))), &expected);
    assert!(
        apart > 1e-4,
        "all are quantized where none is kept: {apart}"
    );
}

#[test]
fn sparse_attention_to_all_keys_changes_rounding_alone() {
    let mut compared = 0;
    for decoder in decoders() {
        let blocks = decoder.blocks();
        let plain = |node: &AttentionNode| {
            let more = node.softcap.is_some() || node.slopes.is_some() || node.sinks.is_some();
            !more
                && node.pattern == quantizers::graph::Pattern::Causal
                && !matches!(node.qkv, QkvNode::Latent(_))
        };
        if !blocks.iter().all(plain) {
            continue;
        }
        let exact = ATTENTIONS
            .iter()
            .find(|entry| entry.name() == "exact")
            .unwrap();
        let method = exact.configure(&toml::Table::new()).unwrap();
        let policy = SparsePolicy::new(method.into(), blocks.len(), None);
        let policy = Arc::new(policy);
        let expected = decoder.logits(None);
        let apart = distance(&decoder.logits(Some(policy.clone())), &expected);
        assert!(apart < 1e-4, "{}: {apart}", decoder.name);
        let work = policy.take_work();
        assert_eq!(work.evaluations, work.exact, "{}", decoder.name);
        compared += 1;
    }
    assert!(compared >= 8, "{compared} compared");
}

#[test]
fn rows_are_rotated_as_tables_rotate_them() {
    let mut compared = 0;
    for decoder in decoders() {
        let blocks = decoder.blocks();
        let Some(node) = blocks[0].rope.as_ref() else {
            continue;
        };
        let (rope, dim) = (Rope::new(node), blocks[0].head_dim);
        let device = Device::flex();
        let rows: Vec<f32> = (0..9 * dim).map(|at| (at as f32 * 0.37).sin()).collect();
        let data = TensorData::new(rows.clone(), [1, 1, 9, dim]);
        let tables = rope.tables(9, 9, &device);
        let expected = tables.rotate(Tensor::from_data(data, &device));
        let expected = expected.into_data().try_to_vec::<f32>().unwrap();
        let rotary = rope.of_rows(9);
        let mut found = rows.clone();
        for (position, row) in found.chunks_exact_mut(dim).enumerate() {
            quantizers::attentions::Rotary::rotate(&rotary, position, row);
        }
        let apart = distance(&found, &expected);
        assert!(apart < 1e-6, "{}: {apart}", decoder.name);
        for (position, row) in found.chunks_exact_mut(dim).enumerate() {
            quantizers::attentions::Rotary::unrotate(&rotary, position, row);
        }
        let apart = distance(&found, &rows);
        assert!(apart < 1e-6, "{}: {apart}", decoder.name);
        compared += 1;
    }
    assert!(compared >= 10, "{compared} compared");
}

#[test]
fn a_packed_cache_continues_a_text_as_whole_runs_over_it_do() {
    use calib::generation::{Decoder as WholeTexts, Session};
    let mut compared = 0;
    for decoder in decoders() {
        let Some(strict) = cache(&decoder, "int8-token-head", "", Protocol::Strict) else {
            continue;
        };
        // Shorter texts of these are rotated otherwise than the whole.
        let rope = decoder.blocks()[0].rope.clone();
        if rope.is_some_and(|rope| matches!(rope.scaling, RopeScaling::Long { .. })) {
            continue;
        }
        let policy: Arc<dyn AttentionPolicy> = Arc::new(strict);
        let whole = decoder.logits(Some(Arc::clone(&policy)));
        let vocabulary = decoder.model.vocabulary().unwrap();
        let text: Vec<u32> = (0..decoder.tokens)
            .map(|at| u32::try_from((at * 7 + 3) % vocabulary).unwrap())
            .collect();
        let device = Device::flex();
        let model = decoder.model.as_ref();
        let whole_texts = WholeTexts::new(
            model,
            &decoder.checkpoint,
            &device,
            Some(&policy),
            &mut |_, _| {},
        );
        let mut session = Session::new(whole_texts.unwrap()).unwrap();
        // The first half at once, then one by one.
        for end in decoder.tokens / 2..=decoder.tokens {
            let found = session.logits_after(&text[..end]).unwrap().to_vec();
            let width = found.len();
            let expected = &whole[(end - 1) * width..end * width];
            let apart = distance(&found, expected);
            assert!(apart < 1e-3, "{} at {end}: {apart}", decoder.name);
        }
        let blocks = decoder.blocks();
        let values: usize = blocks
            .iter()
            .map(|node| 2 * node.kv_heads * node.head_dim * decoder.tokens)
            .sum();
        let bytes = session.cache_bytes();
        assert!(
            bytes >= values && bytes < 2 * values,
            "{}: {bytes} bytes of {values} values",
            decoder.name
        );
        compared += 1;
    }
    assert!(compared >= 15, "{compared} compared");
}

// Three tokens packed at a time, the five newest and the first as 16-bit floats.
#[test]
fn a_packed_cache_can_be_shortened_where_its_pieces_end() {
    use calib::key_value_store::{KeyValueStore, NewTokens};
    use calib::packed_cache::PackedCache;
    let decoders = decoders();
    let mut policy = cache(&decoders[0], "none", "", Protocol::Runtime).unwrap();
    let node = &decoders[0].blocks()[0];
    policy.plan.first = 1;
    (policy.plan.chunk, policy.plan.value_chunk) = (3, 3);
    (policy.plan.recent_keys, policy.plan.recent_values) = (5, 5);
    let width = node.kv_heads * node.head_dim;
    // Whole numbers that 16-bit floats hold.
    let tokens = |from: usize, count: usize| -> Vec<f32> {
        let values = 0..count * width;
        values.map(|at| ((at + 31 * from) % 97) as f32).collect()
    };
    let doubled = |keys: &[f32]| -> Vec<f32> { keys.iter().map(|x| 2.0 * x).collect() };
    let append = |store: &mut PackedCache, key: &[f32]| {
        store.append(NewTokens {
            tokens: key.len() / width,
            unrotated: key,
            key,
            value: &doubled(key),
        });
    };
    let mut store = PackedCache::new(Arc::clone(&policy.codec), policy.plan.clone());
    let mut all: Vec<f32> = Vec::new();
    for from in 0..20 {
        let new = tokens(from, 1);
        append(&mut store, &new);
        all.extend(new);
        let kept = store.last(usize::MAX, &|_| ());
        assert_eq!(kept.tokens, from + 1);
        assert_eq!(kept.keys.values(), all, "{from}");
        assert_eq!(kept.values.values(), doubled(&all), "{from}");
    }
    // 1 first, 4 pieces of 3, 7 recent.
    assert!(!store.truncate(9), "within a piece");
    assert!(store.truncate(10));
    let keys = |store: &mut PackedCache, window| {
        let kept = store.last(window, &|_| ());
        kept.keys.values().into_owned()
    };
    assert_eq!(keys(&mut store, usize::MAX), all[..10 * width]);
    assert_eq!(keys(&mut store, 4), all[6 * width..10 * width]);
    assert!(store.truncate(0));
    append(&mut store, &tokens(50, 2));
    assert_eq!(store.last(usize::MAX, &|_| ()).tokens, 2);
}
