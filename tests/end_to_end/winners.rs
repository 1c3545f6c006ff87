//! For every row that independent programs reached, the setting of ours that loses least and is no larger.

use crate::readme::{kept_folder, replace, smollm2_texts};
use crate::reference::{Damage, Decoder, STORIES, WIKI, WIKI_10M, found, rows};
use std::fmt::Write as _;
use std::path::Path;

const BEGIN: &str = "<!-- winners: begin -->";
const END: &str = "<!-- winners: end -->";

/// A setting, as the table calls it and as a recipe says it.
struct Setting {
    label: String,
    rules: String,
}

/// Trellis codes, in states of 12 bits to save the reader's time.
fn trellis(bits: u8) -> Setting {
    Setting {
        label: format!("`trellis`, {bits} bits"),
        rules: format!(
            "[[layers]]\nmatch = '*'\nmethod = 'trellis'\nbits = {bits}\nstate_bits = 12\n"
        ),
    }
}

/// A table for each matrix and a scale of 6 bits for each group of inputs, with compensation.
fn codebook(bits: u8, group: u16) -> Setting {
    Setting {
        label: format!("`gptq` on codebooks, {bits} bits, groups of {group}"),
        rules: format!(
            "[[layers]]\nmatch = '*'\nmethod = 'gptq'\ngrid = 'codebook'\nbits = {bits}\ngroup_size = {group}\n\
             scale_bits = 6\nact_order = true\npasses = 6\n"
        ),
    }
}

/// Uniform grids with compensation, of one scale for each output channel.
fn channels(bits: u8, damping: f64) -> Setting {
    Setting {
        label: format!("`gptq`, {bits} bits, channels"),
        rules: format!(
            "[[layers]]\nmatch = '*'\nmethod = 'gptq'\nbits = {bits}\nact_order = true\nclip = 'input_mse'\n\
             damping = {damping}\nscale_type = 'f16'\n"
        ),
    }
}

/// The same in 8 bits, with a scale for every 32 inputs.
fn eight_bits() -> Setting {
    Setting {
        label: "`gptq`, 8 bits, groups of 32".to_owned(),
        rules: "[[layers]]\nmatch = '*'\nmethod = 'gptq'\nbits = 8\ngroup_size = 32\n\
                group_size_fallback = 'shorter_last_group'\nact_order = true\nstatic_groups = true\nscale_type = 'f16'\n"
            .to_owned(),
    }
}

/// The settings each decoder is quantized with, and the samples they are calibrated on.
fn small_decoders() -> Vec<(Decoder, usize, Vec<Setting>)> {
    let mut wide: Vec<Setting> = (2..=5).map(trellis).collect();
    wide.extend([2, 3, 4].map(|bits| codebook(bits, 16)));
    wide.extend([codebook(2, 32), codebook(8, 32)]);
    wide.extend([channels(3, 0.01), channels(4, 0.12)]);
    let mut wider: Vec<Setting> = (2..=4).map(trellis).collect();
    wider.push(codebook(4, 16));
    // Sides of 172 are no multiple of 16, so that no trellis code holds them.
    let mut narrow = Vec::new();
    for bits in [2, 3, 4, 5, 8] {
        narrow.extend([codebook(bits, 16), codebook(bits, 32)]);
    }
    narrow.extend([channels(3, 0.01), channels(4, 0.01), eight_bits()]);
    vec![
        (WIKI, 128, wide),
        (WIKI_10M, 128, wider),
        (STORIES, 64, narrow),
    ]
}

fn smollm2(model: &'static str) -> (Decoder, usize, Vec<Setting>) {
    let decoder = Decoder {
        name: model,
        protocol: "",
        calibration: "data = 'calibration.txt'\nsequence_length = 512",
        evaluation: "data = 'held-out.txt'\nsequence_length = 512\nlimit = 32",
    };
    let mut settings: Vec<Setting> = [2, 3, 4, 5, 7].map(trellis).into();
    settings.push(codebook(4, 32));
    (decoder, 32, settings)
}

/// What `setting` costs `decoder`, measured once and kept in the folder `kept`.
fn measured(
    kept: &Path,
    home: &Path,
    (decoder, samples): (&Decoder, usize),
    setting: &Setting,
) -> Damage {
    let model = Path::new(decoder.name)
        .file_name()
        .unwrap()
        .to_string_lossy();
    let plain = |letter: char| {
        if letter.is_alphanumeric() {
            letter
        } else {
            '-'
        }
    };
    let name: String = format!("{model} {}", setting.label)
        .chars()
        .map(plain)
        .collect();
    let file = kept.join(name + ".json");
    if let Ok(text) = std::fs::read_to_string(&file) {
        return serde_json::from_str(&text).unwrap();
    }
    let damage = found(home, decoder, samples, &setting.rules);
    std::fs::write(file, serde_json::to_string(&damage).unwrap()).unwrap();
    damage
}

/// Quantizes four decoders with every setting and writes into the README which one beats which row.
#[test]
#[ignore = "needs QUENCH_ASSETS and QUENCH_SMOLLM2, a folder with the model; rewrites the table in README.md"]
fn readme_winners_table() {
    let model: &'static str = std::env::var("QUENCH_SMOLLM2").unwrap().leak();
    let folder = tempfile::tempdir().unwrap();
    let kept = kept_folder(folder.path());
    smollm2_texts(folder.path());
    let mut decoders = small_decoders();
    decoders.push(smollm2(model));
    let mut table = String::from(
        "| model | row | bits, perplexity, KL | ours | bits, perplexity, KL | KL, ours over theirs |\n|---|---|---|---|---|---|\n",
    );
    let mut missed = Vec::new();
    for (decoder, samples, settings) in &decoders {
        let ours: Vec<(&str, Damage)> = settings
            .iter()
            .map(|setting| {
                let damage = measured(&kept, folder.path(), (decoder, *samples), setting);
                (setting.label.as_str(), damage)
            })
            .collect();
        let model = Path::new(decoder.name)
            .file_name()
            .unwrap()
            .to_string_lossy();
        for (row, theirs) in rows(decoder) {
            let better = ours.iter().filter(|(_, damage)| {
                damage.bits <= theirs.bits * 1.0005
                    && damage.divergence < theirs.divergence
                    && damage.perplexity < theirs.perplexity
            });
            let best =
                better.min_by(|(_, one), (_, other)| one.divergence.total_cmp(&other.divergence));
            let Some((label, damage)) = best else {
                missed.push(format!("{model} {row}: {theirs:?}"));
                continue;
            };
            writeln!(
                table,
                "| {model} | {row} | {} | {label} | {} | {:.2} |",
                figures(theirs),
                figures(*damage),
                damage.divergence / theirs.divergence
            )
            .unwrap();
        }
    }
    replace(BEGIN, END, &table);
    assert!(missed.is_empty(), "no setting beats {missed:#?}");
}

fn figures(damage: Damage) -> String {
    format!(
        "{:.3}, {:.3}, {:.5}",
        damage.bits, damage.perplexity, damage.divergence
    )
}
