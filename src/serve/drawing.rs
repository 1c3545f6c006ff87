//! How the tokens of a text are drawn, and how far it goes, from the fields both kinds of text requests share.

use super::failure::Failure;
use super::fields::{Fields, wrong};
use calib::generation::Sampling;
use serde_json::{Value, json};
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

/// Most stop strings of a request.
const MOST_STOPS: usize = 16;

/// What a request says of drawing; `default` is what the model wants where it says nothing.
pub(super) fn sampling(fields: &mut Fields, default: &Sampling) -> Result<Sampling, Failure> {
    let at_least_zero = |value: f64| value >= 0.0;
    let share = |value: f64| (0.0..=1.0).contains(&value);
    let penalty = |value: f64| (-2.0..=2.0).contains(&value);
    let temperature = fields.number("temperature", "a number of at least 0", at_least_zero)?;
    let top_p = fields.number("top_p", "a number from 0 to 1", share)?;
    let min_p = fields.number("min_p", "a number from 0 to 1", share)?;
    let top_k = top_k(fields)?;
    let repetition = fields.number("repetition_penalty", "a number above 0", |value| {
        value > 0.0
    })?;
    let frequency = fields.number("frequency_penalty", "a number from -2 to 2", penalty)?;
    let presence = fields.number("presence_penalty", "a number from -2 to 2", penalty)?;
    let mut sampling = default.clone();
    if (top_p.or(min_p).is_some() || top_k.is_some()) && sampling.temperature <= 0.0 {
        sampling.temperature = 1.0;
    }
    sampling.temperature = temperature.unwrap_or(sampling.temperature);
    sampling.top_p = top_p.unwrap_or(sampling.top_p);
    sampling.min_p = min_p.unwrap_or(sampling.min_p);
    sampling.top_k = top_k.unwrap_or(sampling.top_k);
    sampling.repetition_penalty = repetition.unwrap_or(sampling.repetition_penalty);
    sampling.frequency_penalty = frequency.unwrap_or(sampling.frequency_penalty);
    sampling.presence_penalty = presence.unwrap_or(sampling.presence_penalty);
    sampling.seed = match fields.take("seed") {
        Some(value) => seed(&value).ok_or_else(|| wrong("seed", "a whole number", &value))?,
        None => any_seed(),
    };
    Ok(sampling)
}

/// Clients of other servers write -1 for all tokens.
fn top_k(fields: &mut Fields) -> Result<Option<usize>, Failure> {
    let Some(value) = fields.take("top_k") else {
        return Ok(None);
    };
    if value == json!(-1) {
        return Ok(Some(0));
    }
    let count = value.as_u64().and_then(|k| usize::try_from(k).ok());
    count.map(Some).ok_or_else(|| {
        wrong(
            "top_k",
            "a whole number of at least 0, or -1 for all",
            &value,
        )
    })
}

fn seed(value: &Value) -> Option<u64> {
    value.as_u64().or(value.as_i64().map(i64::cast_unsigned))
}

/// Another one for every request that names none.
fn any_seed() -> u64 {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    RandomState::new().hash_one(COUNT.fetch_add(1, Ordering::Relaxed))
}

/// The texts at which it ends: a string or a list of some.
pub(super) fn stops(fields: &mut Fields) -> Result<Vec<String>, Failure> {
    let expected = format!("a string or a list of at most {MOST_STOPS} strings that are not empty");
    let Some(value) = fields.take("stop") else {
        return Ok(Vec::new());
    };
    let list = match &value {
        Value::Array(list) => list.as_slice(),
        other => std::slice::from_ref(other),
    };
    let stops: Option<Vec<String>> = list
        .iter()
        .map(|stop| {
            stop.as_str()
                .filter(|stop| !stop.is_empty())
                .map(str::to_owned)
        })
        .collect();
    stops
        .filter(|stops| stops.len() <= MOST_STOPS)
        .ok_or_else(|| wrong("stop", &expected, &value))
}

/// Whether the answer comes in pieces, and whether the last of them counts tokens.
pub(super) fn streaming(fields: &mut Fields) -> Result<(bool, bool), Failure> {
    let is_stream = fields.flag("stream")?;
    let Some(options) = fields.take("stream_options") else {
        return Ok((is_stream, false));
    };
    if !is_stream {
        return Err(Failure::field(
            "stream_options",
            "`stream_options` means something with `stream` only",
        ));
    }
    let mut options = Fields::of(options, "`stream_options`")?;
    let counts = options.flag("include_usage")?;
    options.end()?;
    Ok((is_stream, counts))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(value: Value) -> Result<Sampling, Failure> {
        let mut fields = Fields::of(value, "the body")?;
        sampling(&mut fields, &Sampling::default())
    }

    #[test]
    fn a_request_that_narrows_the_draw_draws() {
        let found = drawn(json!({"top_p": 0.5, "seed": -1})).unwrap();
        assert_eq!((found.temperature, found.top_p), (1.0, 0.5));
        assert_eq!(found.seed, u64::MAX);
        let found = drawn(json!({"top_p": 0.5, "temperature": 0})).unwrap();
        assert!(found.temperature <= 0.0);
        assert_eq!(drawn(json!({"top_k": -1})).unwrap().top_k, 0);
        assert!(drawn(json!({"temperature": -0.5})).is_err());
        assert!(drawn(json!({"seed": 0.5})).is_err());
    }

    #[test]
    fn a_stop_is_a_text_or_some() {
        let found = |value| stops(&mut Fields::of(json!({"stop": value}), "").unwrap());
        assert_eq!(found(json!("a")).unwrap(), ["a"]);
        assert_eq!(found(json!(["a", "b"])).unwrap(), ["a", "b"]);
        assert!(found(json!(["a", ""])).is_err());
        assert!(found(json!(3)).is_err());
    }
}
