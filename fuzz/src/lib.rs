//! What must hold of every input, however hostile. Each module is one target: `run` takes any bytes and asserts.
//!
//! The same functions are run by `cargo fuzz` (see `targets/`) and, over the kept corpus, by `tests/fuzz_corpus.rs` of
//! the package above. So nothing is named here that is not among that package's own dependencies.

pub mod door;
pub mod frames;
pub mod inbound;
pub mod messages;
pub mod names;
pub mod outbound;
pub mod packed;
pub mod settings;
pub mod stored;

use serde_json::Value;

/// A target: its name, which is that of its folder in `corpus`, and what it runs.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: [Target; 9] = [
    ("door", door::run),
    ("frames", frames::run),
    ("inbound", inbound::run),
    ("messages", messages::run),
    ("names", names::run),
    ("outbound", outbound::run),
    ("packed", packed::run),
    ("settings", settings::run),
    ("stored", stored::run),
];

/// Asserts that a text for a log or an error stays in its line, and is no flood.
fn assert_one_line(text: &str) {
    assert!(!text.chars().any(char::is_control), "{text:?}");
    assert!(text.chars().count() <= 3000, "{} characters", text.chars().count());
}

/// Whether two JSON values are equal, but for the last digits of fractions: serde_json reads those to within one.
fn is_same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) if one.is_f64() && other.is_f64() => {
            let (one, other) = (one.as_f64().unwrap_or(0.0), other.as_f64().unwrap_or(0.0));
            (one - other).abs() <= one.abs() * 1e-14 || one == other
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| is_same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(key, value)| other.get(key).is_some_and(|other| is_same(value, other)))
        }
        _ => one == other,
    }
}

/// Asserts that what was read, written and read again is the same.
fn assert_same<T: PartialEq + std::fmt::Debug + serde::Serialize>(one: &T, other: &T) {
    if one != other {
        let values =
            [one, other].map(|value| serde_json::to_value(value).expect("what was read can be written"));
        assert!(has_fraction(&values[0]) && is_same(&values[0], &values[1]), "{one:?} became {other:?}");
    }
}

fn has_fraction(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.is_f64(),
        Value::Array(values) => values.iter().any(has_fraction),
        Value::Object(values) => values.values().any(has_fraction),
        Value::Null | Value::Bool(_) | Value::String(_) => false,
    }
}

/// Decisions, read from the input; zeros when it has run out.
struct Choices<'a>(&'a [u8]);

impl<'a> Choices<'a> {
    fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// One of `count` ways.
    fn way(&mut self, count: u8) -> u8 {
        self.byte() % count
    }

    fn take(&mut self, most: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(most.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// A number: mostly one near `near`, or any.
    fn number(&mut self, near: u64) -> u64 {
        match self.way(8) {
            0..=3 => near,
            4 => near.wrapping_add(1),
            5 => near.wrapping_sub(1),
            6 => u64::from(self.byte()) << (self.byte() % 57),
            _ => self.take(8).iter().fold(0, |number, byte| number << 8 | u64::from(*byte)),
        }
    }

    /// A short text.
    fn text(&mut self) -> String {
        let length = self.byte();
        String::from_utf8_lossy(self.take(length.into())).into_owned()
    }
}
