//! What planning knows of a model: names, shapes and stored types, from headers alone.

use calib::running::fisher::{StageSize, stage_sizes};
use calib::{LayerSpec, Model, WeightSource};
use eval::kind::ModelKind;
use eval::report::figures;
use quantizers::FloatType;
use quantizers::formats::{Dtype, Original};
use quantizers::graph::{Graph, Projection, StageNode};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// A model as planning sees it.
#[derive(Debug, Clone)]
pub struct ModelFacts {
    /// `org/name`, the folder, or `demo`.
    pub name: String,
    /// Commit, for Hub models.
    pub revision: Option<String>,
    /// Family.
    pub architecture: String,
    /// What it is for: decides the default recipe and evaluation.
    pub kind: ModelKind,
    /// Every linear layer, in execution order.
    pub layers: Vec<LayerSpec>,
    /// Stages, in execution order.
    pub stages: Vec<StageFacts>,
    /// Stored bytes of each layer's weight, by layer name.
    pub layer_bytes: BTreeMap<String, u64>,
    /// Stored type of each layer's weight, by layer name.
    pub float_types: BTreeMap<String, FloatType>,
    /// Values in all tensors.
    pub parameters: u64,
    /// Stored bytes of all tensors.
    pub tensor_bytes: u64,
    /// Bytes of all tensors where their values are kept: more than stored, where they are quantized.
    pub kept_bytes: u64,
    /// Vocabulary of a text model.
    pub vocabulary: Option<usize>,
    /// Longest sequence.
    pub max_positions: Option<usize>,
    /// Data can be made with it alone (`synthetic`).
    pub synthetic: bool,
    /// How its layers hang together.
    pub graph: Graph,
    /// Tensors that are no weight of a linear layer.
    pub others: Vec<KeptTensors>,
    /// What was found out about it that its files do not say.
    pub notes: Vec<String>,
    /// The transform that rewrote its checkpoint, where one did.
    pub rewrite: Option<RewriteFacts>,
}

/// A transform that rewrote a checkpoint.
#[derive(Debug, Clone)]
pub struct RewriteFacts {
    /// Registry name.
    pub method: String,
    /// Its parameters.
    pub parameters: toml::Table,
    /// Values of the largest tensor it rewrites that is no weight of a linear layer, or not in the original.
    pub largest_kept: u64,
}

/// Tensors that no method quantizes: one that is worth a name, or all of a kind together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeptTensors {
    /// What it is for.
    pub what: String,
    /// Its name; absent for several together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// How many they are.
    pub count: usize,
    /// Values in all of them; said of a tower only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<u64>,
    /// Bytes of all of them.
    pub bytes: u64,
}

/// One stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageFacts {
    /// Short name.
    pub name: String,
    /// Values in its tensors.
    pub parameters: u64,
    /// What runs through it and how many weights its linear layers have.
    pub size: StageSize,
}

impl ModelFacts {
    /// Width of the hidden states: the narrowest input of a block's layers.
    pub fn width(&self) -> usize {
        let in_blocks = self.layers.iter().filter(|layer| layer.in_block);
        in_blocks.map(|layer| layer.cols).min().unwrap_or(0)
    }

    /// The points at which the inputs of layers are seen, by layer.
    pub fn input_points(&self) -> BTreeMap<&str, &str> {
        let layers = self.layers.iter();
        layers
            .map(|spec| (spec.name.as_str(), spec.input_point.as_str()))
            .collect()
    }

    /// Bytes of the weight of `layer` where its values are kept: as stored, or more where that is another form.
    pub(super) fn kept_layer_bytes(&self, layer: &LayerSpec) -> u64 {
        let stored = self.layer_bytes.get(&layer.name).copied().unwrap_or(0);
        let bits = self
            .float_types
            .get(&layer.name)
            .map_or(0, |kind| kind.bits());
        stored.max((layer.rows * layer.cols) as u64 * bits / 8)
    }

    /// Reads headers only: `weights` for names and shapes, `originals` for what is stored. Tensors in
    /// `second_names` are others under a second name, and are not counted.
    pub fn new(
        name: String,
        revision: Option<String>,
        weights: &dyn WeightSource,
        originals: &BTreeMap<String, Original>,
        model: &dyn Model,
        second_names: &BTreeMap<String, String>,
    ) -> Self {
        let count = |name: &str| {
            weights
                .shape(name)
                .map_or(0, |shape| shape.iter().map(|&side| side as u64).product())
        };
        let stages = stage_sizes(model)
            .into_iter()
            .enumerate()
            .map(|(stage, size)| StageFacts {
                size,
                name: model.stage_name(stage),
                parameters: model
                    .tensor_names(stage)
                    .iter()
                    .map(|name| count(name))
                    .sum(),
            })
            .collect();
        let is_first = |layer: &&LayerSpec| !second_names.contains_key(&layer.weight_name());
        let layers: Vec<LayerSpec> = model.layers().iter().filter(is_first).cloned().collect();
        let graph = model.graph().clone();
        let kind = ModelKind::of(model);
        // Tokens in a row of known length, or images; a decoder writes its own text.
        let synthetic = graph.max_rows().is_some() || kind == ModelKind::Decoder;
        let patches = patches(&graph);
        let mut layer_bytes = BTreeMap::new();
        let mut float_types = BTreeMap::new();
        for layer in layers.iter().chain(&patches) {
            if let Some(found) = originals.get(&layer.weight_name()) {
                layer_bytes.insert(layer.name.clone(), found.stored_bytes);
                float_types.extend(float_type(found.dtype).map(|kind| (layer.name.clone(), kind)));
            }
        }
        Self {
            name,
            revision,
            architecture: model.architecture().to_owned(),
            kind,
            stages,
            layer_bytes,
            float_types,
            parameters: (weights.names().iter())
                .filter(|name| !second_names.contains_key(*name))
                .map(|name| count(name))
                .sum(),
            tensor_bytes: counted(originals, second_names)
                .map(|(_, found)| found.stored_bytes)
                .sum(),
            kept_bytes: counted(originals, second_names)
                .map(|(_, found)| found.kept_bytes())
                .sum(),
            vocabulary: model.vocabulary(),
            max_positions: model.max_positions(),
            synthetic,
            others: others(&graph, &layers, model, originals, second_names),
            layers,
            graph,
            notes: Vec::new(),
            rewrite: None,
        }
    }
}

/// The tensors that are no second name of another.
fn counted<'a>(
    originals: &'a BTreeMap<String, Original>,
    second_names: &'a BTreeMap<String, String>,
) -> impl Iterator<Item = (&'a String, &'a Original)> {
    originals
        .iter()
        .filter(|(name, _)| !second_names.contains_key(*name))
}

/// What there is besides the weights of linear `layers`: tables by name, the rest together.
fn others(
    graph: &Graph,
    layers: &[LayerSpec],
    model: &dyn Model,
    originals: &BTreeMap<String, Original>,
    second_names: &BTreeMap<String, String>,
) -> Vec<KeptTensors> {
    let weights: BTreeSet<String> = layers.iter().map(LayerSpec::weight_name).collect();
    let used: BTreeSet<String> = (0..model.stages())
        .flat_map(|stage| model.tensor_names(stage))
        .collect();
    let tables = tables(graph);
    let mut towers: BTreeMap<String, KeptTensors> = BTreeMap::new();
    let mut named: Vec<KeptTensors> = Vec::new();
    let mut together: BTreeMap<&str, (usize, u64)> = BTreeMap::new();
    for (name, found) in
        counted(originals, second_names).filter(|(name, _)| !weights.contains(*name))
    {
        let bytes = found.kept_bytes();
        if let Some((_, what)) = tables.iter().find(|(table, _)| table == name) {
            named.push(KeptTensors {
                what: (*what).to_owned(),
                name: Some(name.clone()),
                count: 1,
                parameters: None,
                bytes,
            });
            continue;
        }
        if let Some(larger) = model.within().filter(|_| !used.contains(name)) {
            let name = tower_of(name, &larger.prefix);
            let tower = towers
                .entry(name)
                .or_insert_with_key(|name| KeptTensors::tower(name));
            tower.add(found);
            continue;
        }
        let what = if used.contains(name) {
            "normalisations and biases"
        } else {
            "not used by the model"
        };
        let entry = together.entry(what).or_default();
        *entry = (entry.0 + 1, entry.1 + bytes);
    }
    named.extend(
        together
            .into_iter()
            .map(|(what, (count, bytes))| KeptTensors {
                what: what.to_owned(),
                name: None,
                count,
                parameters: None,
                bytes,
            }),
    );
    named.extend(towers.into_values());
    named
}

/// The part of a larger model that `tensor` belongs to, whose language tower has names that begin with `prefix`:
/// what the two have in common, and one more module.
fn tower_of(tensor: &str, prefix: &str) -> String {
    let shared = tensor.split('.').zip(prefix.split('.'));
    let shared = shared.take_while(|(own, other)| own == other).count();
    let module = tensor.rsplit_once('.').map_or(tensor, |(module, _)| module);
    let modules: Vec<&str> = module.split('.').take(shared + 1).collect();
    modules.join(".")
}

impl KeptTensors {
    fn tower(name: &str) -> Self {
        Self {
            what: "not part of the language tower".to_owned(),
            name: Some(name.to_owned()),
            count: 0,
            parameters: Some(0),
            bytes: 0,
        }
    }

    fn add(&mut self, tensor: &Original) {
        let values: u64 = tensor.shape.iter().map(|&side| side as u64).product();
        self.count += 1;
        self.parameters = self.parameters.map(|all| all + values);
        self.bytes += tensor.kept_bytes();
    }

    /// A tower that is left as it is, in a line: `model.vision_tower, 437 tensors with 412,442,352 parameters, 786.67 MiB`.
    pub fn tower_line(&self) -> Option<String> {
        let (name, parameters) = (self.name.as_ref()?, self.parameters?);
        let tensors = match self.count {
            1 => "1 tensor".to_owned(),
            count => format!("{count} tensors"),
        };
        let (values, bytes) = (figures::count(parameters), figures::bytes(self.bytes));
        Some(format!(
            "{name}, {tensors} with {values} parameters, {bytes}"
        ))
    }
}

/// Names of the large tensors that are no linear layers, with what they are.
fn tables(graph: &Graph) -> Vec<(String, &'static str)> {
    let tied = match graph.stages.last() {
        Some(StageNode::Head(head)) => match &head.projection {
            Some(Projection::Tied { table, .. }) => Some(&table.name),
            _ => None,
        },
        _ => None,
    };
    match graph.stages.first() {
        Some(StageNode::Tokens(input)) => {
            let what = if tied == Some(&input.tokens.name) {
                "token table, which is also the head"
            } else {
                "token table"
            };
            let mut tables = vec![(input.tokens.name.clone(), what)];
            let positions = input.positions.iter().chain(&input.token_types);
            tables
                .extend(positions.map(|table| (table.name.clone(), "table of positions or types")));
            tables
        }
        Some(StageNode::Patches(input)) => {
            let mut tables = vec![(input.projection.name.clone(), "projection of patches")];
            let positions = input.positions.iter();
            tables.extend(positions.map(|table| (table.name.clone(), "table of positions")));
            tables
        }
        _ => Vec::new(),
    }
}

/// The float type of stored values; none for other types.
pub(crate) fn float_type(dtype: Dtype) -> Option<FloatType> {
    match dtype {
        // Doubles are read as f32, which is all that reaches a method.
        Dtype::F64 | Dtype::F32 => Some(FloatType::F32),
        Dtype::F16 => Some(FloatType::F16),
        Dtype::BF16 => Some(FloatType::Bf16),
        _ => None,
    }
}

/// Name of a stored type as people write it.
pub fn dtype_name(dtype: Dtype) -> String {
    format!("{dtype:?}").to_lowercase()
}

/// The projection of patches as a layer `[width, channels * patch * patch]`.
pub(super) fn patches(graph: &Graph) -> Option<LayerSpec> {
    match graph.stages.first() {
        Some(StageNode::Patches(input)) => Some(LayerSpec::new(input.layer(), 0)),
        _ => None,
    }
}
