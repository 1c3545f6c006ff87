//! No function of the executor was compiled to a float instruction.
//!
//! The functions of this very test are disassembled. Reading a program from JSON is not execution:
//! code that serde derives is left out, as is everything under `integer::compile`.

use quantizers::integer::kernels::KERNELS;
use quantizers::integer::ops::OPERATIONS;
use quantizers::integer::{Executor, Program, ProgramError};
use std::collections::BTreeMap;
use std::process::Command;

/// What float instructions of scalars and vectors do, before the type.
const FLOAT_OPERATIONS: &[&str] = &[
    "add", "sub", "mul", "div", "sqrt", "min", "max", "rcp", "rcp14", "rsqrt", "rsqrt14", "ucomi",
    "comi", "hadd", "hsub", "addsub", "dp", "round", "rndscale", "getexp", "getmant", "scalef",
    "reduce", "range", "fixupimm", "fpclass",
];

/// Arithmetic, comparisons and conversions of floats; moves, shuffles and bitwise logic that are
/// only named after them do no arithmetic and are used for integers too.
fn is_float(mnemonic: &str) -> bool {
    let plain = mnemonic.strip_prefix('v').unwrap_or(mnemonic);
    if plain.starts_with("cvt") {
        return true;
    }
    // x87: all begin with f; fence and flag instructions do not.
    if mnemonic.starts_with('f') && !mnemonic.starts_with("fence") {
        return mnemonic != "fxsave" && mnemonic != "fxrstor";
    }
    let Some(operation) = ["ss", "sd", "ps", "pd"]
        .iter()
        .find_map(|suffix| plain.strip_suffix(suffix))
    else {
        return false;
    };
    let compares = operation.starts_with("cmp");
    let fuses = ["fmadd", "fmsub", "fnmadd", "fnmsub", "fmaddsub", "fmsubadd"]
        .iter()
        .any(|fused| operation.starts_with(fused));
    compares || fuses || FLOAT_OPERATIONS.contains(&operation)
}

/// Float instructions by function, and the names of all functions looked at: those whose name has
/// `inside` in it and nothing of `outside`.
fn disassembled(inside: &str, outside: &[&str]) -> (BTreeMap<String, Vec<String>>, Vec<String>) {
    let executable = std::env::current_exe().unwrap();
    let output = Command::new("objdump")
        .args(["--disassemble", "--demangle", "--no-show-raw-insn"])
        .arg(executable)
        .output()
        .expect("objdump, which comes with the linker");
    assert!(output.status.success());
    let text = String::from_utf8_lossy(&output.stdout);
    let (mut found, mut seen) = (BTreeMap::<String, Vec<String>>::new(), Vec::new());
    let mut function: Option<String> = None;
    for line in text.lines() {
        if let Some(name) = line.strip_suffix(">:") {
            let name = name.split_once('<').map_or("", |(_, name)| name);
            let ours = name.contains(inside) && !outside.iter().any(|part| name.contains(part));
            function = ours.then(|| name.to_owned());
            seen.extend(function.clone());
            continue;
        }
        let Some(name) = &function else {
            continue;
        };
        let instruction = line.split_once(':').map_or("", |(_, rest)| rest).trim();
        // A prefix is printed as a word of its own.
        let mnemonic = instruction.split_whitespace().find(|word| {
            ![
                "rep", "repz", "repnz", "lock", "data16", "cs", "{vex}", "{evex}",
            ]
            .contains(word)
        });
        if mnemonic.is_some_and(is_float) {
            found
                .entry(name.clone())
                .or_default()
                .push(instruction.to_owned());
        }
    }
    (found, seen)
}

#[test]
fn no_function_of_the_executor_has_a_float_instruction() {
    // The registries keep every kernel and operation; a program and an executor, the rest.
    assert!(KERNELS.len() > 10 && OPERATIONS.len() > 8);
    let read = Program::read(
        &serde_json::json!({ "version": 0 }),
        &|_| unreachable!(),
        &|_| unreachable!(),
    );
    assert!(matches!(read, Err(ProgramError::Place { .. })));
    std::hint::black_box(Executor::new as fn(Program) -> Executor);
    std::hint::black_box(Executor::run_tokens as fn(_, _, _) -> _);

    let compile = "quantizers::integer::compile";
    let (found, seen) = disassembled("quantizers::integer::", &[compile, "serde", "::_::"]);
    for part in [
        "integer::matmul::avx512",
        "integer::matmul::avx2",
        "integer::attention",
        "integer::kernels::exact",
        "integer::kernels::i_bert",
        "integer::kernels::i_vit",
        "integer::kernels::fq_vit",
        "integer::ops::",
    ] {
        let functions = seen.iter().filter(|name| name.contains(part)).count();
        assert!(functions > 0, "no function of {part} in the executable");
    }
    assert!(seen.len() > 150, "{} functions", seen.len());
    let report: Vec<String> = found
        .iter()
        .map(|(name, instructions)| format!("{name}: {instructions:?}"))
        .collect();
    assert!(found.is_empty(), "{}", report.join("\n"));

    // The same search finds them where they are: in the step that compiles programs.
    std::hint::black_box(quantizers::integer::compile::compile as fn(_, _, _) -> _);
    let (found, _) = disassembled(compile, &[]);
    assert!(found.len() > 10, "{} functions with floats", found.len());
}

#[test]
fn float_instructions_are_told_from_integer_ones() {
    for mnemonic in [
        "addss",
        "vmulps",
        "vfmadd231sd",
        "cvtsi2sd",
        "vcvtdq2ps",
        "ucomiss",
        "sqrtsd",
        "fld",
        "vdivpd",
        "cmpltps",
        "vrndscaleps",
    ] {
        assert!(is_float(mnemonic), "{mnemonic}");
    }
    for mnemonic in [
        "vpdpbusd",
        "pmaxsd",
        "vpmaxsd",
        "vpminsd",
        "movaps",
        "vmovups",
        "xorps",
        "vpmuldq",
        "vshufps",
        "vinsertf128",
        "vbroadcastss",
        "imul",
        "vpermi2b",
        "vextractf64x4",
        "unpcklps",
    ] {
        assert!(!is_float(mnemonic), "{mnemonic}");
    }
}
