use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use super::folder::FolderError;
use super::*;

fn authority() -> (Authority, String) {
    let (authority, pair) = Authority::make().unwrap();
    (authority, pair.certificate)
}

#[test]
fn a_certificate_names_every_legal_client() {
    let (authority, ca) = authority();
    for id in ["a", "ca", "A._-9", "_", "0123456789", "shop-001", &"Z".repeat(64), &"9.".repeat(32)] {
        let client: ClientId = id.parse().unwrap();
        let pair = authority.client(&client, 1).unwrap();
        assert_eq!(proof::proven_names(&pair.certificate, &ca).unwrap(), [id]);
    }
}

#[test]
fn a_servers_certificate_is_for_its_names_alone() {
    let (authority, ca) = authority();
    let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    let own =
        names(&["towline.example.com", "*.shops.example.com", "under_score", "203.0.113.9", "2001:db8::1"]);
    let pair = authority.server(&own, limits::MAX_CERTIFICATE_DAYS).unwrap();
    proof::proves_server(&pair.certificate, &ca, &own).unwrap();
    for other in ["example.com", "a.b.shops.example.com", "203.0.113.8", "2001:db8::2", "localhost"] {
        assert!(proof::proves_server(&pair.certificate, &ca, &names(&[other])).is_err(), "{other}");
    }
    let most: Vec<String> = (0..limits::MAX_CERTIFICATE_NAMES).map(|n| format!("n{n}.example.com")).collect();
    let pair = authority.server(&most, 1).unwrap();
    proof::proves_server(&pair.certificate, &ca, &most).unwrap();
}

#[test]
fn a_certificate_serves_for_one_side() {
    let (authority, ca) = authority();
    let name = ["shop-001".to_owned()];
    let server = authority.server(&name, 1).unwrap().certificate;
    let client = authority.client(&"shop-001".parse().unwrap(), 1).unwrap().certificate;
    assert!(proof::proven_names(&server, &ca).is_err());
    assert!(proof::proves_server(&client, &ca, &name).is_err());
    // Nor is an authority itself a server or a client.
    assert!(proof::proven_names(&ca, &ca).is_err());
    assert!(proof::proves_server(&ca, &ca, &[]).is_err());
}

#[test]
fn the_key_is_all_that_signs_again() {
    let (first, pair) = Authority::make().unwrap();
    let again = Authority::of(&pair.key).unwrap();
    assert_eq!(again.name, first.name);
    let client = "shop-001".parse().unwrap();
    let signed = again.client(&client, 1).unwrap().certificate;
    proof::proven_names(&signed, &pair.certificate).unwrap();

    let (other, other_ca) = authority();
    assert_ne!(other.name, first.name);
    assert!(proof::proven_names(&signed, &other_ca).is_err());
    for no_key in ["", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", &pair.certificate] {
        assert!(Authority::of(no_key).is_none(), "{no_key}");
    }
}

#[test]
fn no_two_are_alike() {
    let (authority, _) = authority();
    let client = "shop-001".parse().unwrap();
    let (one, two) = (authority.client(&client, 1).unwrap(), authority.client(&client, 1).unwrap());
    assert!(one.key != two.key && one.certificate != two.certificate);
}

/// A folder of this test, empty.
fn folder(name: &str) -> (Folder, PathBuf) {
    let path = std::env::temp_dir().join(format!("towline-certs-{}-{name}", std::process::id()));
    (Folder::new(path.clone()), path)
}

fn names_in(path: &std::path::Path) -> Vec<String> {
    let entries = fs::read_dir(path).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn files_come_together_or_not_at_all() {
    let (folder, path) = folder("together");
    let files = |text| [private("a.key", text), public("a.pem", text)];
    folder.put(&files("first"), Replace::No).unwrap();
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(&path.join("a.key"))), (0o700, 0o600));
    assert_eq!(folder.read_key("a.key").unwrap(), "first");
    assert!(matches!(folder.read_key("a.pem"), Err(FolderError::Open(_))));

    // One of them is there: neither is replaced.
    fs::remove_file(path.join("a.key")).unwrap();
    assert!(matches!(folder.put(&files("second"), Replace::No), Err(FolderError::Exists(_))));
    assert_eq!(names_in(&path), ["a.pem"]);
    // One of them can't be written: the other isn't there, and no draft is left.
    let broken = [private("b.key", "b"), public("absent/b.pem", "b")];
    assert!(matches!(folder.put(&broken, Replace::Yes), Err(FolderError::Io { .. })));
    // One of them can't get its name.
    fs::create_dir(path.join("c.pem")).unwrap();
    let broken = [private("c.key", "c"), public("c.pem", "c")];
    assert!(matches!(folder.put(&broken, Replace::No), Err(FolderError::Exists(_))));
    assert_eq!(names_in(&path), ["a.pem", "c.pem"]);

    folder.put(&files("second"), Replace::Yes).unwrap();
    assert_eq!(
        (folder.read("a.key").unwrap().as_str(), folder.read("a.pem").unwrap().as_str()),
        ("second", "second")
    );
    assert_eq!(names_in(&path), ["a.key", "a.pem", "c.pem"]);
    fs::remove_dir_all(path).unwrap();
}
