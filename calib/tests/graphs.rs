//! Models describe their wiring; integer programs are made of what is a plain encoder.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on may stop")]

#[path = "models/checkpoints.rs"]
mod checkpoints;

use calib::WeightSource;
use checkpoints::{fixture, open};
use quantizers::graph::{Graph, Positions, StageNode};
use quantizers::integer::compile::{Encoder, Input};
use quantizers::nonlinear::Nonlinearity;
use std::path::{Path, PathBuf};

fn assets() -> PathBuf {
    PathBuf::from(std::env::var_os("QUENCH_ASSETS").expect("QUENCH_ASSETS names the assets"))
}

fn fixtures() -> Vec<PathBuf> {
    let folder = fixture("gpt2").parent().unwrap().to_owned();
    let mut folders: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.join("config.json").is_file())
        .collect();
    folders.sort();
    folders
}

fn graph(folder: &Path) -> Graph {
    open(folder).1.graph().clone()
}

#[test]
fn every_tensor_of_a_graph_is_in_the_checkpoint_with_its_shape() {
    assert!(fixtures().len() > 5);
    for folder in fixtures() {
        let (checkpoint, model) = open(&folder);
        for stage in &model.graph().stages {
            for tensor in stage.inventory().tensors {
                assert_eq!(
                    checkpoint.shape(&tensor.name),
                    Some(tensor.shape),
                    "{} of {}",
                    tensor.name,
                    folder.display()
                );
            }
        }
        let bias_free = model
            .graph()
            .stages
            .iter()
            .flat_map(|s| s.inventory().linears);
        for layer in bias_free.filter(|layer| !layer.bias) {
            assert!(!checkpoint.contains(&format!("{}.bias", layer.name)));
        }
    }
}

#[test]
fn every_decoder_block_can_take_factors_or_says_why_not() {
    let counts = |name: &str| -> Vec<usize> {
        let graph = graph(&fixture(name));
        let able = |scalings: Vec<Result<_, _>>| scalings.iter().filter(|s| s.is_ok()).count();
        graph.blocks().map(|block| able(block.scalings())).collect()
    };
    assert_eq!(counts("llama-plain-v4"), [4, 4]);
    // GELU between up and down.
    assert_eq!(counts("gpt2"), [3, 3]);
    for vision in ["vit-classifier-no-bias", "deit", "beit", "dinov2"] {
        assert_eq!(counts(vision), [3, 3]);
    }
    assert_eq!(counts("swin"), [3, 3, 3, 3]);
    // Half of what goes into the gated layer is linear.
    assert_eq!(counts("dinov2-gated"), [4, 4]);
    // Norms after the residual; ReLU lets factors through.
    assert_eq!(counts("bert-classifier-relu"), [2, 2]);
    assert_eq!(counts("bert-prefixed-greek"), [1, 1]);
}

#[test]
fn plain_encoders_are_taken() {
    let text = graph(&fixture("bert-classifier-relu"));
    let encoder = Encoder::of(&text).unwrap();
    let Input::Tokens { node, max_tokens } = encoder.input else {
        panic!("a text model");
    };
    assert_eq!(
        (encoder.width, max_tokens, node.tokens.shape[0]),
        (32, 48, 96)
    );
    assert_eq!(encoder.blocks.len(), 2);
    let block = &encoder.blocks[1];
    let names = [block.query, block.output, block.up, block.down].map(|layer| layer.name.as_str());
    let expected = [
        "attention.self.query",
        "attention.output.dense",
        "intermediate.dense",
        "output.dense",
    ]
    .map(|name| format!("bert.encoder.layer.1.{name}"));
    assert_eq!(names, expected.each_ref().map(String::as_str));
    assert_eq!(block.activation.nonlinearity, Nonlinearity::Relu);
    assert!(!block.pre_norm && encoder.head.first_only);
    assert_eq!(encoder.head.classifier.unwrap().rows, 3);

    let greek = graph(&fixture("bert-prefixed-greek"));
    let encoder = Encoder::of(&greek).unwrap();
    let norm = encoder.blocks[0].mlp_norm;
    let bias = norm.bias().unwrap().name;
    let names = [norm.weight().unwrap().name, bias].map(|name| name.replace(&norm.name, ""));
    assert_eq!(names, [".gamma", ".beta"]);

    let image = graph(&fixture("vit-classifier-no-bias"));
    let encoder = Encoder::of(&image).unwrap();
    let Input::Patches(node) = encoder.input else {
        panic!("a vision model");
    };
    assert_eq!(
        (node.patch(), node.patches(), node.image),
        (4, 16, [3, 16, 16])
    );
    assert!(encoder.blocks[0].pre_norm && !encoder.blocks[0].query.bias);
    assert!(encoder.blocks[0].output.bias);
    let distilled = graph(&fixture("deit"));
    let Input::Patches(node) = Encoder::of(&distilled).unwrap().input else {
        panic!("a vision model");
    };
    assert_eq!((node.leading(), node.rows()), (2, 18));
    let headless = graph(&fixture("vit-model"));
    let head = Encoder::of(&headless).unwrap().head;
    assert!(head.norm.is_some() && head.classifier.is_none() && !head.first_only);
}

#[test]
fn positions_that_begin_behind_the_padding_token_are_taken() {
    for (name, longest, first) in [("roberta-classifier", 27, 5), ("xlm-roberta", 30, 2)] {
        let graph = graph(&fixture(name));
        let encoder = Encoder::of(&graph).unwrap();
        let Input::Tokens { node, max_tokens } = encoder.input else {
            panic!("a text model");
        };
        assert_eq!((max_tokens, node.first_position), (longest, first));
    }
}

#[test]
fn encoders_that_do_more_are_refused_by_the_operation() {
    for (name, family, reason) in [
        (
            "bert-masked",
            "bert",
            "head predicts tokens with the token table (`bert.embeddings.word_embeddings.weight`)",
        ),
        (
            "camembert-tokens",
            "camembert",
            "head predicts something at every position (`classifier`)",
        ),
        (
            "distilbert-classifier",
            "distilbert",
            "head has a layer before the last one that is no pooler (`pre_classifier`)",
        ),
        (
            "electra-classifier",
            "electra",
            "head has a layer before the last one that is no pooler (`classifier.dense`)",
        ),
        (
            "mpnet-classifier",
            "mpnet",
            "block 0 adds scores of distances (`mpnet.encoder.layer.0.attention.attn.o`)",
        ),
        (
            "electra-masked",
            "electra",
            "embedding projects token vectors (`electra.embeddings_project`)",
        ),
        (
            "albert-groups",
            "albert",
            "embedding projects token vectors (`albert.encoder.embedding_hidden_mapping_in`)",
        ),
        (
            "modernbert-tokens",
            "modernbert",
            "block 0 rotates queries and keys (`model.layers.0.attn.Wo`)",
        ),
        (
            "modernbert-classifier",
            "modernbert",
            "block 0 attends to neighbours only (`model.layers.0.attn.Wo`)",
        ),
        (
            "deberta-v3-masked",
            "deberta-v2",
            "block 0 adds scores of distances (`deberta.encoder.layer.0.attention.output.dense`)",
        ),
        (
            "nomic-bert-classifier",
            "nomic_bert",
            "block 0 rotates queries and keys (`nomic_bert.encoder.layers.0.attn.out_proj`)",
        ),
    ] {
        let error = Encoder::of(&graph(&fixture(name))).unwrap_err().to_string();
        let expected = format!("`{family}` has no integer-only form: {reason}");
        assert_eq!(error, expected);
    }
}

#[test]
fn blocks_that_share_weights_have_each_layer_once() {
    let (_, model) = open(&fixture("albert-groups"));
    // Three layers of two blocks over two groups: four blocks of weights, the first two run twice.
    let graph = model.graph();
    let repeated: Vec<bool> = graph.blocks().map(|block| block.repeated).collect();
    assert_eq!(repeated, [false, false, true, true, false, false]);
    let mut names: Vec<&str> = model.layers().iter().map(|l| l.name.as_str()).collect();
    let count = names.len();
    assert_eq!(count, 4 * 6 + 2);
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
    assert_eq!(graph.ties().len(), 4);
    let scalings = graph.blocks().nth(2).unwrap().scalings();
    let error = scalings[0].as_ref().unwrap_err().to_string();
    assert!(
        error.contains("their weights are those of an earlier block"),
        "{error}"
    );
}

#[test]
#[ignore = "needs QUENCH_ASSETS"]
fn real_encoders_are_taken() {
    for (name, width, blocks) in [
        ("minilm-l6-v2", 384, 6),
        ("minilm-sst2", 384, 6),
        ("vit-cifar10", 128, 6),
    ] {
        let graph = graph(&assets().join(name));
        let encoder = Encoder::of(&graph).unwrap();
        assert_eq!((encoder.width, encoder.blocks.len()), (width, blocks));
    }
}

#[test]
fn decoders_say_why_they_are_no_encoders() {
    for (name, architecture, layer) in [
        ("llama-plain-v4", "llama", "model.layers.0.self_attn.o_proj"),
        (
            "mistral-window",
            "mistral",
            "model.layers.0.self_attn.o_proj",
        ),
        ("gpt2", "gpt2", "transformer.h.0.attn.c_proj"),
    ] {
        let graph = graph(&fixture(name));
        let error = Encoder::of(&graph).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "`{architecture}` has no integer-only form: block 0 has causal attention (`{layer}`)"
            )
        );
        let Some(StageNode::Head(head)) = graph.stages.last() else {
            panic!("decoders have heads");
        };
        assert_eq!(head.positions, Positions::All);
    }
}
