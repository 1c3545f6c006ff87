//! Archives that say other things of their content than are true, and files of other kinds.

use crate::archive::{Entry, entries, legacy, zip, zip_with};
use crate::hostile::{holding, refused};
use crate::pickle::{PLAIN, Pickle, View, six, state_dict};
use crate::refusal;

#[test]
fn storages_of_another_kind_or_size_are_refused() {
    refused(
        &state_dict(&View {
            kind: "QInt8Storage",
            ..PLAIN
        }),
        "torch.QInt8Storage",
    );
    refused(
        &state_dict(&View {
            elements: 7,
            ..PLAIN
        }),
        "storage `0`: expected 28 bytes",
    );
    // Six doubles need more than there is; where they are said to be in the file, it ends early.
    let doubles = state_dict(&View {
        kind: "DoubleStorage",
        ..PLAIN
    });
    let text = refusal(&zip(&doubles, &[("0", &six())]));
    assert!(text.contains("storage `0`: expected 48 bytes"), "{text}");
    let text = refusal(&legacy(&doubles, &[("0", 6, &six())]));
    assert!(text.contains("it ends early"), "{text}");
    let elsewhere = zip(&state_dict(&PLAIN), &[("1", &six())]);
    assert!(refusal(&elsewhere).contains("it has no storage `0`"));
    let path = holding(|p| {
        p.global("torch._utils", "_rebuild_tensor_v2")
            .raw(b"(")
            .storage("FloatStorage", "../data.pkl", 6)
            .int(0)
            .ints(&[6])
            .ints(&[1])
            .raw(b"\x89}tR")
    });
    assert!(refusal(&zip(&path, &[])).contains("it has no storage `../data.pkl`"));
    let unlisted = legacy(&state_dict(&PLAIN), &[]);
    assert!(refusal(&unlisted).contains("it has no storage `0`"));
    let unknown = legacy(&state_dict(&PLAIN), &[("0", 6, &six()), ("1", 6, &six())]);
    assert!(refusal(&unknown).contains("`1`, which no tensor needs"));
    let twice = legacy(&state_dict(&PLAIN), &[("0", 6, &six()), ("0", 6, &six())]);
    assert!(refusal(&twice).contains("`0`, which it has before"));
    let said = legacy(&state_dict(&PLAIN), &[("0", u64::MAX, &six())]);
    assert!(refusal(&said).contains("expected 24 bytes"));
}

#[test]
fn zip_directories_that_lie_are_refused() {
    let pickle = state_dict(&PLAIN);
    let six = six();
    let plain = || entries(&pickle, &[("0", &six)]);
    let changed = |change: &dyn Fn(&mut Entry)| {
        let mut all = plain();
        change(&mut all[2]);
        refusal(&zip_with(&all, |_| ()))
    };
    assert!(
        changed(&|e| e.method = 8).contains("`archive/data/0` of its zip archive is compressed")
    );
    assert!(changed(&|e| e.flags = 1).contains("is encrypted"));
    for shift in [-1, 1, 1 << 20] {
        assert!(changed(&|e| e.shift = shift).contains("is not where the directory says"));
    }
    assert!(changed(&|e| (e.wide, e.shift) = (true, i64::MAX - 1000)).contains("is not where"));
    assert!(changed(&|e| (e.wide, e.longer) = (true, i64::MAX - 1000)).contains("is not where"));
    // Beyond the directory, and into the next entry.
    assert!(changed(&|e| e.longer = 100).contains("is not where"));
    let mut all = plain();
    all[1].longer = 60;
    assert!(refusal(&zip_with(&all, |_| ())).contains("overlaps another"));
    let mut all = plain();
    all.push(all[2].clone());
    assert!(refusal(&zip_with(&all, |_| ())).contains("two entries `archive/data/0`"));
    let mut all = plain();
    all.push(Entry {
        name: "other/data.pkl".to_owned(),
        ..all[0].clone()
    });
    assert!(refusal(&zip_with(&all, |_| ())).contains("one entry `data.pkl`"));
    let mut all = plain();
    all[1].content = b"big".to_vec();
    assert!(refusal(&zip_with(&all, |_| ())).contains("big-endian"));
    let damaged = "its zip directory is damaged";
    assert!(refusal(&zip_with(&plain(), |end| end.count = 2)).contains(damaged));
    assert!(refusal(&zip_with(&plain(), |end| end.count = u16::MAX)).contains(damaged));
    assert!(refusal(&zip_with(&plain(), |end| end.offset += 1)).contains(damaged));
    assert!(refusal(&zip_with(&plain(), |end| end.offset = u32::MAX)).contains(damaged));
    assert!(refusal(&zip_with(&plain(), |end| end.size = u32::MAX)).contains(damaged));
}

#[test]
fn files_of_another_kind_are_named() {
    let mut tar = vec![0; 512];
    tar[257..262].copy_from_slice(b"ustar");
    assert!(refusal(&tar).contains("before version 0.1.10"));
    let mut safetensors = 2_u64.to_le_bytes().to_vec();
    safetensors.extend(b"{}");
    assert!(refusal(&safetensors).contains("it is a safetensors file"));
    for other in [
        b"".as_slice(),
        b"\x1f\x8b gzip",
        b"(dp0\n.",
        b"GGUF",
        b"\x80",
    ] {
        refusal(other);
    }
    // A pickle that `torch.save` did not write.
    assert!(refusal(&Pickle::new().raw(b"N").stop()).contains("found neither"));
}
