//! Who lets whom in: certificates that prove nothing, on either side, while a pull over another line goes on.

use std::fs;
use std::path::Path;

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyPair, SanType, date_time_ymd};
use serde_json::json;

use crate::support::agent::Agent;
use crate::support::authority::{Authority, Identity};
use crate::support::files;
use crate::support::program::Program;
use crate::support::server::{SECRET, Server, id};
use crate::support::temp::TempDir;
use crate::support::wait::eventually;

const MIB: usize = 1 << 20;

fn server_with(authority: &Authority, own: &Identity, client_ca: &str) -> Server {
    let settings = [
        ("TLS_CERT", own.certificate.as_str()),
        ("TLS_KEY", own.key.as_str()),
        ("TLS_CLIENT_CA", client_ca),
        ("HEARTBEAT_SECONDS", "2"),
    ];
    Server::start_secure(Path::new(authority.ca()), &settings)
}

/// An agent that dials once: its exit code, and its last words.
fn dial_once(url: &str, id: &str, settings: &[(&str, &str)]) -> (i32, String) {
    let home = TempDir::new();
    let mut all = vec![
        ("SERVER_URL", url),
        ("CLIENT_ID", id),
        ("AUTH_SECRET", SECRET),
        ("RECONNECT", "false"),
        ("FILE_PATH", "x"),
    ];
    all.extend_from_slice(settings);
    let exe = env!("CARGO_BIN_EXE_towline-agent");
    let mut agent = Program::start("towline-agent", exe, &[], &all, &home);
    let code = agent.wait_exit();
    (code, agent.output())
}

/// Waits until the server has noticed; it looks when somebody comes.
fn says(server: &Server, words: &str) {
    eventually(words, || {
        server.clients();
        server.program.output().contains(words).then_some(())
    });
}

/// A pull that lasts about as long as a test's misdeeds.
struct LongPull {
    agent: Agent,
    content: Vec<u8>,
    id: String,
}

impl LongPull {
    fn begin(server: &Server, authority: &Authority, own: &Identity) -> LongPull {
        let home = TempDir::new();
        let content = files::random_file(&home.join("file"), 7, 20 * MIB);
        let settings = [
            ("TLS_CA", authority.ca()),
            ("TLS_CERT", &own.certificate),
            ("TLS_KEY", &own.key),
            ("MAX_RATE", "8M"),
        ];
        let agent = Agent::serving(server, "shop-001", home, &settings);
        let id = id(&server.pull("shop-001", &json!({})));
        server.has_bytes(&id);
        LongPull { agent, content, id }
    }

    fn ends_verified(self, server: &Server) {
        let transfer = server.assert_verified(&self.id, &self.content);
        assert_eq!(transfer["attempts"], 1, "its line held: {transfer}");
        drop(self.agent);
    }
}

#[test]
fn certificates_of_agents_that_prove_nothing() {
    let authority = Authority::new();
    let other = Authority::new();
    let server = server_with(&authority, &authority.server(&["127.0.0.1"]), authority.ca());
    let pull = LongPull::begin(&server, &authority, &authority.client("shop-001"));

    let named = |uri: &'static str| {
        move |params: &mut CertificateParams| {
            params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        }
    };
    let expired = authority.sign(|params| {
        named("towline:shop-002")(params);
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2002, 1, 1);
    });
    let not_yet = authority.sign(|params| {
        named("towline:shop-002")(params);
        params.not_before = date_time_ymd(3001, 1, 1);
    });
    let for_servers = authority.sign(|params| {
        named("towline:shop-002")(params);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    let common_name_alone = authority.sign(|params| {
        params.distinguished_name.push(rcgen::DnType::CommonName, "shop-002");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    });
    let self_signed = {
        let mut params = CertificateParams::default();
        named("towline:shop-002")(&mut params);
        let key = KeyPair::generate().unwrap();
        let home = TempDir::new();
        let (certificate, path) = (params.self_signed(&key).unwrap().pem(), home.join("c.pem"));
        fs::write(&path, certificate).unwrap();
        fs::write(home.join("c.key"), key.serialize_pem()).unwrap();
        let text = |name: &str| home.join(name).to_str().unwrap().to_owned();
        (Identity { certificate: text("c.pem"), key: text("c.key") }, home)
    };
    // What the certificate says, what the agent ends with, and which words tell why.
    for (own, code, words) in [
        (authority.client("shop-001"), 3, "shows a certificate for"),
        (authority.client("SHOP-002"), 3, "shows a certificate for"),
        (authority.client("shop-0020"), 3, "shows a certificate for"),
        (common_name_alone, 3, "shows a certificate for"),
        (other.client("shop-002"), 1, "does not take the certificate of this side"),
        (self_signed.0, 1, "does not take the certificate of this side"),
        (expired, 1, "does not take the certificate of this side"),
        (not_yet, 1, "does not take the certificate of this side"),
        (for_servers, 1, "TLS: "),
    ] {
        let settings = [("TLS_CA", authority.ca()), ("TLS_CERT", &own.certificate), ("TLS_KEY", &own.key)];
        let (ended, output) = dial_once(&server.url(), "shop-002", &settings);
        assert_eq!(ended, code, "{output}");
        assert!(output.contains(words), "no {words:?} in {output}");
    }
    let (ended, output) = dial_once(&server.url(), "shop-002", &[("TLS_CA", authority.ca())]);
    assert_eq!(ended, 3, "{output}");
    assert!(output.contains("shows no certificate"), "{output}");
    assert_eq!(server.clients(), ["shop-001"]);

    // A DNS name is a client's name too.
    let by_dns = authority.sign(|params| {
        params.subject_alt_names =
            CertificateParams::new(vec!["shop-003".to_owned()]).unwrap().subject_alt_names;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    });
    let settings = [("TLS_CA", authority.ca()), ("TLS_CERT", &by_dns.certificate), ("TLS_KEY", &by_dns.key)];
    let _agent = Agent::start(&server.url(), "shop-003", &settings);
    server.lists_agent("shop-003");
    pull.ends_verified(&server);
}

#[test]
fn certificates_of_servers_that_prove_nothing() {
    let authority = Authority::new();
    let other = Authority::new();
    let names = |params: &mut CertificateParams| {
        params.subject_alt_names =
            CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().subject_alt_names;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    };
    let expired = authority.sign(|params| {
        names(params);
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2002, 1, 1);
    });
    let not_yet = authority.sign(|params| {
        names(params);
        params.not_before = date_time_ymd(3001, 1, 1);
    });
    for (own, words) in [
        (authority.server(&["localhost"]), "the URL must name the machine as its certificate does"),
        (other.server(&["127.0.0.1"]), "set TLS_CA to the authority that signed it"),
        (expired, "renew it, or set the clock of this machine right"),
        (not_yet, "set the clock of this machine right"),
        (authority.client("shop-001"), "no secure line to the server: TLS: "),
    ] {
        let settings = [("TLS_CERT", own.certificate.as_str()), ("TLS_KEY", own.key.as_str())];
        let server = Server::start_secure(Path::new(authority.ca()), &settings);
        let (ended, output) = dial_once(&server.url(), "shop-001", &[("TLS_CA", authority.ca())]);
        assert_eq!(ended, 1, "{output}");
        assert!(output.contains(words), "no {words:?} in {output}");
        assert!(!output.contains(SECRET), "{output}");
    }
}

#[test]
fn an_authority_that_is_removed_lets_nobody_in_any_more() {
    let authority = Authority::new();
    let (old, new) = (Authority::new(), Authority::new());
    let home = TempDir::new();
    let bundle = home.join("clients.pem");
    let put = |authorities: &[&Authority]| {
        let text: String = authorities.iter().map(|a| fs::read_to_string(a.ca()).unwrap()).collect();
        fs::write(home.join("next"), text).unwrap();
        fs::rename(home.join("next"), &bundle).unwrap();
    };
    put(&[&old, &new]);
    let server = server_with(&authority, &authority.server(&["127.0.0.1"]), bundle.to_str().unwrap());
    let pull = LongPull::begin(&server, &authority, &old.client("shop-001"));

    put(&[&new]);
    says(&server, "has changed and is used from now on");
    let settings = |own: &Identity| {
        [
            ("TLS_CA", authority.ca().to_owned()),
            ("TLS_CERT", own.certificate.clone()),
            ("TLS_KEY", own.key.clone()),
        ]
    };
    let refused = settings(&old.client("shop-002"));
    let refused = refused.each_ref().map(|(name, value)| (*name, value.as_str()));
    let (ended, output) = dial_once(&server.url(), "shop-002", &refused);
    assert_eq!(ended, 1, "{output}");
    assert!(output.contains("does not take the certificate of this side"), "{output}");
    let taken = settings(&new.client("shop-002"));
    let taken = taken.each_ref().map(|(name, value)| (*name, value.as_str()));
    let _agent = Agent::start(&server.url(), "shop-002", &taken);
    server.lists_agent("shop-002");
    pull.ends_verified(&server); // what stands is left standing

    // What can't be used changes nothing, and is said.
    fs::write(&bundle, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    says(&server, "the certificate of before is kept: TLS_CLIENT_CA=");
    let third = settings(&new.client("shop-003"));
    let third = third.each_ref().map(|(name, value)| (*name, value.as_str()));
    let _agent = Agent::start(&server.url(), "shop-003", &third);
    server.lists_agent("shop-003");
}

#[test]
fn a_plain_start_is_warned_of_once() {
    let server = Server::start(&[("HOST", "0.0.0.0")]);
    server.program.wait_line("without TLS, whoever sits on the way to 0.0.0.0 reads secrets and files");
    let quiet = Server::start(&[("HOST", "127.0.0.1")]);
    assert!(!quiet.program.output().contains("without TLS"), "nothing leaves this machine");
    let agent = Agent::start("ws://server.invalid:8080/ws", "shop-001", &[]);
    agent.program.wait_line("ws://server.invalid:8080/ws: without TLS, whoever sits on the way");
    let local = Agent::start(&quiet.url(), "shop-001", &[]);
    quiet.lists_agent("shop-001");
    assert!(!local.program.output().contains("without TLS"));
}
