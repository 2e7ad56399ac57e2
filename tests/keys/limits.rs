//! An operator that is limited to some clients and some files: what it may ask for, and what it gets to see.

use serde_json::{Value, json};

use crate::scene::{Keys, call, shop};
use crate::support::server::{Server, id};
use crate::support::v1_client::V1Client;

/// The ids in a list, by this field.
pub fn ids(list: &Value, field: &str) -> Vec<String> {
    let mut ids: Vec<String> =
        list.as_array().unwrap().iter().map(|one| one[field].as_str().unwrap().to_owned()).collect();
    ids.sort();
    ids
}

#[track_caller]
fn is_forbidden(server: &Server, key: &str, path: &str, body: &Value, named: &str) {
    let answer = call(server, key, "POST", path, Some(body));
    let message = answer.json()["message"].as_str().unwrap().to_owned();
    answer.expect_error(403, "forbidden");
    assert!(message.contains(named), "{named} in {message}");
}

#[test]
fn it_asks_for_its_files_of_its_clients_and_no_others() {
    let keys = Keys::new();
    let (shop_key, pos_key) = (keys.client("shop-001"), keys.client("pos-1"));
    let limited = keys.operator("nightly", "read,pull", "shop-*", "logs/*");
    let server = keys.server(&[]);
    let _shop = shop(&server, "shop-001", &shop_key);
    let _pos = shop(&server, "pos-1", &pos_key);

    let answer = call(
        &server,
        &limited,
        "POST",
        "/download/shop-001?wait=20",
        Some(&json!({"fileKey":"logs/today.log"})),
    );
    let transfer = answer.expect(200);
    assert!(transfer["requestedBy"].as_str().unwrap().starts_with("nightly@127.0.0.1:"), "{transfer}");
    let path = format!("/transfers/{}/file", id(&transfer));
    assert_eq!(call(&server, &limited, "GET", &path, None).body, b"logs/today.log");

    let log = json!({"fileKey": "logs/today.log"});
    is_forbidden(&server, &limited, "/download/pos-1", &log, "the client pos-1; it reaches shop-*");
    is_forbidden(&server, &limited, "/download/pos-99", &log, "the client pos-99;");
    is_forbidden(
        &server,
        &limited,
        "/download/shop-001",
        &json!({"fileKey": "db"}),
        "the file db; it reaches logs/*",
    );
    is_forbidden(&server, &limited, "/download/shop-001", &json!({"fileKey": "logs"}), "the file logs;");
    is_forbidden(
        &server,
        &limited,
        "/download/shop-001",
        &json!({"fileKey": "logs/../db"}),
        "the file logs/../db;",
    );
    for null in [json!({}), json!({"fileKey": null}), json!({"fileKey": ""})] {
        is_forbidden(&server, &limited, "/download/shop-001", &null, "the file null");
    }
    // Whether it is there or not, and with whatever else: nothing has been begun.
    is_forbidden(&server, &limited, "/download/pos-1?wait=1", &json!({"fileKey": 5}), "the client pos-1;");
    assert_eq!(server.get("/transfers").expect(200).as_array().unwrap().len(), 1);
}

#[test]
fn it_sees_nothing_else() {
    let keys = Keys::new();
    let (shop_key, pos_key) = (keys.client("shop-001"), keys.client("pos-1"));
    let limited = keys.operator("nightly", "admin", "shop-*", "logs/*.log");
    let server = keys.server(&[]);
    let _shop = shop(&server, "shop-001", &shop_key);
    let _pos = shop(&server, "pos-1", &pos_key);
    let begin = |client: &str, key: Value| id(&server.pull(client, &json!({"fileKey": key})));
    let seen = begin("shop-001", json!("logs/today.log"));
    let hidden = [
        begin("shop-001", json!("logs/notes.txt")),
        begin("shop-001", json!("db")),
        begin("shop-001", Value::Null),
        begin("pos-1", json!("logs/today.log")),
    ];
    hidden.iter().chain([&seen]).for_each(|id| drop(server.ended(id)));
    let get = |path: &str| call(&server, &limited, "GET", path, None);

    let clients = get("/clients").expect(200);
    assert_eq!(ids(&clients, "clientId"), ["shop-001"]);
    assert_eq!(clients[0]["shares"], json!(["logs"]), "nor the names of other shares");
    assert_eq!(get("/clients/shop-001").expect(200)["shares"], json!(["logs"]));
    get("/clients/pos-1").expect_error(403, "forbidden");
    get("/clients/pos-77").expect_error(403, "forbidden");
    assert_eq!(ids(&get("/transfers").expect(200), "requestId"), [&*seen]);
    assert_eq!(
        ids(&get("/transfers?limit=1").expect(200), "requestId"),
        [&*seen],
        "the first that it may see"
    );
    assert_eq!(get("/transfers?clientId=pos-1").expect(200), json!([]));
    get(&format!("/transfers/{seen}")).expect(200);
    assert_eq!(get(&format!("/transfers/{seen}/file")).body, b"logs/today.log");
    for id in &hidden {
        get(&format!("/transfers/{id}")).expect_error(404, "not found");
        get(&format!("/transfers/{id}?wait=1")).expect_error(404, "not found");
        get(&format!("/transfers/{id}/file")).expect_error(404, "not found");
        call(&server, &limited, "DELETE", &format!("/transfers/{id}"), None).expect_error(404, "not found");
    }
    assert_eq!(server.get("/clients").expect(200).as_array().unwrap().len(), 2);
    assert_eq!(server.get("/transfers").expect(200).as_array().unwrap().len(), 5);
}

#[test]
fn it_cancels_only_what_it_sees() {
    let keys = Keys::new();
    let key = keys.client("shop-001");
    let limited = keys.operator("canceller", "cancel", "*", "logs/*");
    let server = keys.server(&[]);
    let _client = V1Client::dial(server.port, "shop-001", &key).unwrap();
    server.lists("shop-001");
    let theirs = id(&server.pull("shop-001", &json!({"fileKey": "db"})));
    let ours = id(&server.pull("shop-001", &json!({"fileKey": "logs/x"})));

    call(&server, &limited, "DELETE", &format!("/transfers/{theirs}"), None).expect_error(404, "not found");
    let ended = call(&server, &limited, "DELETE", &format!("/transfers/{ours}"), None).expect(200);

    assert_eq!(ended["status"], "cancelled");
    assert!(["queued", "requested"].iter().any(|word| server.transfer(&theirs)["status"] == *word));
    server.program.wait_line("cancelled by=canceller@127.0.0.1:");
}

#[test]
fn idempotency_keys_belong_to_the_name() {
    let keys = Keys::new();
    let shop_key = keys.client("shop-001");
    let (one, other) = (keys.operator("one", "pull", "*", "*"), keys.operator("other", "pull", "*", "*"));
    let server = keys.server(&[]);
    let _shop = shop(&server, "shop-001", &shop_key);
    let post = |key: &str| {
        let headers = [("Idempotency-Key", "order-7")];
        let mut wire = server.send_with(key, "POST", "/download/shop-001", &headers, Some(b"{}"));
        id(&wire.answer().expect(202))
    };
    let first = post(&one);
    assert_eq!(post(&one), first);
    assert_ne!(post(&other), first, "another name, another key");
    let second_key = keys.done(&["rotate", "one"]);
    assert_eq!(post(&second_key), first, "its second key is the same operator");
    let record = server.uploads.join(".towline").join(&first).join("record.json");
    let record: Value = serde_json::from_slice(&std::fs::read(record).unwrap()).unwrap();
    assert_eq!(record["idempotency"]["caller"], "one");
    assert!(record["requestedBy"].as_str().unwrap().starts_with("one@"), "{record}");
}
