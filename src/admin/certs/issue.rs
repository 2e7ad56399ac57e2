//! Makes keys and certificates: ECDSA on P-256, which every TLS in use takes. The only file that names `rcgen`.
//!
//! The authority's name holds the identifier of its key. So the key alone is enough to sign once more, nothing has to be
//! read out of `ca.pem`; that the two belong together shows when what was signed is checked against `ca.pem`.

use std::fmt;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};

use crate::encoding::hex;
use crate::names::ClientId;
use crate::{clock, limits, random};

/// A certificate and its key, as PEM.
pub(super) struct Pair {
    pub(super) certificate: String,
    pub(super) key: String,
    /// The last day, as text.
    pub(super) until: String,
}

/// A key or a certificate can't be made.
#[derive(Debug)]
pub(super) struct IssueError(rcgen::Error);

impl From<rcgen::Error> for IssueError {
    fn from(error: rcgen::Error) -> IssueError {
        IssueError(error)
    }
}

impl fmt::Display for IssueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot make a certificate: {}", self.0)
    }
}

/// What signs.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its name.
    pub(super) name: String,
}

impl Authority {
    /// A new one, with a key that nobody has had before.
    pub(super) fn make() -> Result<(Authority, Pair), IssueError> {
        let key = KeyPair::generate()?;
        let pem = key.serialize_pem();
        let (name, mut params) = named_after(&key);
        let until = set_time(&mut params, limits::AUTHORITY_DAYS);
        let certificate = params.self_signed(&key)?.pem();
        let authority = Authority { issuer: Issuer::new(params, key), name };
        Ok((authority, Pair { certificate, key: pem, until }))
    }

    /// The one whose key this is; nothing when it is none, or of another kind than those that are made here.
    pub(super) fn of(key: &str) -> Option<Authority> {
        let key = KeyPair::from_pem(key).ok()?;
        let (name, params) = named_after(&key);
        Some(Authority { issuer: Issuer::new(params, key), name })
    }

    /// A server's certificate for these DNS names and addresses.
    pub(super) fn server(&self, names: &[String], days: u64) -> Result<Pair, IssueError> {
        let mut params = CertificateParams::new(names)?;
        // For people alone: clients go by the names above. A common name has at most 64 characters (RFC 5280, appendix A.1).
        params.distinguished_name = common_name("Towline server");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign(params, days)
    }

    /// An agent's certificate in the name of `client`.
    pub(super) fn client(&self, client: &ClientId, days: u64) -> Result<Pair, IssueError> {
        let mut params = CertificateParams::default();
        let uri = format!("{}{client}", limits::CLIENT_URI_SCHEME);
        params.subject_alt_names = vec![SanType::URI(uri.try_into()?)];
        params.distinguished_name = common_name(client.as_str());
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(params, days)
    }

    fn sign(&self, mut params: CertificateParams, days: u64) -> Result<Pair, IssueError> {
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let until = set_time(&mut params, days);
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?.pem();
        Ok(Pair { certificate, key: key.serialize_pem(), until })
    }
}

/// The name of the authority that has this key, and all else that its signatures depend on.
fn named_after(key: &KeyPair) -> (String, CertificateParams) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let id = hex(&params.key_identifier(key)[..8]);
    let name = format!("Towline private CA {id}");
    params.distinguished_name = common_name(&name);
    (name, params)
}

fn common_name(name: &str) -> rcgen::DistinguishedName {
    let mut names = rcgen::DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}

/// From a day ago for `days` more, under a serial number of its own; returns the last day.
fn set_time(params: &mut CertificateParams, days: u64) -> String {
    const DAY: Duration = Duration::from_secs(24 * 3600);
    let now = Duration::from_millis(clock::now_ms());
    let end = now + DAY * u32::try_from(days).unwrap_or(u32::MAX);
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    // The clock of a shop may be slow.
    (params.not_before, params.not_after) = (epoch + now.saturating_sub(DAY), epoch + end);
    let mut serial: [u8; 16] = random::bytes();
    serial[0] = serial[0] & 0x7f | 0x40; // positive, and without zeros in front (RFC 5280, section 4.1.2.2)
    params.serial_number = Some(serial.to_vec().into());
    clock::iso8601(end.as_millis() as u64).chars().take(10).collect()
}
