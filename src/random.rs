//! Randomness from the operating system. The only file that names `getrandom`.

use crate::names::RequestId;

/// Fresh random bytes.
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system gives randomness once it has started");
    bytes
}

/// A fresh request id.
pub fn request_id() -> RequestId {
    RequestId::from_random(bytes())
}
