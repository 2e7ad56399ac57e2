//! Whether a certificate would be taken, before anybody relies on it.

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};

use super::{accept, provider};

/// That whoever believes `authority` takes `certificate` (both PEM) for a server with each of `names`.
///
/// # Errors
/// Says why not.
pub fn proves_server(certificate: &str, authority: &str, names: &[String]) -> Result<(), String> {
    let certificate = only(certificate)?;
    let entity = signed(&certificate, authority, KeyUsage::server_auth())?;
    for name in names {
        // Whoever dials has a name in the place of the star.
        let dialled = name.strip_prefix("*.").map_or(name.clone(), |rest| format!("any.{rest}"));
        let dialled = ServerName::try_from(dialled).map_err(|_| format!("{name} can't be dialled"))?;
        entity.verify_is_valid_for_subject_name(&dialled).map_err(|error| format!("{name}: {error}"))?;
    }
    Ok(())
}

/// The names that `certificate` gives an agent at a server that believes `authority` (both PEM).
///
/// # Errors
/// Says why it gives none.
pub fn proven_names(certificate: &str, authority: &str) -> Result<Vec<String>, String> {
    let certificate = only(certificate)?;
    signed(&certificate, authority, KeyUsage::client_auth())?;
    Ok(accept::names_in(&certificate))
}

fn only(pem: &str) -> Result<CertificateDer<'static>, String> {
    CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|error| format!("no certificate: {error}"))
}

fn signed<'c>(
    certificate: &'c CertificateDer<'c>,
    authority: &str,
    usage: KeyUsage,
) -> Result<EndEntityCert<'c>, String> {
    let words = |error: webpki::Error| error.to_string();
    let authority = only(authority)?;
    let anchor = anchor_from_trusted_cert(&authority).map_err(words)?;
    let entity = EndEntityCert::try_from(certificate).map_err(words)?;
    let algorithms = provider().signature_verification_algorithms.all;
    entity.verify_for_usage(algorithms, &[anchor], &[], UnixTime::now(), usage, None, None).map_err(words)?;
    Ok(entity)
}
