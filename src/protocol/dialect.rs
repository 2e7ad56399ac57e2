//! The two protocols.

/// Which protocol is spoken on a line. Settled once, when the line is new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// The installed Node clients and servers.
    V1,
    /// Towline on both sides.
    V2,
}

impl Dialect {
    /// The number in `hello`, `register_meta` and the API.
    pub fn number(self) -> u32 {
        match self {
            Dialect::V1 => 1,
            Dialect::V2 => 2,
        }
    }

    /// The dialect that a peer's `protocol` field asks for; one without the field speaks v1.
    pub fn from_number(number: Option<u32>) -> Dialect {
        if number.is_some_and(|number| number >= 2) { Dialect::V2 } else { Dialect::V1 }
    }
}
