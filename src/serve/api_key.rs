//! Who may ask.

use axum::http::{HeaderMap, header};
use calib::base64::from_base64;

/// The key that requests carry.
pub(super) struct ApiKey(blake3::Hash);

impl ApiKey {
    pub(super) fn new(key: &str) -> Self {
        Self(blake3::hash(key.as_bytes()))
    }

    /// Whether `headers` carry the key: as a bearer token, or as the password that a browser asks for.
    pub(super) fn is_in(&self, headers: &HeaderMap) -> bool {
        let given = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split_once(' '));
        match given {
            Some((scheme, key)) if scheme.eq_ignore_ascii_case("bearer") => {
                self.is(key.trim().as_bytes())
            }
            Some((scheme, pair)) if scheme.eq_ignore_ascii_case("basic") => {
                let pair = from_base64(pair.trim()).unwrap_or_default();
                let colon = pair.iter().position(|byte| *byte == b':');
                colon.is_some_and(|colon| self.is(&pair[colon + 1..]))
            }
            _ => false,
        }
    }

    /// Digests are compared, in a time that says nothing of where they differ.
    fn is(&self, key: &[u8]) -> bool {
        self.0 == blake3::hash(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_taken_as_a_token_or_a_password() {
        let key = ApiKey::new("secret");
        let given = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
            key.is_in(&headers)
        };
        assert!(given("Bearer secret") && given("bearer secret"));
        // me:secret
        assert!(given("Basic bWU6c2VjcmV0"));
        for wrong in [
            "Bearer secre",
            "Bearer",
            "secret",
            "Basic c2VjcmV0",
            "Basic ?",
            "",
        ] {
            assert!(!given(wrong), "{wrong}");
        }
        assert!(!key.is_in(&HeaderMap::new()));
    }
}
