//! Who may dial in and who may ask: one secret for all, as in v1, or a file of keys.

use std::path::PathBuf;

use super::{Given, Secret, Setting, UsageError};

pub(super) const KEYS_FILE: Setting = Setting::plain(
    "KEYS_FILE",
    "FILE",
    "off",
    "a key for each client and operator, made by `towline-server keys add`; AUTH_SECRET is off then",
);

/// What the subcommands that work on `KEYS_FILE` take.
pub const KEYS_SETTINGS: &[Setting] = &[KEYS_FILE];

/// Who is let in.
#[derive(Debug, Clone)]
pub enum Access {
    /// Whoever has `AUTH_SECRET`.
    Secret(Secret),
    /// Whoever has a key in `KEYS_FILE`.
    Keys {
        /// The file.
        path: PathBuf,
        /// `AUTH_SECRET` is set too, and is off.
        beside_secret: bool,
    },
}

impl Given {
    /// `KEYS_FILE`, or else `AUTH_SECRET`.
    pub(super) fn access(&self) -> Result<Access, UsageError> {
        if let Some(path) = self.path("KEYS_FILE") {
            return Ok(Access::Keys { path, beside_secret: self.text("AUTH_SECRET").is_some() });
        }
        let secret = self.auth_secret()?;
        match secret.matches("change_me") {
            // v1's default lets everybody in. Agents take it, so that they can move while their server is still v1.
            true => Err(self.bad(
                "AUTH_SECRET",
                "a secret of your own: this one is an example that everybody knows; `openssl rand -hex 32` makes one",
            )),
            false => Ok(Access::Secret(secret)),
        }
    }

    /// `KEYS_FILE`, which must be set.
    ///
    /// # Errors
    /// When it is not.
    pub fn keys_file(&self) -> Result<PathBuf, UsageError> {
        self.path("KEYS_FILE").ok_or_else(|| UsageError::Missing {
            name: "KEYS_FILE",
            wanted: "expected the file of the keys, as --keys-file FILE, in the environment or in .env"
                .to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{error, given};
    use super::super::{SERVER, ServerSettings};
    use super::*;

    fn read(env: &[(&str, &str)]) -> Result<Access, UsageError> {
        ServerSettings::read(&given(&SERVER, &[], env)?).map(|settings| settings.access)
    }

    #[test]
    fn keys_take_the_place_of_the_secret() {
        let of = |env: &[(&str, &str)]| match read(env).unwrap() {
            Access::Keys { path, beside_secret } => (path.display().to_string(), beside_secret),
            Access::Secret(_) => panic!("the secret holds"),
        };
        assert_eq!(of(&[("KEYS_FILE", "/etc/keys.json")]), ("/etc/keys.json".to_owned(), false));
        assert_eq!(of(&[("KEYS_FILE", "k.json")]), ("/nonexistent/k.json".to_owned(), false));
        assert!(of(&[("KEYS_FILE", "k"), ("AUTH_SECRET", "s3cret")]).1);
        assert!(
            of(&[("KEYS_FILE", "k"), ("AUTH_SECRET", "change_me")]).1,
            "it is off, so it may be anything"
        );
        for off in ["", "off"] {
            assert!(matches!(read(&[("KEYS_FILE", off), ("AUTH_SECRET", "s")]), Ok(Access::Secret(_))));
            assert!(error(read(&[("KEYS_FILE", off)])).starts_with("AUTH_SECRET is not set: "));
        }
    }
}
