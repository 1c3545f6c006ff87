//! SubGen (arXiv 2402.06082): numerator and denominator of the softmax from two samples that a stream keeps up to date.
//!
//! `variant = "stream"` is the algorithm of the paper. Numerator: `slots` slots; a token with value `v` makes
//! `mu <- mu + ||v||^2` and replaces each slot with probability `||v||^2 / mu`. Denominator: a token joins the first cluster
//! whose centre is within `radius` of its key, or opens one; a cluster holds its count `n` and `samples` keys, of which
//! each is replaced with probability `1 / n`. The output is
//! `sum over slots of mu / (slots ||v||^2) e^<q,k> v`, divided by `sum over clusters of n / samples * sum over its samples of e^<q,k>`.
//! Tokens enter when they leave a window that is exact; without a window (the default, as in the paper) at once.
//!
//! `variant = "centres"` is what the published experiments are reported to have run: greedy k-centre of the keys between
//! sinks and a window, each centre as a key of its own.

use super::centres::{Centres, square_distance};
use super::compressed::{CACHE_PARAMETERS, Compressed, beside_cache};
use super::group::{Attended, GroupShape, HeadGroup, Seen};
use super::random::Random;
use super::run::Run;
use super::settings::Settings;
use super::softmax::{Listed, Partial, Row};
use super::{Attention, AttentionError, SparseAttention};
use crate::ParamError;

/// The registry entry.
pub(super) struct SubGen;

static PARAMETERS: [(&str, &str); CACHE_PARAMETERS.len() + 7] = beside_cache(&[
    (
        "variant",
        "`stream` (default): the two samples of the paper; `centres`: greedy k-centre and a window",
    ),
    (
        "slots",
        "for `stream`: samples of the numerator; default 256",
    ),
    (
        "samples",
        "for `stream`: samples of the denominator in each cluster; default 8",
    ),
    (
        "radius",
        "for `stream`: distance of a key to the centre of its cluster, in units of sqrt(head_dim); default 1.5, which gathers normal keys of variance 1",
    ),
    (
        "keep",
        "for `centres`: fraction of the tokens between sinks and window that is kept; default 0.25",
    ),
    (
        "cluster_weights",
        "for `centres`: whether a centre counts for all keys nearest to it; default false",
    ),
    ("seed", "for `stream`: of the random choices; default 0"),
]);

impl Attention for SubGen {
    fn name(&self) -> &'static str {
        "subgen"
    }

    fn summary(&self) -> &'static str {
        "numerator and denominator from samples: values by their norm, keys by online clusters"
    }

    fn parameters(&self) -> &'static [(&'static str, &'static str)] {
        &PARAMETERS
    }

    fn configure(&self, table: &toml::Table) -> Result<Box<dyn SparseAttention>, ParamError> {
        let settings = Settings::new(self.name(), self.parameters(), table)?;
        let stream = settings.choice("variant", &[("stream", true), ("centres", false)])?;
        let others: &[&str] = if stream {
            &[
                "keep",
                "cluster_weights",
                "sink",
                "protocol",
                "batch",
                "generated",
            ]
        } else {
            &["slots", "samples", "radius", "seed"]
        };
        if let Some(key) = others.iter().find(|key| table.contains_key(**key)) {
            return Err(settings.refuse(key, "no such key, as `variant` is the other one"));
        }
        if stream {
            return Ok(Box::new(SubGenStream {
                slots: settings.count("slots", 1, 256)?,
                samples: settings.count("samples", 1, 8)?,
                radius: settings.number("radius", 0.0..=1e6, 1.5)?,
                window: settings.count("window", 0, 0)?,
                seed: settings.seed()?,
            }));
        }
        Ok(Box::new(SubGenCentres {
            cache: Compressed::read(&settings)?,
            keep: settings.number("keep", 0.0..=1.0, 0.25)?,
            weighted: settings.flag("cluster_weights", false)?,
        }))
    }
}

struct SubGenCentres {
    cache: Compressed,
    keep: f64,
    weighted: bool,
}

impl SparseAttention for SubGenCentres {
    fn plan(&self, shape: &GroupShape) -> Result<Vec<String>, AttentionError> {
        self.cache.plan(SubGen.name(), shape)
    }

    fn attend(
        &self,
        group: &HeadGroup<'_>,
        seen: Option<&mut dyn Seen>,
    ) -> Result<Attended, AttentionError> {
        let mut centres = Centres {
            keep: self.keep,
            weighted: self.weighted,
        };
        self.cache.attend(SubGen.name(), &mut centres, group, seen)
    }
}

struct SubGenStream {
    slots: usize,
    samples: usize,
    radius: f64,
    window: usize,
    seed: u64,
}

impl SparseAttention for SubGenStream {
    fn plan(&self, shape: &GroupShape) -> Result<Vec<String>, AttentionError> {
        if !shape.causal {
            return Err(AttentionError::CausalOnly(SubGen.name()));
        }
        let all = shape.tokens <= self.window;
        let note = || format!("{} tokens fit into the window: exact", shape.tokens);
        Ok(all.then(note).into_iter().collect())
    }

    fn attend(
        &self,
        group: &HeadGroup<'_>,
        seen: Option<&mut dyn Seen>,
    ) -> Result<Attended, AttentionError> {
        self.plan(&group.shape())?;
        let mut run = Run::new(group, seen)?;
        let random = Random::new(self.seed, "subgen", group.layer, group.head);
        let mut samples = Samples::new(self, group, random);
        for token in 0..run.tokens() {
            if token >= self.window {
                let products = samples.enter(group, token - self.window);
                run.count(products);
            }
            let from = (token + 1).saturating_sub(self.window);
            if run.skips(token) {
                continue;
            }
            samples.list(self.samples);
            for head in run.heads() {
                samples.attend(&mut run, head, token, from);
            }
            let held = samples.slots.len() + samples.clusters.len() * (self.samples + 1);
            run.holds(held + token + 1 - from);
        }
        Ok(run.finish())
    }

    fn randomised(&self) -> bool {
        true
    }
}

/// Keys around a centre.
struct Cluster {
    centre: u32,
    count: u32,
    samples: Vec<u32>,
}

/// The two samples of the tokens that have entered.
struct Samples {
    random: Random,
    /// Largest squared distance to a centre.
    radius: f32,
    /// Samples of a new cluster.
    of_cluster: usize,
    /// Sum of the squared norms of the values.
    mu: f64,
    /// Positions of the numerator, and the squared norms of their values; empty until a value is not zero.
    slots: Vec<(u32, f64)>,
    room: usize,
    clusters: Vec<Cluster>,
    /// As lists, made by [`Samples::list`].
    numerator: (Vec<u32>, Vec<f32>),
    denominator: (Vec<u32>, Vec<f32>),
    rows: [Row; 2],
}

impl Samples {
    fn new(settings: &SubGenStream, group: &HeadGroup<'_>, random: Random) -> Self {
        let radius = settings.radius.powi(2) * group.keys.cols() as f64;
        let value_dim = group.values.cols();
        #[expect(
            clippy::cast_possible_truncation,
            reason = "compared with f32 distances"
        )]
        Self {
            random,
            radius: radius as f32,
            of_cluster: settings.samples,
            mu: 0.0,
            slots: Vec::new(),
            room: settings.slots,
            clusters: Vec::new(),
            numerator: Default::default(),
            denominator: Default::default(),
            rows: [Row::new(value_dim), Row::new(value_dim)],
        }
    }

    /// Takes `token`; returns how many centres its key was compared with.
    fn enter(&mut self, group: &HeadGroup<'_>, token: usize) -> usize {
        let Ok(position) = u32::try_from(token) else {
            return 0;
        };
        let value = group.values.row(token).iter();
        let square: f64 = value.map(|value| f64::from(*value).powi(2)).sum();
        self.mu += square;
        if square > 0.0 {
            if self.slots.is_empty() {
                self.slots = vec![(position, square); self.room];
            } else {
                for slot in &mut self.slots {
                    if self.random.uniform() * self.mu < square {
                        *slot = (position, square);
                    }
                }
            }
        }
        let key = group.keys.row(token);
        let near = |cluster: &Cluster| {
            square_distance(group.keys.row(cluster.centre as usize), key) <= self.radius
        };
        let Some(at) = self.clusters.iter().position(near) else {
            self.clusters.push(Cluster {
                centre: position,
                count: 1,
                samples: vec![position; self.of_cluster],
            });
            return self.clusters.len() - 1;
        };
        let cluster = &mut self.clusters[at];
        cluster.count += 1;
        for sample in &mut cluster.samples {
            if self.random.uniform() * f64::from(cluster.count) < 1.0 {
                *sample = position;
            }
        }
        at + 1
    }

    /// Lists both samples with the logarithms of their weights.
    #[expect(clippy::cast_possible_truncation, reason = "logits are f32")]
    fn list(&mut self, of_cluster: usize) {
        let slots = self.slots.len() as f64;
        let weight = |square: f64| (self.mu / (slots * square)).ln() as f32;
        let slots = self.slots.iter();
        self.numerator = slots
            .map(|(position, square)| (*position, weight(*square)))
            .unzip();
        let samples = self.clusters.iter().flat_map(|cluster| {
            let weight = (f64::from(cluster.count) / of_cluster as f64).ln() as f32;
            cluster
                .samples
                .iter()
                .map(move |position| (*position, weight))
        });
        self.denominator = samples.unzip();
    }

    /// Attends with one query to both samples and to the keys `from..=token`.
    fn attend(&mut self, run: &mut Run<'_, '_>, head: usize, token: usize, from: usize) {
        let group = run.group;
        let query = group.queries[head].row(token);
        let matrices = (group.keys, group.values);
        let window = Listed::plain(run.positions(from, token + 1))
            .positions
            .to_vec();
        let [row, recent] = &mut self.rows;
        recent.attend(query, group.scale, matrices, Listed::plain(&window));
        let mut sums = [recent.partial.clone(), recent.partial.clone()];
        let mut shares: [Vec<f32>; 2] = Default::default();
        let wants = run.wants(token);
        for ((sum, list), shares) in sums
            .iter_mut()
            .zip([&self.numerator, &self.denominator])
            .zip(&mut shares)
        {
            let listed = Listed {
                log_weights: &list.1,
                ..Listed::plain(&list.0)
            };
            row.attend(query, group.scale, matrices, listed);
            run.count(list.0.len());
            sum.merge(&row.partial);
            if wants {
                let largest = row.partial.largest;
                shares.extend(row.weights.iter().map(|weight| largest + weight.ln()));
            }
        }
        run.count(window.len());
        let [numerator, denominator] = sums;
        numerator.write_over(&denominator, run.output(head, token));
        if wants {
            let recent = recent
                .weights
                .iter()
                .map(|weight| recent.partial.share(*weight, &denominator));
            let slots = shares[0]
                .iter()
                .map(|logarithm| share(*logarithm, &denominator));
            let shares: Vec<f32> = recent.chain(slots).collect();
            let positions: Vec<u32> = window.iter().chain(&self.numerator.0).copied().collect();
            run.tell(head, token, &positions, &shares);
        }
    }
}

/// What a weight of this logarithm is of the sum of `denominator`.
fn share(logarithm: f32, denominator: &Partial) -> f32 {
    denominator.share((logarithm - denominator.largest).exp(), denominator)
}
