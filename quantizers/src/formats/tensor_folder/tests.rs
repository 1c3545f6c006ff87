use super::*;
use crate::formats::{INDEX_FILE, SINGLE_FILE};
use proptest::prelude::*;
use safetensors::tensor::{TensorView, serialize};

fn file(tensors: &[(&str, Dtype, &[usize], &[u8])]) -> Vec<u8> {
    let views = tensors.iter().map(|(name, dtype, shape, bytes)| {
        (
            *name,
            TensorView::new(*dtype, shape.to_vec(), bytes).unwrap(),
        )
    });
    serialize(views, None).unwrap()
}

fn shard(name: &str) -> Vec<u8> {
    file(&[(name, Dtype::F32, &[1], &1.5f32.to_le_bytes())])
}

#[test]
fn a_single_file_gives_names_shapes_and_values() {
    let dir = tempfile::tempdir().unwrap();
    let data = file(&[
        ("b", Dtype::BF16, &[2], &[0x80, 0x3f, 0x00, 0xc0]),
        ("a", Dtype::F16, &[1], &[0x00, 0x3c]),
        ("c", Dtype::I64, &[1], &7i64.to_le_bytes()),
    ]);
    fs_err::write(dir.path().join(SINGLE_FILE), &data).unwrap();
    let folder = TensorFolder::open(dir.path()).unwrap();
    assert_eq!(folder.names().collect::<Vec<_>>(), ["a", "b", "c"]);
    assert_eq!(folder.names_from("b").collect::<Vec<_>>(), ["b"]);
    assert_eq!(folder.info("b").unwrap().shape, [2]);
    assert_eq!(folder.floats("b").unwrap().as_ref(), [1.0, -2.0]);
    assert_eq!(folder.floats("a").unwrap().as_ref(), [1.0]);
    assert_eq!(folder.bytes("c").unwrap().as_ref(), 7i64.to_le_bytes());
    assert_eq!(folder.file_bytes(), data.len() as u64);
    folder.release("b");
    assert_eq!(folder.floats("b").unwrap().as_ref(), [1.0, -2.0]);
    let wrong = folder.floats("c").unwrap_err();
    assert_eq!(
        wrong.to_string(),
        "tensor `c`: expected F64, F32, F16 or BF16, found I64"
    );
}

#[test]
fn released_pages_come_back_with_the_same_content() {
    let dir = tempfile::tempdir().unwrap();
    let values: Vec<u8> = (0..50_000u32).map(|i| (i % 251) as u8).collect();
    let data = file(&[("x", Dtype::U8, &[50_000], &values)]);
    fs_err::write(dir.path().join(SINGLE_FILE), data).unwrap();
    let folder = TensorFolder::open(dir.path().join(SINGLE_FILE)).unwrap();
    assert_eq!(folder.bytes("x").unwrap().as_ref(), values);
    folder.release("x");
    assert_eq!(folder.bytes("x").unwrap().as_ref(), values);
}

#[test]
fn shards_follow_their_index_and_disagreements_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, data: &[u8]| fs_err::write(dir.path().join(name), data).unwrap();
    let index = |pairs: &str| {
        write(
            INDEX_FILE,
            format!("{{\"weight_map\":{{{pairs}}}}}").as_bytes(),
        );
    };
    write("one.safetensors", &shard("x"));
    write("two.safetensors", &shard("y"));
    index(r#""x":"one.safetensors","y":"two.safetensors""#);
    let folder = TensorFolder::open(dir.path()).unwrap();
    assert_eq!(folder.names().collect::<Vec<_>>(), ["x", "y"]);
    assert_eq!(folder.floats("y").unwrap().as_ref(), [1.5]);

    let message = || TensorFolder::open(dir.path()).unwrap_err().to_string();
    index(r#""x":"one.safetensors","z":"two.safetensors""#);
    assert!(
        message().ends_with("`two.safetensors`, which does not have it"),
        "{}",
        message()
    );
    index(r#""x":"../one.safetensors""#);
    assert!(
        message().contains("expected the name of a file"),
        "{}",
        message()
    );
    write("two.safetensors", &shard("x"));
    index(r#""x":"one.safetensors","w":"two.safetensors""#);
    assert_eq!(
        message(),
        "tensor `x` is both in `two.safetensors` and in `one.safetensors`"
    );
    index(r#""x":"three.safetensors""#);
    assert!(message().contains("three.safetensors"), "{}", message());
    write(INDEX_FILE, b"[1");
    assert!(message().ends_with("cannot be understood"));
}

#[test]
fn missing_weights_and_tensors_come_with_a_hint() {
    let dir = tempfile::tempdir().unwrap();
    fs_err::write(dir.path().join("tf_model.h5"), b"").unwrap();
    let error = TensorFolder::open(dir.path()).unwrap_err();
    assert_eq!(
        error.hint().unwrap(),
        "found `tf_model.h5`: load it once in transformers and `save_pretrained` it, which writes safetensors"
    );
    fs_err::write(dir.path().join(SINGLE_FILE), shard("layers.0.weight")).unwrap();
    let folder = TensorFolder::open(dir.path()).unwrap();
    let error = folder.bytes("layer.0.weight").unwrap_err();
    assert_eq!(error.hint().unwrap(), "closest name is `layers.0.weight`");
}

proptest! {
    #[test]
    fn any_bytes_are_an_error_or_a_folder_never_a_panic(
        flips in proptest::collection::vec((0usize..400, any::<u8>()), 0..6),
        cut in 0usize..400,
    ) {
        let mut data = file(&[
            ("a", Dtype::F32, &[2, 3], &[1; 24]),
            ("b", Dtype::U8, &[5], &[2; 5]),
        ]);
        for (at, value) in flips {
            let at = at % data.len();
            data[at] = value;
        }
        if cut < 200 {
            data.truncate(cut);
        }
        let dir = tempfile::tempdir().unwrap();
        fs_err::write(dir.path().join(SINGLE_FILE), data).unwrap();
        if let Ok(folder) = TensorFolder::open(dir.path()) {
            for name in folder.names() {
                prop_assert_eq!(folder.bytes(name).unwrap().len(), folder.info(name).unwrap().bytes);
            }
        }
    }
}
