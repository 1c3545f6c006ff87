//! How files and words get damaged: by people, tools and disks, reproducibly.

/// Numbers from a seed (splitmix64).
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end.max(1) as u64).unwrap()
    }

    pub(crate) fn one_of<'a, T: ?Sized>(&mut self, all: &[&'a T]) -> &'a T {
        all[self.below(all.len())]
    }
}

/// What people, tools and broken disks put where something else belongs.
const WORDS: [&str; 30] = [
    "0",
    "-1",
    "1",
    "2",
    "3",
    "1e308",
    "-0.0",
    "1e-320",
    "NaN",
    "Infinity",
    "-Infinity",
    "null",
    "true",
    "false",
    "[]",
    "{}",
    "\"\"",
    "\"x\"",
    "99999999999999999999",
    "4294967296",
    "-9223372036854775808",
    "65536",
    "\u{0}",
    "\u{feff}",
    "\t",
    "\n",
    ",",
    "\"",
    "#",
    "../../..",
];

/// `content` changed in one to three places.
pub(crate) fn mutated(content: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = content.to_vec();
    for _ in 0..=dice.below(3) {
        let at = dice.below(bytes.len() + 1);
        let end = (at + 1 + dice.below(24)).min(bytes.len());
        match dice.below(8) {
            0 if at < bytes.len() => bytes[at] ^= 1 << dice.below(8),
            1 => drop(bytes.drain(at..end)),
            2 => {
                let piece = bytes[at..end].to_vec();
                let to = dice.below(bytes.len() + 1);
                bytes.splice(to..to, piece);
            }
            3 => bytes.truncate(at),
            // A number, a word or a text gives way to another.
            4..=6 => {
                let (from, to) = token(&bytes, at);
                let word = dice.one_of(&WORDS);
                bytes.splice(from..to, word.bytes());
            }
            _ => {
                let noise: Vec<u8> = (0..=dice.below(4))
                    .map(|_| u8::try_from(dice.below(256)).unwrap())
                    .collect();
                bytes.splice(at..at, noise);
            }
        }
    }
    bytes
}

/// The run of like characters around a position.
fn token(bytes: &[u8], at: usize) -> (usize, usize) {
    let inside = |byte: u8| byte.is_ascii_alphanumeric() || b"._-+\"".contains(&byte);
    let from = (0..at).rev().take_while(|&i| inside(bytes[i])).last();
    let to = (at..bytes.len()).find(|&i| !inside(bytes[i]));
    (from.unwrap_or(at), to.unwrap_or(bytes.len()))
}
