//! Damaged files: whatever the bytes, an error or tensors that lie in the file, and never a panic.

use crate::archive::{legacy, zip};
use crate::pickle::{PLAIN, six, state_dict};
use crate::{open, refusal};
use proptest::prelude::*;

fn both() -> [Vec<u8>; 2] {
    let pickle = state_dict(&PLAIN);
    [
        zip(&pickle, &[("0", &six())]),
        legacy(&pickle, &[("0", 6, &six())]),
    ]
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    for file in both() {
        for length in 0..file.len() {
            refusal(&file[..length]);
        }
    }
}

#[test]
fn every_changed_byte_gives_an_error_or_whole_tensors() {
    for file in both() {
        for at in 0..file.len() {
            for value in [0, 0xff, b'('] {
                let mut changed = file.clone();
                changed[at] = value;
                read_all(&changed);
            }
        }
    }
}

fn read_all(content: &[u8]) {
    let Ok(folder) = open(content) else { return };
    for (name, info) in folder.tensors() {
        assert_eq!(folder.bytes(name).unwrap().len(), info.bytes);
    }
}

proptest! {
    #[test]
    fn any_bytes_are_an_error_or_a_folder_never_a_panic(
        in_zip in any::<bool>(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
    ) {
        let mut file = both()[usize::from(in_zip)].clone();
        for (at, value) in changes {
            let at = at.index(file.len());
            file[at] = value;
        }
        read_all(&file);
    }

    #[test]
    fn any_pickle_is_an_error_or_a_folder_never_a_panic(
        noise in proptest::collection::vec(
            prop_oneof![prop::sample::select(b"()]}Kqhtaseu\x85\x86\x87RQbN.\x00\x01X".to_vec()), any::<u8>()],
            0..60,
        ),
    ) {
        let mut pickle = vec![0x80, 2];
        pickle.extend(noise);
        read_all(&zip(&pickle, &[]));
    }
}
