//! The sections of a recipe and their keys in words, for the reference.

/// One section of a recipe.
pub(super) struct SectionText {
    /// As the parser calls it.
    pub(super) name: &'static str,
    pub(super) summary: &'static str,
    pub(super) keys: &'static [KeyText],
}

/// One key: name, what it may be, default, meaning.
pub(super) type KeyText = (&'static str, &'static str, &'static str, &'static str);

/// Every section and every key that is not a method's, transform's or task's own.
pub(super) static SECTIONS: &[SectionText] = &[
    SectionText {
        name: "the recipe",
        summary: "Before the first section.",
        keys: &[
            (
                "name",
                "a string",
                "the file's name",
                "in reports and in the default output folder",
            ),
            ("seed", "a whole number", "0", "of everything random"),
        ],
    },
    SectionText {
        name: "`[calibration]`",
        summary: "What statistics are measured on, where a method or transform needs any.",
        keys: &[
            (
                "data",
                "a file, `hub:owner/name/file#column` or `\"synthetic\"`",
                "`\"synthetic\"`",
                "a path is relative to the recipe's folder",
            ),
            (
                "samples",
                "a whole number of at least 1",
                "128",
                "sequences or images",
            ),
            (
                "sequence_length",
                "a whole number of at least 1",
                "as many as suit the model",
                "tokens of a sequence",
            ),
            (
                "selection",
                "`\"first\"` or `\"random\"`",
                "`\"first\"`",
                "which sequences are taken",
            ),
            (
                "template",
                "`\"chat\"` or `\"none\"`",
                "`\"chat\"`",
                "conversations as the model's chat template renders them, or the contents of their messages alone",
            ),
            (
                "mode",
                "`\"windows\"` or `\"documents\"`",
                "`\"windows\"`",
                "text as one stream cut in windows, or split at `separator`, each part after a begin token; conversations packed, or each apart",
            ),
            (
                "stride",
                "a whole number of at least 1",
                "`sequence_length`",
                "tokens between the starts of two windows; only in mode `windows`",
            ),
            (
                "separator",
                "a string",
                "`\"<|endoftext|>\"`",
                "what stands between documents; only in mode `documents`",
            ),
            (
                "keep_statistics",
                "`true` or `false`",
                "`false`",
                "leave what was measured in the cache folder for a later run",
            ),
            (
                "experts",
                "a table",
                "see below",
                "what the layers of experts are measured on",
            ),
        ],
    },
    SectionText {
        name: "`[calibration.experts]`",
        summary: "A layer of an expert sees only the tokens its router sends it. Where those are too few, it is quantized as if nothing were known of its inputs, or measured over all tokens; a note says so for each layer. Gradients exist for routed tokens alone: methods that read them have no other way than the first.",
        keys: &[
            (
                "min_tokens",
                "a whole number of at least 1",
                "128",
                "fewer tokens are too few; of 128 the mean of a channel is known to about a tenth. The Hessian of an expert has full rank from as many tokens as it has inputs on",
            ),
            (
                "too_few",
                "`\"data-free\"` or `\"all-tokens\"`",
                "`\"data-free\"`",
                "what happens to an expert with too few tokens: no statistics, or those of all tokens; only without `calibrate_all_experts`",
            ),
            (
                "calibrate_all_experts",
                "`true` or `false`",
                "`false`",
                "measure every expert over all tokens, whatever its router sends it; what a block passes on stays the routed output",
            ),
            (
                "memory",
                "a size such as `\"4GiB\"` or `\"512MiB\"`",
                "`\"4GiB\"`",
                "statistics of the experts of one block that are held at a time, one layer's input at least; the block is run once for each part. With `keep_statistics` all are held",
            ),
        ],
    },
    SectionText {
        name: "`[[transform]]`",
        summary: "How the checkpoint or its blocks are rewritten into equivalent ones before layers are quantized, in this order; `rotate` stands first. Further keys are the transform's own, below.",
        keys: &[(
            "method",
            "the name of a transform",
            "must be there",
            "which",
        )],
    },
    SectionText {
        name: "`[cache]`",
        summary: "How the cache of keys and values is kept when the model runs. Weights stay as the rules say; `kv_quant.json` and `kv_quant.safetensors` in the artifact hold what was decided and fitted. `[[transform]]` `rotate` with `rotation = \"v\"` makes values easier to hold. Further keys are the method's own, below.",
        keys: &[
            (
                "method",
                "the name of a cache, or `\"auto\"`",
                "must be there",
                "which; `auto` gives each block one of those that `quench cache` has tried, so that the squared errors of what blocks attend to add up to the least",
            ),
            (
                "bits_per_value",
                "a number above 0 and at most 32",
                "must be there with `auto`",
                "what keys and values of all blocks may take together",
            ),
            (
                "measured",
                "a file",
                "must be there with `auto`",
                "the `cache.json` that `quench cache --output` wrote of this model",
            ),
            (
                "skip_layers",
                "a list of whole numbers",
                "`[]`",
                "blocks whose cache stays as it is",
            ),
        ],
    },
    SectionText {
        name: "`[attention]`",
        summary: "Which keys are attended to when the model runs, in place of `[cache]`. Weights stay as the rules say; `attention.json` in the artifact holds what was decided. Further keys are the method's own, below.",
        keys: &[
            (
                "method",
                "the name of an attention",
                "must be there",
                "which",
            ),
            (
                "skip_layers",
                "a list of whole numbers",
                "`[]`",
                "blocks whose attention stays exact",
            ),
        ],
    },
    SectionText {
        name: "`[[layers]]`",
        summary: "Rules for linear layers; the first that matches a layer decides it. Further keys are the method's own, below.",
        keys: &[
            (
                "match",
                "a glob, or `re:` and a regular expression",
                "must be there",
                "names of layers; `*` crosses dots, and a pattern that begins with a wildcard reaches no layer outside the blocks",
            ),
            (
                "method",
                "the name of a method, `\"keep\"`, or `\"auto\"`",
                "must be there",
                "how they are quantized; `auto` leaves it to the budget",
            ),
        ],
    },
    SectionText {
        name: "`[budget]`",
        summary: "What the layers may take together. Rules with `bits = \"auto\"` leave the width of their layers to it, rules with `method = \"auto\"` everything: each of their layers gets the option with which the predicted loss of all is least. `quench measure` scores every option once, for any budget; `quench quantize` does so first where it has not been done. On the command line `--budget`, which leaves the width of every rule open where none is.",
        keys: &[
            (
                "bits_per_weight",
                "a number above 0 and at most 32",
                "must be there, or `--budget`",
                "stored bits over weights, with everything a file holds for a layer; never exceeded",
            ),
            (
                "scope",
                "`\"layers\"` or `\"file\"`",
                "`\"layers\"`",
                "what is counted: the quantized linear layers, or all tensors (token table, head and normalisations too) over all parameters",
            ),
            (
                "choices",
                "an array of whole numbers from 1 to 16",
                "2 to 8, as the method has them",
                "widths that rules with `bits = \"auto\"` choose from",
            ),
            (
                "tie",
                "`true`, `false` or an array of patterns",
                "`true`",
                "which layers take the same option: those of a block that read the same input (q, k and v; gate and up), none, or those of a block whose names match the same pattern",
            ),
            (
                "sensitivity",
                "see below",
                "`\"fisher\"`",
                "which scores are added up",
            ),
            (
                "measured",
                "a file that `quench measure` wrote",
                "what an earlier run left in the cache folder",
                "the scores; a path is relative to the recipe's folder",
            ),
            ("option", "tables", "none", "further options, see below"),
        ],
    },
    SectionText {
        name: "`[[budget.option]]`",
        summary: "One more option for the layers the budget decides; options may differ in anything, the method too. Further keys are the method's own.",
        keys: &[
            (
                "match",
                "a glob, or `re:` and a regular expression",
                "all of them",
                "which of those layers",
            ),
            (
                "method",
                "the name of a method",
                "must be there",
                "how they would be quantized",
            ),
        ],
    },
    SectionText {
        name: "`[nonlinear]`",
        summary: "Makes an integer-only program of an encoder. Each key is the name of an approximation, `\"auto\"` (each slot the one that loses least on calibration data) or an array of names that `auto` chooses from.",
        keys: &[
            ("gelu", "see below", "`\"exact\"`", "GELU slots"),
            ("softmax", "see below", "`\"exact\"`", "softmax slots"),
            ("layernorm", "see below", "`\"exact\"`", "normalisations"),
        ],
    },
    SectionText {
        name: "`[activations]`",
        summary: "How values between the operations of an integer-only program are quantized.",
        keys: &[
            (
                "bits",
                "a whole number from 4 to 8",
                "8",
                "width of the inputs of linear layers",
            ),
            (
                "observer",
                "`\"min_max\"`, `\"moving_average\"`, `\"percentile\"` or `\"mse\"`",
                "`\"mse\"`",
                "what chooses their ranges",
            ),
            (
                "symmetric",
                "`true` or `false`",
                "`false`",
                "zero points fixed at 0",
            ),
            (
                "equalize",
                "`true` or `false`",
                "`true`",
                "factors per channel move from normalisations into the layers after them",
            ),
            (
                "bias_correction",
                "`true` or `false`",
                "`true`",
                "biases take up the mean rounding error of the weights",
            ),
            (
                "attention_bits",
                "8 or 15",
                "15",
                "width of attention weights",
            ),
        ],
    },
    SectionText {
        name: "`[output]`",
        summary: "The files.",
        keys: &[
            (
                "format",
                "`\"auto\"` or the name of a format",
                "`\"auto\"`",
                "`auto` is compressed-tensors where it holds every layer, else quench",
            ),
            (
                "shard_size",
                "a size such as `\"5GB\"` or `\"512MiB\"`",
                "`\"5GB\"`",
                "most bytes of one weight file",
            ),
        ],
    },
    SectionText {
        name: "`[report]`",
        summary: "What the report measures by itself.",
        keys: &[(
            "output_sqnr",
            "`true` or `false`",
            "where it costs nothing more",
            "error of each layer's output on the calibration data",
        )],
    },
];
