//! The ring and the rights, without a disk.

use super::*;
use crate::names::{ClientId, FileKey};
use crate::protocol::Kind;

const SHA: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

fn client(id: &str) -> ClientId {
    id.parse().unwrap()
}

fn patterns(text: &[&str]) -> Vec<Pattern> {
    text.iter().map(|text| Pattern::try_from((*text).to_owned()).unwrap()).collect()
}

fn operator(scopes: &[Scope], clients: &[&str], files: &[&str]) -> Operator {
    let name = "nightly".parse().unwrap();
    Operator { name, scopes: scopes.to_vec(), clients: patterns(clients), files: patterns(files) }
}

fn new(number: u8) -> NewKey {
    NewKey::from_random([number; 6], [number; 32])
}

fn ring() -> Ring {
    let mut ring = Ring::default();
    assert!(ring.add(&new(1), Owner::Client(client("shop-001")), 5));
    assert!(ring.add(&new(2), Owner::Client(client("shop-002")), 6));
    let nightly = operator(&[Scope::Read, Scope::Pull], &["shop-*"], &["logs/*"]);
    assert!(ring.add(&new(3), Owner::Operator(nightly.into()), 7));
    ring
}

#[test]
fn a_key_is_one_plain_token() {
    let key = new(0xab);
    assert_eq!(key.text, format!("twl_abababababab_{}", "ab".repeat(32)));
    assert_eq!(KeyId::of(&key.text), Some(key.id.clone()));
    assert!(!format!("{key:?}").contains(&"ab".repeat(32)));
    for no_key in ["", "twl_", "twl__x", "twl_ab", "TWL_ab_cd", "xtwl_ab_cd", "twl_AB_cd", "twl_a b_cd"] {
        assert_eq!(KeyId::of(no_key), None, "{no_key}");
    }
    assert_eq!(
        without_keys(&format!("at \"{}\", twice {}", key.text, key.text)),
        "at \"twl_…\", twice twl_…"
    );
    assert_eq!(without_keys("nothing"), "nothing");
}

#[test]
fn a_key_is_found_by_all_of_its_text_and_its_owner() {
    let ring = ring();
    let (one, three) = (new(1), new(3));
    assert_eq!(ring.find_of_client(&one.text, &client("shop-001")).unwrap().id, one.id);
    assert!(ring.find_of_client(&one.text, &client("shop-002")).is_none(), "somebody else's");
    assert!(ring.find_of_client(&three.text, &client("shop-001")).is_none(), "an operator's");
    assert!(ring.find_of_client(&three.text, &client("nightly")).is_none(), "an operator's, by its name");
    assert!(ring.operator(&three.id).is_some() && ring.operator(&one.id).is_none());
    let other = format!("twl_{}_{}", one.id, "02".repeat(32));
    for wrong in [
        "",
        &one.text[..one.text.len() - 1],
        &format!("{}0", one.text),
        &format!(" {}", one.text),
        &one.text.to_uppercase(),
        &other,
        SHA,
        &one.hash.to_string(),
        &format!("twl_{}_{}", one.id, one.hash),
        &one.text.replace(one.id.as_str(), new(2).id.as_str()),
    ] {
        assert!(ring.find(wrong).is_none(), "{wrong}");
    }
}

#[test]
fn a_ring_is_written_and_read_again() {
    let mut ring = ring();
    let text = ring.render();
    assert_eq!(Ring::parse(&text), Ok(ring.clone()));
    for key in [new(1), new(2), new(3)] {
        assert!(text.contains(&key.hash.to_string()) && text.contains(key.id.as_str()));
        assert!(!text.contains(&key.text[17..]), "no secret is in it");
    }
    assert!(!ring.add(&new(1), Owner::Client(client("shop-009")), 9), "an id is taken once");
    assert_eq!(ring.remove(&new(1).id).unwrap().owner.name(), "shop-001");
    assert!(ring.remove(&new(1).id).is_none() && ring.find(&new(1).text).is_none());
    assert_eq!(ring.find(&new(3).text).unwrap().owner.name(), "nightly", "the others are found as before");
    assert_eq!(Ring::parse(&ring.render()), Ok(ring));
}

#[test]
fn the_form_of_the_file_stays() {
    let text = format!(
        r#"{{"version":1,"keys":[
        {{"id":"a1","kind":"client","clientId":"shop-001","sha256":"{SHA}","createdAt":1}},
        {{"id":"b2","kind":"operator","name":"nightly","scopes":["read","pull"],"clients":["shop-*"],"files":["logs/*"],
          "sha256":"{SHA}","createdAt":2}}]}}"#
    );
    let ring = Ring::parse(&text).unwrap();
    assert_eq!(ring.keys().len(), 2);
    let spaceless = |text: &str| text.split_whitespace().collect::<String>();
    assert_eq!(spaceless(&ring.render()), spaceless(&text));
    assert_eq!(Ring::parse(r#"{"version":1,"keys":[]}"#), Ok(Ring::default()));
}

#[test]
fn what_is_not_understood_is_refused_with_its_place() {
    let client_key =
        format!(r#"{{"id":"a1","kind":"client","clientId":"shop-001","sha256":"{SHA}","createdAt":1}}"#);
    let operator_key = format!(
        r#"{{"id":"b2","kind":"operator","name":"n","scopes":["read"],"clients":["*"],"files":["*"],"sha256":"{SHA}","createdAt":2}}"#
    );
    let keys = |keys: &[&str]| format!("{{\"version\":1,\"keys\":[\n{}\n]}}", keys.join(",\n"));
    Ring::parse(&keys(&[&client_key, &operator_key])).unwrap();
    let many = format!("[{}]", vec!["\"*\""; 257].join(","));
    for (text, wanted) in [
        (String::new(), "EOF while parsing"),
        ("[]".to_owned(), "line 1"),
        ("{\"keys\":[]}".to_owned(), "missing field `version`"),
        (
            "{\"version\":2,\"keys\":{},\"new\":1}".to_owned(),
            "it is of version 2, and this program reads version 1",
        ),
        ("{\"version\":\"1\",\"keys\":[]}".to_owned(), "line 1 column 14"),
        ("{\"version\":1}".to_owned(), "missing field `keys`"),
        ("{\"version\":1,\"keys\":[],\"x\":0}".to_owned(), "unknown field `x`"),
        ("{\"version\":1,\"keys\":[]} x".to_owned(), "trailing characters at line 1"),
        (keys(&[&client_key, &client_key]), "key 2 (id a1): another key has this id"),
        (keys(&[&client_key, &operator_key.replace("b2", "a1")]), "key 2 (id a1): another key has this id"),
        (
            keys(&[&client_key, &operator_key.replace("\"id\"", "\"until\":1,\"id\"")]),
            "unknown field `until`, expected",
        ),
        (keys(&[&client_key, "{\"kind\":\"client\",}"]), "line 3 column"),
        (keys(&[&client_key.replace("client\"", "robot\"")]), "unknown variant `robot`"),
        (
            keys(&[&client_key.replace("\"clientId\":\"shop-001\",", "")]),
            "key 1 (id a1): a key of a client has",
        ),
        (keys(&[&client_key.replace("shop-001", "../x")]), "a client id is 1 to 64"),
        (
            keys(&[&client_key.replace("\"id\"", "\"scopes\":[\"read\"],\"id\"")]),
            "key 1 (id a1): a key of a client has",
        ),
        (keys(&[&client_key.replace("\"id\"", "\"createdAt\":1,\"id\"")]), "duplicate field `createdAt`"),
        (keys(&[&client_key.replace(SHA, "abc")]), "64 hexadecimal digits"),
        (keys(&[&client_key.replace("a1", "A_1")]), "the id of a key is 1 to 32"),
        (keys(&[&operator_key.replace("\"name\":\"n\",", "")]), "key 1 (id b2): a key of an operator has"),
        (
            keys(&[&operator_key.replace("\"read\"", "\"write\"")]),
            "unknown variant `write`, expected one of `read`",
        ),
        (keys(&[&operator_key.replace("\"read\"", "")]), "scopes, clients and files each have one"),
        (
            keys(&[&operator_key.replace("\"files\":[\"*\"]", "\"files\":[]")]),
            "scopes, clients and files each have one",
        ),
        (keys(&[&operator_key.replace("\"files\":[\"*\"]", "\"files\":[\"\"]")]), "a pattern is 1 to 4096"),
        (
            keys(&[&operator_key.replace("\"files\":[\"*\"]", &format!("\"files\":{many}"))]),
            "at most 256 patterns",
        ),
        (keys(&[&operator_key.replace("\"n\"", "\"a@b\"")]), "an operator's name is"),
    ] {
        let told = Ring::parse(&text).unwrap_err().to_string();
        assert!(told.contains(wanted), "{wanted:?} in {told:?}");
        assert!(!told.contains('\n'));
    }
    // A key that somebody has put in a wrong place is not shown.
    let secret = new(9).text;
    for text in [
        keys(&[&client_key.replace("\"createdAt\":1", &format!("\"createdAt\":\"{secret}\""))]),
        keys(&[&client_key.replace("\"id\"", &format!("\"{secret}\":1,\"id\""))]),
        keys(&[&client_key.replace(SHA, &secret)]),
    ] {
        let told = Ring::parse(&text).unwrap_err().to_string();
        assert!(!told.contains("0909"), "{told}");
    }
    let deep = format!("{{\"version\":1,\"keys\":{}", "[".repeat(100_000));
    assert!(Ring::parse(&deep).is_err());
}

#[test]
fn scopes() {
    let all = [Scope::Read, Scope::Pull, Scope::Cancel, Scope::Admin];
    for has in all {
        for wanted in all {
            let may = operator(&[has], &["*"], &["*"]).may(wanted);
            assert_eq!(may.is_ok(), has == wanted || has == Scope::Admin, "{has:?} {wanted:?}");
        }
    }
    let lack = operator(&[Scope::Read, Scope::Pull], &["*"], &["*"]).may(Scope::Cancel).unwrap_err();
    assert_eq!(lack.to_string(), "the key of nightly lacks the scope cancel; it has read, pull");
}

#[test]
fn files() {
    let reach = |files: &[&str], key: &str| {
        let key = (!key.is_empty()).then(|| key.parse::<FileKey>().unwrap());
        operator(&[Scope::Admin], &["*"], files).reach_file(key.as_ref()).is_ok()
    };
    for (files, key, expected) in [
        (&["logs/*"][..], "logs/today.log", true),
        (&["logs/*"], "logs/2025/10/31.log", true),
        (&["logs/*"], "logs", false),
        (&["logs", "logs/*"], "logs", true),
        (&["logs/*"], "logs2/x", false),
        (&["logs/*.log"], "logs/a.txt", false),
        (&["logs/*.log", "db"], "db", true),
        // Nothing leads out of a pattern.
        (&["logs/*"], "logs/../db/pos.db", false),
        (&["logs/*"], "logs\\..\\db", false),
        (&["/var/log/*"], "/var/log/../../etc/passwd", false),
        (&["C:\\pos\\*"], "C:\\pos\\.. \\secret", false),
        (&["C:\\pos\\*"], "C:\\pos\\...\\secret", false),
        (&["logs/*"], "logs/..", false),
        (&["logs/*"], "logs/..data/x", true),
        (&["logs/*"], "logs/.hidden", true),
        // FILE_PATH, and whatever a v1 client opens: without a limit only.
        (&["logs/*"], "", false),
        (&["*.log", "l*"], "", false),
        (&["*"], "", true),
        (&["logs/*", "**"], "", true),
        (&["*"], "../../etc/passwd", true),
    ] {
        assert_eq!(reach(files, key), expected, "{files:?} {key:?}");
    }
}

#[test]
fn folders_are_seen_where_something_in_them_is_reached() {
    let limited = operator(&[Scope::Read], &["*"], &["logs/2025/*.log", "db"]);
    for (key, as_file, as_folder) in [
        ("logs", false, true),
        ("logs/2025", false, true),
        ("logs/2025/10", false, true),
        ("logs/2025/a.log", true, true),
        ("logs/2025/a.txt", false, true),
        ("logs/2024", false, false),
        ("db", true, false),
        ("secret", false, false),
        ("logs/..", false, false),
    ] {
        assert_eq!(limited.sees_entry(key, Kind::File), as_file, "{key}");
        assert_eq!(limited.sees_entry(key, Kind::Folder), as_folder, "{key}");
        assert_eq!(limited.sees_entry(key, Kind::Link), as_file || as_folder, "{key}");
    }
    for (folder, ok) in [
        (None, true),
        (Some("logs"), true),
        (Some("logs/2024"), false),
        (Some("db"), false),
        (Some("logs/.."), false),
    ] {
        assert_eq!(limited.reach_into(folder).is_ok(), ok, "{folder:?}");
    }
    assert!(operator(&[Scope::Read], &["*"], &["*"]).reach_into(Some("any/..")).is_ok());
}

#[test]
fn what_is_lacking_is_said() {
    let limited = operator(&[Scope::Pull], &["shop-*", "pos-1"], &["logs/*"]);
    assert_eq!(
        limited.reach_client("till\n7").unwrap_err().to_string(),
        "the key of nightly does not reach the client till\\n7; it reaches shop-*, pos-1"
    );
    let key = "db".parse().unwrap();
    let told = limited.reach_file(Some(&key)).unwrap_err().to_string();
    assert_eq!(told, "the key of nightly does not reach the file db; it reaches logs/*");
    assert!(limited.reach_file(None).unwrap_err().to_string().contains("the file null"));
    let all = Operator::with_all_rights("operator".parse().unwrap());
    assert!(all.may(Scope::Cancel).is_ok() && all.reach_file(None).is_ok() && all.reach_client("x").is_ok());
}
