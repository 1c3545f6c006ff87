//! The encoder table: a row for each model type.

use super::flavour::{
    Flavour, Function, Keys, MaskedHead, Mlp, Names, Offsets, Pooler, Positions, Qkv, TableWidth,
};

/// Every family, in the order `quench list architectures` prints them.
pub(in crate::architectures) const FLAVOURS: &[Flavour] = &[
    BERT,
    ROBERTA,
    XLM_ROBERTA,
    CAMEMBERT,
    DISTILBERT,
    MPNET,
    ELECTRA,
    ALBERT,
    MODERNBERT,
    DEBERTA_V2,
    NOMIC_BERT,
];

const MASKED: &[&str] = &["ForMaskedLM", "ForPreTraining"];
const BARE: &[&str] = &["Model"];

const BERT_HEAD: MaskedHead = MaskedHead {
    dense: "cls.predictions.transform.dense",
    norm: "cls.predictions.transform.LayerNorm",
    function: Function::OfBlocks,
    decoder: "cls.predictions.decoder",
    bias: &["cls.predictions.bias", "cls.predictions.decoder.bias"],
    bias_flag: None,
};

const ROBERTA_HEAD: MaskedHead = MaskedHead {
    dense: "lm_head.dense",
    norm: "lm_head.layer_norm",
    function: Function::Fixed("gelu"),
    decoder: "lm_head.decoder",
    bias: &["lm_head.bias", "lm_head.decoder.bias"],
    bias_flag: None,
};

const BERT: Flavour = Flavour {
    model_type: "bert",
    summary: "encoders with learned positions and LayerNorm after each residual: BERT, MiniLM",
    integer_only: true,
    stem: "Bert",
    masked: MASKED,
    bare: BARE,
    names: Names {
        prefix: "bert.",
        tokens: "embeddings.word_embeddings",
        positions: "embeddings.position_embeddings",
        types: "embeddings.token_type_embeddings",
        embedding_norm: "embeddings.LayerNorm",
        blocks: "encoder.layer",
        output: "attention.output.dense",
        attention_norm: "attention.output.LayerNorm",
        mlp_norm: "output.LayerNorm",
        last_norm: "",
    },
    keys: Keys {
        width: "hidden_size",
        blocks: "num_hidden_layers",
        heads: "num_attention_heads",
        inner: "intermediate_size",
        activation: ("hidden_act", "gelu"),
        epsilon: ("layer_norm_eps", 1e-12),
        positions: 512,
        types: 2,
    },
    table_width: TableWidth::OfBlocks,
    positions: Positions::Table(0),
    qkv: Qkv::Separate([
        "attention.self.query",
        "attention.self.key",
        "attention.self.value",
    ]),
    mlp: Mlp::Plain(["intermediate.dense", "output.dense"]),
    norm_first: false,
    norm_offsets: Offsets::All,
    attention_offsets: Offsets::All,
    mlp_offsets: Offsets::All,
    head_offsets: Offsets::All,
    shared: false,
    masked_head: BERT_HEAD,
    newer_masked_head: None,
    pooler: Pooler {
        dense: "pooler.dense",
        function: Function::Fixed("tanh"),
        norm: "",
    },
    pooler_has_prefix: true,
    pooler_for_tokens: false,
    pooling: None,
    classifier: "classifier",
};

const ROBERTA: Flavour = Flavour {
    model_type: "roberta",
    summary: "BERT whose positions count from the row after that of padding: RoBERTa",
    stem: "Roberta",
    masked: &["ForMaskedLM"],
    names: Names {
        prefix: "roberta.",
        ..BERT.names
    },
    positions: Positions::AfterPadding,
    masked_head: ROBERTA_HEAD,
    pooler: Pooler {
        dense: "classifier.dense",
        ..BERT.pooler
    },
    pooler_has_prefix: false,
    classifier: "classifier.out_proj",
    ..BERT
};

const XLM_ROBERTA: Flavour = Flavour {
    model_type: "xlm-roberta",
    summary: "RoBERTa over many languages: XLM-RoBERTa, multilingual E5, BGE-M3",
    stem: "XLMRoberta",
    ..ROBERTA
};

const CAMEMBERT: Flavour = Flavour {
    model_type: "camembert",
    summary: "RoBERTa for French: CamemBERT",
    stem: "Camembert",
    ..ROBERTA
};

const DISTILBERT: Flavour = Flavour {
    model_type: "distilbert",
    summary: "BERT without token types: DistilBERT",
    stem: "DistilBert",
    masked: &["ForMaskedLM"],
    names: Names {
        prefix: "distilbert.",
        types: "",
        blocks: "transformer.layer",
        output: "attention.out_lin",
        attention_norm: "sa_layer_norm",
        mlp_norm: "output_layer_norm",
        ..BERT.names
    },
    keys: Keys {
        width: "dim",
        blocks: "n_layers",
        heads: "n_heads",
        inner: "hidden_dim",
        activation: ("activation", "gelu"),
        epsilon: ("", 1e-12),
        ..BERT.keys
    },
    qkv: Qkv::Separate(["attention.q_lin", "attention.k_lin", "attention.v_lin"]),
    mlp: Mlp::Plain(["ffn.lin1", "ffn.lin2"]),
    masked_head: MaskedHead {
        dense: "vocab_transform",
        norm: "vocab_layer_norm",
        function: Function::OfBlocks,
        decoder: "vocab_projector",
        bias: &["vocab_projector.bias"],
        bias_flag: None,
    },
    pooler: Pooler {
        dense: "pre_classifier",
        function: Function::Fixed("relu"),
        norm: "",
    },
    pooler_has_prefix: false,
    ..BERT
};

const MPNET: Flavour = Flavour {
    model_type: "mpnet",
    summary: "BERT with a learned bias for the distance of each key: MPNet, all-mpnet-base-v2",
    integer_only: false,
    stem: "MPNet",
    masked: &["ForMaskedLM"],
    names: Names {
        prefix: "mpnet.",
        types: "",
        output: "attention.attn.o",
        attention_norm: "attention.LayerNorm",
        ..BERT.names
    },
    positions: Positions::TableAndBias(2),
    qkv: Qkv::Separate(["attention.attn.q", "attention.attn.k", "attention.attn.v"]),
    masked_head: ROBERTA_HEAD,
    ..ROBERTA
};

const ELECTRA: Flavour = Flavour {
    model_type: "electra",
    summary: "BERT with embedding tables of a width of their own: ELECTRA",
    stem: "Electra",
    masked: &["ForMaskedLM"],
    // What a discriminator predicts of each token is no token.
    bare: &["Model", "ForPreTraining"],
    names: Names {
        prefix: "electra.",
        ..BERT.names
    },
    table_width: TableWidth::Key("embedding_size", 128, "embeddings_project"),
    masked_head: MaskedHead {
        dense: "generator_predictions.dense",
        norm: "generator_predictions.LayerNorm",
        function: Function::Fixed("gelu"),
        decoder: "generator_lm_head",
        bias: &["generator_lm_head.bias"],
        bias_flag: None,
    },
    pooler: Pooler {
        dense: "classifier.dense",
        function: Function::Fixed("gelu"),
        norm: "",
    },
    pooler_has_prefix: false,
    classifier: "classifier.out_proj",
    ..BERT
};

const ALBERT: Flavour = Flavour {
    model_type: "albert",
    summary: "BERT whose blocks share their weights: ALBERT",
    integer_only: false,
    stem: "Albert",
    names: Names {
        prefix: "albert.",
        blocks: "encoder.albert_layer_groups",
        output: "attention.dense",
        attention_norm: "attention.LayerNorm",
        mlp_norm: "full_layer_layer_norm",
        ..BERT.names
    },
    keys: Keys {
        activation: ("hidden_act", "gelu_new"),
        ..BERT.keys
    },
    table_width: TableWidth::Projected(
        "embedding_size",
        128,
        "encoder.embedding_hidden_mapping_in",
    ),
    qkv: Qkv::Separate(["attention.query", "attention.key", "attention.value"]),
    mlp: Mlp::Plain(["ffn", "ffn_output"]),
    shared: true,
    masked_head: MaskedHead {
        dense: "predictions.dense",
        norm: "predictions.LayerNorm",
        function: Function::OfBlocks,
        decoder: "predictions.decoder",
        bias: &["predictions.bias", "predictions.decoder.bias"],
        bias_flag: None,
    },
    pooler: Pooler {
        dense: "pooler",
        ..BERT.pooler
    },
    ..BERT
};

const MODERNBERT: Flavour = Flavour {
    model_type: "modernbert",
    summary: "encoders with rotary positions, local and global attention and a gated MLP: ModernBERT",
    integer_only: false,
    stem: "ModernBert",
    masked: &["ForMaskedLM"],
    names: Names {
        prefix: "model.",
        tokens: "embeddings.tok_embeddings",
        positions: "",
        types: "",
        embedding_norm: "embeddings.norm",
        blocks: "layers",
        output: "attn.Wo",
        attention_norm: "attn_norm",
        mlp_norm: "mlp_norm",
        last_norm: "final_norm",
    },
    keys: Keys {
        activation: ("hidden_activation", "gelu"),
        epsilon: ("norm_eps", 1e-5),
        positions: 8192,
        ..BERT.keys
    },
    positions: Positions::LocalRope([
        ("global_rope_theta", 160_000.0),
        ("local_rope_theta", 10_000.0),
    ]),
    qkv: Qkv::Fused("attn.Wqkv"),
    mlp: Mlp::FusedGate(["mlp.Wi", "mlp.Wo"]),
    norm_first: true,
    norm_offsets: Offsets::Key("norm_bias"),
    attention_offsets: Offsets::Key("attention_bias"),
    mlp_offsets: Offsets::Key("mlp_bias"),
    head_offsets: Offsets::Key("classifier_bias"),
    masked_head: MaskedHead {
        dense: "head.dense",
        norm: "head.norm",
        function: Function::Key("classifier_activation", "gelu"),
        decoder: "decoder",
        bias: &["decoder.bias"],
        bias_flag: Some("decoder_bias"),
    },
    pooler: Pooler {
        dense: "head.dense",
        function: Function::Key("classifier_activation", "gelu"),
        norm: "head.norm",
    },
    pooler_has_prefix: false,
    pooler_for_tokens: true,
    pooling: Some("classifier_pooling"),
    ..BERT
};

const DEBERTA_V2: Flavour = Flavour {
    model_type: "deberta-v2",
    summary: "encoders whose attention compares tokens and distances: DeBERTa-v2, DeBERTa-v3",
    stem: "DebertaV2",
    masked: &["ForMaskedLM"],
    names: Names {
        prefix: "deberta.",
        ..BERT.names
    },
    keys: Keys {
        epsilon: ("layer_norm_eps", 1e-7),
        types: 0,
        ..BERT.keys
    },
    positions: Positions::Disentangled,
    qkv: Qkv::Separate([
        "attention.self.query_proj",
        "attention.self.key_proj",
        "attention.self.value_proj",
    ]),
    newer_masked_head: Some(MaskedHead {
        dense: "lm_predictions.lm_head.dense",
        norm: "lm_predictions.lm_head.LayerNorm",
        decoder: "",
        bias: &["lm_predictions.lm_head.bias"],
        ..BERT_HEAD
    }),
    pooler: Pooler {
        dense: "pooler.dense",
        function: Function::Key("pooler_hidden_act", "gelu"),
        norm: "",
    },
    pooler_has_prefix: false,
    ..BERT
};

const NOMIC_BERT: Flavour = Flavour {
    model_type: "nomic_bert",
    summary: "BERT with rotary positions and a gated MLP: nomic-embed-text",
    integer_only: false,
    stem: "NomicBert",
    masked: &["ForMaskedLM"],
    names: Names {
        prefix: "nomic_bert.",
        positions: "",
        embedding_norm: "emb_ln",
        blocks: "encoder.layers",
        output: "attn.out_proj",
        attention_norm: "norm1",
        mlp_norm: "norm2",
        ..BERT.names
    },
    keys: Keys {
        activation: ("hidden_act", "silu"),
        positions: 2048,
        ..BERT.keys
    },
    positions: Positions::Rope("rotary_emb_base", 1000.0),
    qkv: Qkv::Fused("attn.Wqkv"),
    mlp: Mlp::Gated(["mlp.fc12", "mlp.fc11", "mlp.fc2"]),
    attention_offsets: Offsets::None,
    mlp_offsets: Offsets::None,
    masked_head: MaskedHead {
        norm: "cls.predictions.transform.layer_norm",
        ..BERT_HEAD
    },
    ..BERT
};
