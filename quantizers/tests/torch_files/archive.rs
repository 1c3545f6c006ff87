//! The two layouts of `torch.save` around a pickle.

use crate::pickle::Pickle;

/// An entry of a zip archive; what is not the content can be made wrong.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) content: Vec<u8>,
    pub(crate) flags: u16,
    pub(crate) method: u16,
    /// Added to the offset in the directory.
    pub(crate) shift: i64,
    /// Added to the sizes in the directory.
    pub(crate) longer: i64,
    /// Sizes and offset in a 64-bit field.
    pub(crate) wide: bool,
}

impl Entry {
    pub(crate) fn new(name: &str, content: &[u8]) -> Self {
        Self {
            name: format!("archive/{name}"),
            content: content.to_vec(),
            flags: 0,
            method: 0,
            shift: 0,
            longer: 0,
            wide: false,
        }
    }
}

/// What an archive says of its directory.
pub(crate) struct End {
    pub(crate) count: u16,
    pub(crate) size: u32,
    pub(crate) offset: u32,
}

/// The archive of `entries`; `change` may make its end record wrong.
pub(crate) fn zip_with(entries: &[Entry], change: impl Fn(&mut End)) -> Vec<u8> {
    let mut file = Vec::new();
    let mut directory = Vec::new();
    for entry in entries {
        let offset = i64::try_from(file.len()).unwrap() + entry.shift;
        let size = i64::try_from(entry.content.len()).unwrap();
        let name = entry.name.as_bytes();
        let words = |words: &[u16]| -> Vec<u8> {
            words.iter().flat_map(|word| word.to_le_bytes()).collect()
        };
        let length = u16::try_from(name.len()).unwrap();
        // version, flags, method, time, date
        let head = [0, entry.flags, entry.method, 0, 0];
        file.extend_from_slice(b"PK\x03\x04");
        file.extend(words(&head));
        file.extend([0; 4]);
        let plain = u32::try_from(size).unwrap().to_le_bytes();
        file.extend([plain, plain].concat());
        file.extend(words(&[length, 0]));
        file.extend_from_slice(name);
        file.extend_from_slice(&entry.content);

        let said = size + entry.longer;
        let wide: Vec<u8> = if entry.wide {
            let values = [said, said, offset].map(i64::to_le_bytes).concat();
            [words(&[1, 24]), values].concat()
        } else {
            Vec::new()
        };
        let narrow = |value: i64| {
            let value = if entry.wide {
                i64::from(u32::MAX)
            } else {
                value
            };
            u32::try_from(value).unwrap_or(0).to_le_bytes()
        };
        directory.extend_from_slice(b"PK\x01\x02");
        directory.extend(words(&[0]));
        directory.extend(words(&head));
        directory.extend([0; 4]);
        directory.extend([narrow(said), narrow(said)].concat());
        let extra = u16::try_from(wide.len()).unwrap();
        directory.extend(words(&[length, extra, 0, 0, 0, 0, 0]));
        directory.extend(narrow(offset));
        directory.extend_from_slice(name);
        directory.extend(wide);
    }
    let mut end = End {
        count: u16::try_from(entries.len()).unwrap(),
        size: u32::try_from(directory.len()).unwrap(),
        offset: u32::try_from(file.len()).unwrap(),
    };
    change(&mut end);
    file.extend(directory);
    file.extend_from_slice(b"PK\x05\x06\0\0\0\0");
    file.extend([end.count.to_le_bytes(), end.count.to_le_bytes()].concat());
    file.extend([end.size.to_le_bytes(), end.offset.to_le_bytes()].concat());
    file.extend([0; 2]);
    file
}

/// `pickle` and its storages in the layout of today.
pub(crate) fn zip(pickle: &[u8], storages: &[(&str, &[u8])]) -> Vec<u8> {
    zip_with(&entries(pickle, storages), |_| ())
}

pub(crate) fn entries(pickle: &[u8], storages: &[(&str, &[u8])]) -> Vec<Entry> {
    let mut entries = vec![
        Entry::new("data.pkl", pickle),
        Entry::new("byteorder", b"little"),
    ];
    let storage = |(key, content): &(&str, &[u8])| Entry::new(&format!("data/{key}"), content);
    entries.extend(storages.iter().map(storage));
    entries
}

/// `pickle` and its storages (key, elements, bytes) in the layout of PyTorch before 1.6.
pub(crate) fn legacy(pickle: &[u8], storages: &[(&str, u64, &[u8])]) -> Vec<u8> {
    let magic = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
    let mut file = Pickle::new().raw(&[0x8a, 10]).raw(&magic).stop();
    file.extend(Pickle::new().raw(b"M").raw(&1001_u16.to_le_bytes()).stop());
    let facts = Pickle::new().raw(b"}(").text("little_endian");
    file.extend(facts.raw(&[0x88]).raw(b"u").stop());
    file.extend_from_slice(pickle);
    let mut keys = Pickle::new().raw(b"](");
    for (key, _, _) in storages {
        keys = keys.text(key);
    }
    file.extend(keys.raw(b"e").stop());
    for (_, elements, content) in storages {
        file.extend(elements.to_le_bytes());
        file.extend_from_slice(content);
    }
    file
}
