//! Certificates and keys, from PEM files that somebody wrote: bounded, and refused with the name of the setting.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::limits;

/// The certificates of a PEM file, at least one.
pub(super) fn certificates(setting: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let pem = read(setting, path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let found = found.map_err(|error| wrong(setting, path, &format!("a broken PEM file: {error}")))?;
    match found.is_empty() {
        true => Err(wrong(setting, path, "no certificate in it; expected PEM: -----BEGIN CERTIFICATE-----")),
        false => Ok(found),
    }
}

/// The private key of a PEM file.
pub(super) fn private_key(setting: &str, path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let pem = read(setting, path)?;
    // What stands in the file is not repeated: it may be the key.
    PrivateKeyDer::from_pem_slice(&pem).map_err(|_| {
        wrong(setting, path, "no private key in it that can be read; expected PEM: -----BEGIN PRIVATE KEY-----, without a password")
    })
}

/// The authorities of a PEM file, at least one.
pub(super) fn authorities(setting: &str, path: &Path) -> Result<RootCertStore, String> {
    as_authorities(setting, path, &certificates(setting, path)?)
}

/// These certificates of a file, each fit to be believed.
pub(super) fn as_authorities(
    setting: &str,
    path: &Path,
    certificates: &[CertificateDer<'static>],
) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots.add(certificate.clone()).map_err(|error| {
            wrong(setting, path, &format!("a certificate in it is none of an authority: {error}"))
        })?;
    }
    Ok(roots)
}

pub(super) fn wrong(setting: &str, path: &Path, why: &str) -> String {
    format!("{setting}={}: {why}", path.display())
}

fn read(setting: &str, path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let bound = limits::MAX_PEM_BYTES;
    let read = File::open(path).and_then(|file| file.take(bound + 1).read_to_end(&mut bytes));
    read.map_err(|error| wrong(setting, path, &format!("can't be read: {error}")))?;
    if bytes.len() as u64 > bound {
        return Err(wrong(setting, path, &format!("more than {bound} bytes; expected a PEM file")));
    }
    Ok(bytes)
}
