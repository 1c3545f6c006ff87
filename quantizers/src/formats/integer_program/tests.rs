use super::*;
use crate::formats::{Format, WriterOptions, find, verify};
use crate::integer::buffer::{Buffer, Element};
use crate::integer::ops::mean::Mean;
use crate::integer::ops::tokens::{Table, Tokens};
use crate::integer::program::TABLE_PREFIX;
use crate::integer::weights::Weights;
use crate::integer::{Dyadic, Executor, OutputKind, ProgramInput, ProgramOutput, Requantization};
use std::path::Path;

const WIDTH: usize = 20;
const VOCABULARY: usize = 7;

/// The mean of the vectors of its tokens.
fn program() -> Program {
    let name = format!("{TABLE_PREFIX}words");
    let codes = (0..VOCABULARY * WIDTH)
        .map(|at| i8::try_from(at * 31 % 255).unwrap_or(-77))
        .collect();
    let requantize = Requantization {
        multipliers: vec![1 << 20],
        shifts: vec![30],
        zero_point: 0,
        low: -32768,
        high: 32767,
    };
    let buffer = |name: &str, element| Buffer {
        name: name.to_owned(),
        width: WIDTH,
        element,
    };
    Program {
        input: ProgramInput::Tokens {
            vocabulary: VOCABULARY,
            max_tokens: 5,
        },
        buffers: vec![buffer("sum", Element::I16), buffer("pooled", Element::I32)],
        operations: vec![
            Box::new(Tokens {
                output: 0,
                width: WIDTH,
                words: Table {
                    codes: name.clone(),
                    multipliers: (0..7).map(|row| 20_000 + row).collect(),
                },
                positions: None,
                constant: (0..20).map(|channel| channel * 1000).collect(),
                requantize,
            }),
            Box::new(Mean::new(0, 1)),
        ],
        weights: BTreeMap::from([(name, Weights::new(VOCABULARY, WIDTH, codes))]),
        output: ProgramOutput {
            kind: OutputKind::Embedding,
            width: WIDTH,
            factor: Dyadic::of(0.001),
            buffer: 1,
        },
    }
}

fn replaced() -> BTreeMap<String, Vec<usize>> {
    BTreeMap::from([("words.weight".to_owned(), vec![VOCABULARY, WIDTH])])
}

fn writer(folder: &Path, format: &'static dyn Format) -> ArtifactWriter {
    let options = WriterOptions {
        format,
        shard_bytes: 1 << 30,
        overwrite: true,
    };
    ArtifactWriter::create(folder, options).unwrap()
}

fn quench() -> &'static dyn Format {
    find("quench").unwrap()
}

fn write(folder: &Path) -> crate::formats::Expected {
    let mut writer = writer(folder, quench());
    writer.integer_program(&program(), &replaced()).unwrap();
    writer.finish(&Map::new(), &[]).unwrap().expected
}

#[test]
fn a_program_comes_back_and_computes_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let expected = write(folder.path());
    verify(folder.path(), &expected).unwrap();
    let reader = ArtifactReader::open(folder.path()).unwrap();
    assert!(reader.is_integer_only());
    assert_eq!(reader.replaced_tensors(), replaced());
    let again = reader.integer_program().unwrap().unwrap();
    assert_eq!(again.to_parts(), program().to_parts());
    let run = |program| Executor::new(program).run_tokens(&[3, 1, 6], None).unwrap();
    assert_eq!(run(again), run(program()));
    let floats = reader
        .folder()
        .tensors()
        .filter(|(_, info)| [Dtype::F32, Dtype::F16, Dtype::BF16].contains(&info.dtype));
    assert_eq!(floats.count(), 0);
}

#[test]
fn a_program_that_was_changed_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let expected = write(folder.path());
    let file = folder.path().join(PROGRAM_FILE);
    let text = fs_err::read_to_string(&file).unwrap();
    fs_err::write(
        &file,
        text.replace("\"max_tokens\": 5", "\"max_tokens\": 4"),
    )
    .unwrap();
    let error = verify(folder.path(), &expected).unwrap_err().to_string();
    assert!(
        error.ends_with("`integer_program.json` is not what was written"),
        "{error}"
    );
    fs_err::write(&file, text.replace("\"version\": 1", "\"version\": 2")).unwrap();
    let reader = ArtifactReader::open(folder.path()).unwrap();
    let error = reader.integer_program().unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(
        source,
        "integer_program.json: `version`: expected 1, found 2"
    );
    fs_err::remove_file(&file).unwrap();
    assert!(matches!(
        reader.integer_program(),
        Err(FormatError::Io { .. })
    ));
}

#[test]
fn the_program_is_never_looked_for_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    let file = folder.path().join("config.json");
    let text = fs_err::read_to_string(&file).unwrap();
    fs_err::write(&file, text.replace(PROGRAM_FILE, "../integer_program.json")).unwrap();
    let reader = ArtifactReader::open(folder.path()).unwrap();
    assert!(matches!(
        reader.integer_program(),
        Err(FormatError::Config { .. })
    ));
}

#[test]
fn only_this_projects_format_holds_programs_and_other_artifacts_have_none() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    let mut plain = writer(folder.path(), find("dense").unwrap());
    assert!(matches!(
        plain.integer_program(&program(), &replaced()),
        Err(FormatError::NoPrograms { format: "dense" })
    ));
    plain.finish(&Map::new(), &[]).unwrap();
    assert!(!folder.path().join(PROGRAM_FILE).exists(), "replaced");
    let reader = ArtifactReader::open(folder.path()).unwrap();
    assert!(!reader.is_integer_only() && reader.replaced_tensors().is_empty());
    assert!(reader.integer_program().unwrap().is_none());
}

#[test]
fn floats_are_no_integer_tensors() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = writer(folder.path(), quench());
    for (name, dtype, bytes) in [("a", Dtype::I16, 2), ("b", Dtype::F32, 4)] {
        let values = vec![1; 3 * bytes];
        writer.passthrough(name, dtype, &[3], &values).unwrap();
    }
    writer.finish(&Map::new(), &[]).unwrap();
    let reader = ArtifactReader::open(folder.path()).unwrap();
    let values = reader.integer_tensor("a").unwrap();
    assert_eq!(values.data, IntegerData::I16(vec![257; 3]));
    assert!(matches!(
        reader.integer_tensor("b"),
        Err(FormatError::TensorType { .. })
    ));
}
