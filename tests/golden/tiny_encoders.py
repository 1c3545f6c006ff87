"""The text encoders of the table in calib/src/architectures/encoder: one tiny model for every variant that
changes the mathematics. `make_tiny_models.py` makes them."""

import transformers as t

SMALL = dict(
    vocab_size=64,
    hidden_size=24,
    intermediate_size=40,
    num_hidden_layers=2,
    num_attention_heads=4,
    max_position_embeddings=32,
    attn_implementation="eager",
)


def small(**changes):
    return {**SMALL, **changes}


def encoders():
    """Name, class and configuration of each model."""
    yield "bert-masked", t.BertForMaskedLM, t.BertConfig(**small())
    yield "bert-tokens", t.BertForTokenClassification, t.BertConfig(**small(), num_labels=5)
    yield "roberta-masked", t.RobertaForMaskedLM, t.RobertaConfig(**small(type_vocab_size=1))
    yield "roberta-classifier", t.RobertaForSequenceClassification, t.RobertaConfig(
        **small(type_vocab_size=1, pad_token_id=4), num_labels=1
    )
    yield "xlm-roberta", t.XLMRobertaModel, t.XLMRobertaConfig(
        **small(type_vocab_size=1), layer_norm_eps=1e-5
    )
    yield "camembert-tokens", t.CamembertForTokenClassification, t.CamembertConfig(
        **small(type_vocab_size=1), num_labels=3
    )
    distil = dict(
        vocab_size=64, dim=24, hidden_dim=40, n_layers=2, n_heads=4, max_position_embeddings=32,
        attn_implementation="eager",
    )
    yield "distilbert-masked", t.DistilBertForMaskedLM, t.DistilBertConfig(**distil)
    yield "distilbert-classifier", t.DistilBertForSequenceClassification, t.DistilBertConfig(
        **distil, num_labels=3, activation="relu", sinusoidal_pos_embds=True
    )
    yield "mpnet-masked", t.MPNetForMaskedLM, t.MPNetConfig(**small())
    yield "mpnet-classifier", t.MPNetForSequenceClassification, t.MPNetConfig(**small(), num_labels=3)
    yield "electra-masked", t.ElectraForMaskedLM, t.ElectraConfig(**small(), embedding_size=16)
    yield "electra-classifier", t.ElectraForSequenceClassification, t.ElectraConfig(
        **small(), embedding_size=24, num_labels=2
    )
    albert = dict(embedding_size=16, num_hidden_groups=1)
    yield "albert-masked", t.AlbertForMaskedLM, t.AlbertConfig(**small(), **albert)
    yield "albert-groups", t.AlbertForSequenceClassification, t.AlbertConfig(
        **small(num_hidden_layers=3), embedding_size=24, num_hidden_groups=2, inner_group_num=2,
        num_labels=3,
    )
    modern = small(pad_token_id=0, bos_token_id=1, eos_token_id=2, cls_token_id=1, sep_token_id=2)
    three = {**modern, "num_hidden_layers": 3, "intermediate_size": 24}
    yield "modernbert-masked", t.ModernBertForMaskedLM, t.ModernBertConfig(
        **three, local_attention=6, global_attn_every_n_layers=2
    )
    yield "modernbert-classifier", t.ModernBertForSequenceClassification, t.ModernBertConfig(
        **modern, local_attention=4, classifier_pooling="mean", norm_bias=True, attention_bias=True,
        mlp_bias=True, classifier_bias=True, num_labels=3, layer_types=["sliding_attention", "full_attention"],
    )
    yield "modernbert-tokens", t.ModernBertForTokenClassification, t.ModernBertConfig(
        **modern, classifier_activation="silu", num_labels=3
    )
    # The published ones of version 3.
    third = dict(
        relative_attention=True, position_biased_input=False, pos_att_type=["p2c", "c2p"],
        max_relative_positions=-1, norm_rel_ebd="layer_norm", type_vocab_size=0,
    )
    yield "deberta-v3-masked", t.DebertaV2ForMaskedLM, t.DebertaV2Config(
        **small(), **third, position_buckets=8, share_att_key=True
    )
    yield "deberta-v3-new-head", t.DebertaV2ForMaskedLM, t.DebertaV2Config(
        **small(), **{**third, "norm_rel_ebd": "none"}, position_buckets=8, share_att_key=False,
        legacy=False,
    )
    yield "deberta-v2-classifier", t.DebertaV2ForSequenceClassification, t.DebertaV2Config(
        **small(max_position_embeddings=24), relative_attention=True, pos_att_type=["c2p"], type_vocab_size=2,
        num_labels=3,
    )
    yield "deberta-v2-plain", t.DebertaV2Model, t.DebertaV2Config(**small(), type_vocab_size=0)
    yield "nomic-bert-masked", t.NomicBertForMaskedLM, t.NomicBertConfig(**small())
    yield "nomic-bert-classifier", t.NomicBertForSequenceClassification, t.NomicBertConfig(
        **small(), num_labels=2, hidden_act="gelu"
    )
