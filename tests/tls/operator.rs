//! `towline` with `https://`: the server has to prove who it is, and what is wrong is said in words that help.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Instant;

use rcgen::{CertificateParams, date_time_ymd};

use crate::support::authority::{Authority, Identity};
use crate::support::server::{SECRET, Server};
use crate::support::temp::TempDir;
use crate::support::wait::SOON;

fn towline(args: &[&str], env: &[(&str, &str)]) -> Output {
    let mut towline = Command::new(env!("CARGO_BIN_EXE_towline"));
    towline.args(args).env_clear().env("API_KEY", SECRET).envs(env.iter().copied());
    towline.output().unwrap()
}

/// The one line that `towline ARGS` ends with, and its exit code; it ends at once.
#[track_caller]
fn told(args: &[&str], env: &[(&str, &str)]) -> (String, i32) {
    let began = Instant::now();
    let output = towline(args, env);
    assert!(began.elapsed() < SOON, "it did not try again and again");
    let err = String::from_utf8(output.stderr).unwrap();
    assert!(output.stdout.is_empty() && err.lines().count() == 1, "{err}");
    assert!(!err.contains(SECRET), "{err}");
    (err, output.status.code().unwrap())
}

fn server_with(authority: &Authority, own: &Identity) -> Server {
    let settings = [("TLS_CERT", own.certificate.as_str()), ("TLS_KEY", own.key.as_str())];
    Server::start_secure(Path::new(authority.ca()), &settings)
}

#[test]
fn who_is_believed() {
    let authority = Authority::new();
    let server = server_with(&authority, &authority.server(&["127.0.0.1", "localhost"]));
    let url = server.rest_url();
    let clients = towline(&["clients", "--json"], &[("SERVER", &url), ("TLS_CA", authority.ca())]);
    assert_eq!((clients.status.code(), clients.stdout.trim_ascii()), (Some(0), &b"[]"[..]));
    // By another of its names, and beside other authorities.
    let home = TempDir::new();
    let bundle = home.join("bundle.pem");
    let other = Authority::new();
    fs::write(&bundle, [fs::read(other.ca()).unwrap(), fs::read(authority.ca()).unwrap()].concat()).unwrap();
    let by_name = format!("https://localhost:{}/", server.port);
    let clients = towline(&["clients"], &[("SERVER", &by_name), ("TLS_CA", bundle.to_str().unwrap())]);
    assert_eq!(clients.status.code(), Some(0), "{}", String::from_utf8_lossy(&clients.stderr));

    let advice = "; set TLS_CA to the authority that signed it";
    for env in [&[][..], &[("TLS_CA", other.ca())]] {
        for args in
            [&["clients"][..], &["pull", "shop-001"], &["show", "1b4e28ba-2fa1-41d2-883f-0016d3cca427"]]
        {
            let (text, code) = told(args, &[env, &[("SERVER", url.as_str())]].concat());
            assert!(
                text.contains(&format!("no secure connection to {url}: ")) && text.contains(advice),
                "{text}"
            );
            assert_eq!(code, 1);
        }
    }
    assert!(!server.program.output().contains(SECRET));
}

#[test]
fn certificates_that_prove_nothing() {
    let authority = Authority::new();
    let own = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap().subject_alt_names;
    let named = |params: &mut CertificateParams| params.subject_alt_names = own.clone();
    for (identity, wanted) in [
        (
            authority.server(&["towline.example.com"]),
            &["towline.example.com", "; the URL must name the machine as its certificate does"][..],
        ),
        (
            authority.sign(|params| {
                named(params);
                params.not_after = date_time_ymd(2020, 1, 1);
            }),
            &["xpired", "; renew it, or set the clock of this machine right"],
        ),
        (
            authority.sign(|params| {
                named(params);
                params.not_before = date_time_ymd(2090, 1, 1);
            }),
            &["not valid yet", "; set the clock of this machine right"],
        ),
        (authority.client("shop-001"), &["does not allow extended key usage for server authentication"]),
        // It has no name but a common one, which counts for nothing.
        (authority.sign(|_| {}), &["; the URL must name the machine"]),
    ] {
        let server = server_with(&authority, &identity);
        let (text, code) = told(&["clients"], &[("SERVER", &server.rest_url()), ("TLS_CA", authority.ca())]);
        assert!(wanted.iter().all(|wanted| text.contains(wanted)), "{wanted:?} in {text}");
        assert_eq!(code, 1);
    }
}

#[test]
fn one_side_speaks_tls_and_the_other_does_not() {
    let authority = Authority::new();
    let secure = server_with(&authority, &authority.server(&["127.0.0.1"]));
    let plain = Server::start(&[]);
    for args in [&["clients"][..], &["pull", "shop-001"]] {
        let url = format!("https://127.0.0.1:{}", plain.port);
        let (text, code) = told(args, &[("SERVER", &url), ("TLS_CA", authority.ca())]);
        assert!(
            text.contains("does not speak TLS: is the port right, or is it a server without TLS?"),
            "{text}"
        );
        assert_eq!(code, 1);
        let url = format!("http://127.0.0.1:{}", secure.port);
        let (text, code) = told(args, &[("SERVER", &url)]);
        assert!(text.contains("this port speaks TLS: use https://"), "{text}");
        assert_eq!(code, 2);
    }
}

#[test]
fn an_authority_that_cannot_be_read_is_told_at_once() {
    let home = TempDir::new();
    let path = |name: &str| home.join(name).to_str().unwrap().to_owned();
    fs::write(path("text"), "no PEM").unwrap();
    fs::write(path("broken"), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    fs::write(path("cut"), "-----BEGIN CERTIFICATE-----\nAAAA\n").unwrap();
    for (name, wanted) in [
        ("absent", "can't be read"),
        ("text", "no certificate in it"),
        ("broken", "none of an authority"),
        ("cut", "broken PEM"),
    ] {
        let file = path(name);
        let env = [("SERVER", "https://127.0.0.1:1"), ("TLS_CA", file.as_str())];
        let (text, code) = told(&["clients"], &env);
        assert!(text.contains(&format!("TLS_CA={file}: ")) && text.contains(wanted), "{text}");
        assert_eq!(code, 2);
    }
}
