//! Files made to do harm: each is refused with an error that names it, and nothing is executed.

use crate::archive::{legacy, zip};
use crate::pickle::{PLAIN, Pickle, View, six, state_dict};
use crate::refusal;
use std::path::Path;

/// `pickle` in both layouts, with one storage of six f32, is refused for this reason.
pub(crate) fn refused(pickle: &[u8], reason: &str) {
    let needed = pickle.windows(7).any(|word| word == b"storage");
    let (six, count) = (six(), usize::from(needed));
    for (layout, file) in [
        ("zip", zip(pickle, &[("0", &six)])),
        ("legacy", legacy(pickle, &[("0", 6, &six[..])][..count])),
    ] {
        let text = refusal(&file);
        assert!(
            text.contains(reason),
            "{layout}: expected `{reason}` in: {text}"
        );
    }
}

/// A state dict whose only value is what `value` pushes.
pub(crate) fn holding(value: impl FnOnce(Pickle) -> Pickle) -> Vec<u8> {
    value(Pickle::new().raw(b"}").text("weight"))
        .raw(b"s")
        .stop()
}

#[test]
fn functions_of_other_modules_are_refused_by_name_and_not_called() {
    let dir = tempfile::tempdir().unwrap();
    let trace = dir.path().join("executed");
    let command = format!("touch {}", trace.display());
    for (module, name) in [
        ("os", "system"),
        ("posix", "system"),
        ("nt", "system"),
        ("subprocess", "Popen"),
        ("builtins", "eval"),
        ("builtins", "exec"),
        ("builtins", "getattr"),
        ("__builtin__", "eval"),
        ("importlib", "import_module"),
        ("runpy", "run_path"),
        ("torch.storage", "_load_from_bytes"),
        ("torch.hub", "load"),
        ("torch._utils", "_rebuild_tensor_v2.__globals__"),
        ("numpy.core.multiarray", "_reconstruct"),
        ("collections", "OrderedDict.fromkeys"),
    ] {
        let called = holding(|p| p.global(module, name).text(&command).raw(b"\x85R"));
        refused(&called, &format!("refers to `{module}.{name}`"));
        // The same with the names on the stack, as protocol 4 has it.
        let stacked = holding(|p| {
            p.text(module)
                .text(name)
                .raw(b"\x93")
                .text(&command)
                .raw(b"\x85R")
        });
        refused(&stacked, &format!("refers to `{module}.{name}`"));
    }
    assert!(!Path::new(&trace).exists());
}

#[test]
fn objects_are_not_made_by_any_other_instruction() {
    let system = |p: Pickle| p.global("collections", "OrderedDict");
    for (value, opcode) in [
        (b"(ios\nsystem\n".as_slice(), "0x69"), // INST
        (b"(o", "0x6f"),                        // OBJ
        (b")\x81", "0x81"),                     // NEWOBJ
        (b")}\x92", "0x92"),                    // NEWOBJ_EX
        (b"\x82\x01", "0x82"),                  // EXT1
        (b"P1\n", "0x50"),                      // PERSID
        (b"\x97", "0x97"),                      // NEXT_BUFFER
        (b"\x8b\x04\0\0\0\0\0\0\0", "0x8b"),    // LONG4
        (b"2", "0x32"),                         // DUP
        (b"I1\n", "0x49"),                      // INT of protocol 0
        (b"\xff", "0xff"),                      // none at all
    ] {
        let pickle = holding(|p| system(p).raw(value));
        refused(&pickle, &format!("instruction {opcode}"));
    }
}

#[test]
fn calls_of_what_is_no_function_are_refused() {
    let reason = "a function and a tuple of arguments";
    // A text, the result of a call, and a call nested into the arguments of another.
    refused(&holding(|p| p.text("eval").raw(b")R")), reason);
    refused(&holding(|p| p.ordered_dict().raw(b")R")), reason);
    refused(&holding(|p| p.ordered_dict().raw(b")R)R)R")), reason);
    refused(
        &holding(|p| p.global("collections", "OrderedDict").text("x").raw(b"R")),
        reason,
    );
    let nested = |p: Pickle| {
        p.global("torch._utils", "_rebuild_parameter")
            .raw(b"(")
            .global("collections", "OrderedDict")
            .raw(b")R\x88}tR")
    };
    refused(&holding(nested), "as the arguments of a parameter");
    refused(
        &holding(|p| p.global("torch", "FloatStorage").raw(b")R")),
        "found the name of a type",
    );
}

#[test]
fn hooks_metadata_and_state_of_tensors_are_refused() {
    let tensor = |hooks: &[u8], metadata: &[u8]| {
        holding(|p| {
            p.global("torch._utils", "_rebuild_tensor_v2")
                .raw(b"(")
                .storage("FloatStorage", "0", 6)
                .int(0)
                .ints(&[6])
                .ints(&[1])
                .raw(&[0x89])
                .raw(hooks)
                .raw(metadata)
                .raw(b"tR")
        })
    };
    refused(&tensor(b"}K\x01K\x02s", b""), "without hooks");
    refused(&tensor(b"}", b"}X\x03\0\0\0neg\x88s"), "metadata");
    refused(
        &holding(|p| p.tensor(&PLAIN).raw(b"}b")),
        "attributes of a dictionary",
    );
}

#[test]
fn huge_counts_are_refused_before_memory_is_taken() {
    let cut = "it ends early";
    refused(&holding(|p| p.raw(b"X\xff\xff\xff\xff")), cut);
    refused(
        &holding(|p| p.raw(b"\x8d\xff\xff\xff\xff\xff\xff\xff\xff")),
        cut,
    );
    refused(
        &holding(|p| p.raw(b"\x8d\xff\xff\xff\xff\xff\xff\xff\x7f")),
        cut,
    );
    refused(&holding(|p| p.raw(b"\x8a\xff")), cut);
    refused(
        &holding(|p| p.raw(b"j\xff\xff\xff\xff")),
        "a value that was remembered",
    );
    for elements in [1 << 40, i64::MAX] {
        let view = View { elements, ..PLAIN };
        let text = refusal(&zip(&state_dict(&view), &[("0", &six())]));
        assert!(text.contains("storage"), "{text}");
        let text = refusal(&legacy(&state_dict(&view), &[("0", 6, &six())]));
        assert!(text.contains("storage"), "{text}");
    }
    // A short pickle that would make dictionaries without end from one list.
    let mut bomb = Pickle::new()
        .global("collections", "OrderedDict")
        .raw(b"q\0]q\x02]q\x01");
    for _ in 0..60 {
        bomb = bomb
            .raw(b"(")
            .raw(&b"K\x01K\x02\x86".repeat(1000))
            .raw(b"e");
    }
    bomb = bomb.raw(b"h\x02").raw(&b"h\0h\x01\x85Ra".repeat(10_000));
    refused(&bomb.stop(), "more than");
}

#[test]
fn deep_nesting_is_refused() {
    for deep in [
        b"(".repeat(100_000),
        b"]".repeat(100_000),
        [b")".to_vec(), b"\x85".repeat(100_000)].concat(),
        [b"]".repeat(1000), b"a".repeat(999)].concat(),
        [b"}".to_vec(), b"K\x01}".repeat(1000), b"s".repeat(1000)].concat(),
    ] {
        refused(&holding(|p| p.raw(&deep)), "its pickle has more than");
    }
}

#[test]
fn values_that_hold_themselves_are_refused() {
    refused(&Pickle::new().raw(b"]q\0h\0a").stop(), "found a list");
    refused(
        &Pickle::new().raw(b"}q\0").text("model").raw(b"h\0s").stop(),
        "without tensors",
    );
    let with_tensor = Pickle::new()
        .raw(b"}q\0")
        .text("w")
        .tensor(&PLAIN)
        .raw(b"s");
    let itself = with_tensor.text("state_dict").raw(b"h\0s").stop();
    refused(&itself, "more than one set of tensors");
}

#[test]
fn long_integers_and_negative_sizes_are_refused() {
    let long = |p: Pickle| p.raw(&[0x8a, 9, 1, 0, 0, 0, 0, 0, 0, 0, 1]);
    let storage = holding(|p| {
        let id = p.raw(b"(").text("storage").global("torch", "FloatStorage");
        long(id.text("0").text("cpu")).raw(b"tQ")
    });
    refused(&storage, "as the id of a storage");
    let negative = "of 0 or more";
    for view in [
        View {
            elements: -6,
            ..PLAIN
        },
        View {
            offset: -1,
            ..PLAIN
        },
        View {
            shape: &[-2, -3],
            ..PLAIN
        },
        View {
            strides: &[-3, 1],
            ..PLAIN
        },
        View {
            offset: i64::MIN,
            ..PLAIN
        },
    ] {
        refused(&state_dict(&view), negative);
    }
}

#[test]
fn tensors_that_reach_beyond_their_storage_are_refused_by_name() {
    let reason = "tensor `weight`: shape";
    for view in [
        View { offset: 1, ..PLAIN },
        View {
            shape: &[3, 3],
            ..PLAIN
        },
        View {
            strides: &[4, 1],
            ..PLAIN
        },
        View {
            strides: &[1],
            ..PLAIN
        },
        View {
            shape: &[1_000_000],
            strides: &[0],
            ..PLAIN
        },
        View {
            shape: &[i64::MAX, i64::MAX],
            strides: &[0, 0],
            ..PLAIN
        },
        View {
            shape: &[2, 2],
            strides: &[i64::MAX, i64::MAX],
            ..PLAIN
        },
        View {
            offset: i64::MAX,
            ..PLAIN
        },
        View {
            shape: &[i64::MAX, i64::MAX, 0],
            strides: &[0, 0, 0],
            ..PLAIN
        },
    ] {
        refused(&state_dict(&view), reason);
    }
    let view = View {
        shape: &[1; 17],
        strides: &[1; 17],
        ..PLAIN
    };
    refused(&state_dict(&view), "dimensions");
}

#[test]
fn names_that_stand_for_two_tensors_are_refused() {
    let twice = Pickle::new()
        .raw(b"}(")
        .text("w")
        .tensor(&PLAIN)
        .text("w")
        .tensor(&PLAIN);
    refused(&twice.raw(b"u").stop(), "two entries `w`");
    let number = Pickle::new().raw(b"}K\x01").tensor(&PLAIN).raw(b"s").stop();
    refused(&number, "a name that is no text");
    let pair = |p: Pickle, name: &str| p.text(name).raw(b"}").text("w").tensor(&PLAIN).raw(b"ss");
    let both = pair(pair(Pickle::new().raw(b"}"), "model"), "state_dict").stop();
    refused(&both, "`model` and `state_dict`");
    refused(&Pickle::new().tensor(&PLAIN).stop(), "found a tensor");
    refused(
        &Pickle::new().raw(b"N").stop(),
        "expected a dictionary of tensors",
    );
}

#[test]
fn broken_stacks_are_refused() {
    for broken in [
        b"a.".as_slice(),
        b"}a.",
        b"u.",
        b"}(K\x01u.",
        b"R.",
        b"(R.",
        b"\x87.",
        b"q\0.",
        b"h\x07.",
        b".",
    ] {
        refused(&Pickle::new().raw(broken).0, "its pickle is wrong at byte");
    }
    refused(&[0x80, 9, b'N', b'.'], "protocol 2 to 5");
    refused(&Pickle::new().raw(b"U\x02\xff\xfe.").0, "UTF-8");
    refused(
        &Pickle::new().raw(b"c").raw(&b"x".repeat(1000)).0,
        "at most 512 bytes",
    );
}
