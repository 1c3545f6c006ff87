//! Codes: from the bits of a state to a value, by arithmetic that spreads neighbouring states apart.
//!
//! Adding one is a `static` here and its line in [`CODES`].

use super::strata;
use half::f16;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Bits of the sign, the last two of the exponent and the mantissa of both halves of a word.
const HALVES_MASK: u32 = 0x8fff_8fff;
/// With those bits flipped, halves have exponents of 2^-3 to 2^0.
const HALVES_FLIP: u32 = 0x3b60_3b60;

/// A way to compute a value from a state; compared by name.
#[derive(Debug)]
pub struct TrellisCode {
    /// Name in recipes and files.
    pub name: &'static str,
    /// One line of help with the formula.
    pub summary: &'static str,
    /// The tensor that exllamav3 knows the code by, and the number in it; none for its first code, and for codes it
    /// does not have.
    pub marker: Option<(&'static str, u32)>,
    value: fn(u32) -> f32,
}

/// Four bytes of a linear congruence, summed up.
static ONE_MAD: TrellisCode = TrellisCode {
    name: "1mad",
    summary: "x = 34038481 s + 76625530 mod 2^32; (sum of the bytes of x - 510) / 147.800537",
    marker: None,
    value: |state| {
        let bytes = (state.wrapping_mul(34_038_481).wrapping_add(76_625_530)).to_le_bytes();
        let sum: u16 = bytes.iter().map(|byte| u16::from(*byte)).sum();
        (f32::from(sum) - 510.0) / 147.800_54
    },
};

/// Two halves of a linear congruence, added up.
static THREE_INST: TrellisCode = TrellisCode {
    name: "3inst",
    summary: "x = 89226354 s + 64248484 mod 2^32; the halves of (x & 0x8fff8fff) ^ 0x3b603b60 as f16, added up",
    marker: None,
    value: |state| sum_of_halves(state.wrapping_mul(89_226_354).wrapping_add(64_248_484)),
};

/// The same with a multiplication alone.
static MCG: TrellisCode = TrellisCode {
    name: "mcg",
    summary: "x = 0xcbac1fed s mod 2^32; the halves of (x & 0x8fff8fff) ^ 0x3b603b60 as f16, added up",
    marker: Some(("mcg", MCG_FACTOR)),
    value: |state| sum_of_halves(state.wrapping_mul(MCG_FACTOR)),
};
const MCG_FACTOR: u32 = 0xcbac_1fed;

/// Values in strata, `strata.rs`.
static STRATA: TrellisCode = TrellisCode {
    name: "strata",
    summary: "normal quantiles in strata: bit j of the quantile is bit j of s, bit 15 - j of s and a hash of those between, added without carry",
    marker: None,
    value: strata::value,
};

/// Every code.
pub static CODES: &[&TrellisCode] = &[&ONE_MAD, &THREE_INST, &MCG, &STRATA];

/// Two numbers of type f16 added in f16, as GPUs do it.
fn sum_of_halves(word: u32) -> f32 {
    let word = (word & HALVES_MASK) ^ HALVES_FLIP;
    let [a, b, c, d] = word.to_le_bytes();
    let (low, high) = (f16::from_le_bytes([a, b]), f16::from_le_bytes([c, d]));
    // Exact in f32, so this rounds once.
    f16::from_f32(low.to_f32() + high.to_f32()).to_f32()
}

/// A reference to an entry of [`CODES`] that schemes can hold: written as its name.
#[derive(Debug, Clone, Copy)]
pub struct Code(pub &'static TrellisCode);

impl Code {
    /// The code called `name`.
    pub fn find(name: &str) -> Option<Self> {
        let code = CODES.iter().find(|code| code.name == name);
        code.map(|code| Self(code))
    }

    /// The value of `state`.
    pub fn value(self, state: u32) -> f32 {
        (self.0.value)(state)
    }

    /// The values of all states of `state_bits` bits.
    pub fn values(self, state_bits: u8) -> Vec<f32> {
        (0..1 << state_bits)
            .map(|state| self.value(state))
            .collect()
    }

    /// The root of the mean square over all states of `state_bits` bits.
    pub fn rms(self, state_bits: u8) -> f64 {
        let squares = self.values(state_bits).into_iter();
        let sum: f64 = squares.map(|value| f64::from(value).powi(2)).sum();
        (sum / f64::from(1 << state_bits)).sqrt()
    }
}

impl Default for Code {
    fn default() -> Self {
        Self(&MCG)
    }
}

impl PartialEq for Code {
    fn eq(&self, other: &Self) -> bool {
        self.0.name == other.0.name
    }
}

impl Eq for Code {}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.name)
    }
}

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::find(&name)
            .ok_or_else(|| serde::de::Error::custom(format!("unknown trellis code `{name}`")))
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "the arithmetic is specified bit for bit")]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_find_their_code() {
        for (index, code) in CODES.iter().enumerate() {
            assert_eq!(Code::find(code.name), Some(Code(code)));
            assert!(CODES[..index].iter().all(|other| other.name != code.name));
            assert!(!code.summary.is_empty());
        }
        assert_eq!(Code::find("2mad"), None);
    }

    #[test]
    fn values_worked_by_hand() {
        // State 0: x = 76625530 = 0x0491_367a; bytes 4 + 145 + 54 + 122 = 325.
        assert_eq!(Code(&ONE_MAD).value(0), (325.0 - 510.0) / 147.800_54);
        // State 0: x = 0, halves 0x3b60 = 0.921875 twice.
        assert_eq!(Code(&MCG).value(0), 1.843_75);
        // State 1: x = 0xcbac_1fed: halves 0xcbac & 0x8fff = 0x8bac, ^ 0x3b60 = 0xb0cc = -0.149902;
        // 0x1fed & 0x8fff = 0x0fed, ^ 0x3b60 = 0x348d = 0.284424.
        let halves = [0xb0cc_u16, 0x348d].map(|bits| f16::from_bits(bits).to_f32());
        assert_eq!(
            Code(&MCG).value(1),
            f16::from_f32(halves[0] + halves[1]).to_f32()
        );
    }

    #[test]
    fn codes_look_like_gaussians() {
        for code in CODES.iter().map(|code| Code(code)) {
            for state_bits in [12, 16] {
                let values = code.values(state_bits);
                let moment = |power| {
                    let sum: f64 = values.iter().map(|v| f64::from(*v).powi(power)).sum();
                    sum / values.len() as f64
                };
                let rms = code.rms(state_bits);
                let name = code.0.name;
                assert!((moment(1) / rms).abs() < 0.05, "{name}: mean {}", moment(1));
                let kurtosis = moment(4) / rms.powi(4);
                assert!(
                    (2.3..3.2).contains(&kurtosis),
                    "{name}: kurtosis {kurtosis}"
                );
            }
        }
    }
}
