//! Keys: who may dial in as which client, and which operator may do what with which client and file.
//!
//! [`ring`] is what `KEYS_FILE` holds, [`rights`] what an operator may, [`failures`] how long a wrong key waits for its
//! answer: all pure. [`mod@file`] reads and writes `KEYS_FILE`, and is the only one that touches the disk.
//!
//! - A key is `twl_<id>_<secret>`. The id is public: it finds the key, and stands in lists and logs. The secret has
//!   256 random bits. The file holds the SHA-256 of the whole text and nothing that leads back to it.
//! - SHA-256, and no slow function for passwords: such a function makes up for secrets that can be guessed. 256 random
//!   bits can't be, at any speed, and a slow one would let strangers buy our time with wrong keys.
//! - The text of a key is in the hands of [`key::NewKey`] alone, once, when it is made.
//! - A key of a client is no key of an operator, nor of another client.

pub mod failures;
pub mod file;
pub mod key;
pub mod rights;
pub mod ring;
#[cfg(test)]
mod tests;

pub use key::{KeyId, KeyName, NewKey, without_keys};
pub use rights::{Lack, Operator, Pattern, Scope};
pub use ring::{Key, Owner, Ring};
