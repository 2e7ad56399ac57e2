//! An authority of a test, which signs certificates of every kind, also those that nobody should take.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType,
};

use super::temp::TempDir;

/// The files of a certificate and its key.
#[derive(Debug, Clone)]
pub struct Identity {
    pub certificate: String,
    pub key: String,
}

/// An authority, with a folder for what it signs.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    ca: String,
    signed: AtomicU32,
    home: TempDir,
}

impl Authority {
    pub fn new() -> Authority {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.distinguished_name.push(DnType::CommonName, "an authority of a test");
        let key = KeyPair::generate().expect("ring makes keys");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("it signs");
        let home = TempDir::new();
        let ca = write(&home, "ca.pem", &issuer.pem());
        Authority { issuer, ca, signed: AtomicU32::new(0), home }
    }

    /// The file of its own certificate.
    pub fn ca(&self) -> &str {
        &self.ca
    }

    /// A server's certificate for these names and addresses.
    pub fn server(&self, names: &[&str]) -> Identity {
        self.sign(|params| {
            let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
            params.subject_alt_names = CertificateParams::new(names).expect("names").subject_alt_names;
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        })
    }

    /// An agent's certificate in the name of this client id.
    pub fn client(&self, id: &str) -> Identity {
        self.sign(|params| {
            let uri = format!("towline:{id}").try_into().expect("ASCII");
            params.subject_alt_names = vec![SanType::URI(uri)];
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        })
    }

    /// A certificate that is good from 1975 to 4096 and for nothing, but for what `change` does to it.
    pub fn sign(&self, change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let mut params = CertificateParams::default();
        change(&mut params);
        let key = KeyPair::generate().expect("ring makes keys");
        let certificate = params.signed_by(&key, &self.issuer).expect("it signs");
        let number = self.signed.fetch_add(1, Ordering::Relaxed);
        Identity {
            certificate: write(&self.home, &format!("{number}.pem"), &certificate.pem()),
            key: write(&self.home, &format!("{number}.key"), &key.serialize_pem()),
        }
    }
}

fn write(home: &Path, name: &str, text: &str) -> String {
    let path = home.join(name);
    fs::write(&path, text).expect("the test's folder takes files");
    path.to_str().expect("the test's folder has a plain name").to_owned()
}
