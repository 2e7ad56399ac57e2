//! An installation of the small Node system, its server replaced by ours: the same commands, the same clients.
#![allow(clippy::unwrap_used, reason = "clippy's leave for tests does not reach their helpers")]

mod support;

use serde_json::{Value, json};
use support::files::{random_bytes, sha256};
use support::http::{Wire, exchange};
use support::server::{SECRET, Server, id};
use support::v1_client::V1Client;

const MB: usize = 1_000_000;

/// A request as curl 7 writes it.
fn curl(method: &str, path: &str, headers: &str, body: &str) -> String {
    format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost:8080\r\nUser-Agent: curl/7.88.1\r\nAccept: */*\r\n{headers}\r\n{body}"
    )
}

#[test]
fn the_list_line_shows_who_is_connected_now() {
    let server = Server::start(&[]);
    assert_eq!(server.get("/clients").expect(200), json!([]));
    let _second = V1Client::connect(&server, "shop-002").serve(Vec::new());
    let _first = V1Client::connect(&server, "shop-001").serve(Vec::new());

    let answer =
        exchange(server.port, curl("GET", "/clients", &format!("x-api-key: {SECRET}\r\n"), "").as_bytes());

    let list = answer.expect(200);
    let ids: Vec<_> = list.as_array().unwrap().iter().map(|client| client["clientId"].clone()).collect();
    assert_eq!(ids, ["shop-001", "shop-002"], "by id");
    let first = &list[0];
    assert_eq!(first["meta"], json!({"label": "label of shop-001"}));
    assert_eq!(first["protocol"], 1);
    assert_eq!(first["activeTransfers"], 0);
    assert!(first["lastSeen"].is_u64() && first["connectedAt"].is_u64(), "{first}");
    assert!(first["address"].as_str().unwrap().starts_with("127.0.0.1"), "{first}");
    for name in ["agentVersion", "rttMs", "congestionControl"] {
        assert!(first.get(name).is_some(), "{name} in {first}");
    }
}

#[test]
fn a_client_that_goes_is_gone_from_the_list() {
    let server = Server::start(&[]);
    let client = V1Client::connect(&server, "shop-001");

    client.cut();

    server.lists_no_more("shop-001", support::wait::SOON);
    let known = server.get("/clients/shop-001").expect(200);
    assert_eq!((&known["clientId"], &known["connected"]), (&json!("shop-001"), &json!(false)), "{known}");
}

#[test]
fn the_post_line_with_a_body_pulls_the_file() {
    let server = Server::start(&[]);
    let mut client = V1Client::connect(&server, "shop-001");
    let body = r#"{"fileKey": null}"#;
    let headers = format!(
        "x-api-key: {SECRET}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n",
        body.len()
    );

    let answer =
        exchange(server.port, curl("POST", "/download/shop-001", &headers, body).as_bytes()).expect(202);

    let filename = answer["filename"].as_str().unwrap();
    assert_eq!(answer["ok"], true);
    assert_v1_name(filename);
    assert_eq!(answer["outPath"], server.uploads.join(filename).to_str().unwrap());
    let content = random_bytes(1, 200_000);
    let asked = client.asked();
    assert_eq!((asked.id, asked.file_key, asked.chunk_size), (id(&answer), Value::Null, 65536));
    client.upload(
        &support::v1_client::Asked { id: id(&answer), file_key: Value::Null, chunk_size: 65536 },
        &content,
    );
    server.assert_verified(&id(&answer), &content);
    server.assert_downloads(&[(filename, &sha256(&content))]);
}

/// `<clientId>_<2025-10-31T15-30-00-123Z>.bin`
#[track_caller]
fn assert_v1_name(filename: &str) {
    let time = filename.strip_prefix("shop-001_").and_then(|rest| rest.strip_suffix(".bin"));
    let shape: String =
        time.unwrap_or_default().chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    assert_eq!(shape, "0000-00-00T00-00-00-000Z", "{filename}");
}

#[test]
fn the_post_line_without_a_body_pulls_the_file() {
    let server = Server::start(&[]);
    let content = random_bytes(2, 100_000);
    let _client = V1Client::connect(&server, "shop-001").serve(content.clone());
    // `curl -X POST` sends no Content-Length; with `-d ''` it sends 0.
    for length in ["", "Content-Length: 0\r\nContent-Type: application/x-www-form-urlencoded\r\n"] {
        let headers = format!("x-api-key: {SECRET}\r\n{length}");

        let answer =
            exchange(server.port, curl("POST", "/download/shop-001", &headers, "").as_bytes()).expect(202);

        assert_eq!((&answer["ok"], &answer["fileKey"]), (&json!(true), &Value::Null));
        server.assert_verified(&id(&answer), &content);
    }
}

#[test]
fn a_body_that_comes_after_its_head_is_waited_for() {
    let server = Server::start(&[]);
    let content = random_bytes(3, 1000);
    let _client = V1Client::connect(&server, "shop-001").serve(content.clone());
    let headers = format!("x-api-key: {SECRET}\r\nContent-Type: application/json\r\nContent-Length: 17\r\n");
    let mut wire = Wire::connect(server.port);

    wire.send(curl("POST", "/download/shop-001", &headers, "").as_bytes());
    server.get("/clients").expect(200); // others are answered meanwhile
    wire.send(br#"{"fileKey": null}"#);

    server.assert_verified(&id(&wire.answer().expect(202)), &content);
}

#[test]
fn the_chunk_size_of_the_servers_env_file_reaches_the_client() {
    let server = Server::start(&[("CHUNK_SIZE", "16384")]);
    let mut client = V1Client::connect(&server, "shop-001");
    let id = server.pull_id("shop-001");

    let asked = client.asked();

    assert_eq!(asked.chunk_size, 16384);
    let content = random_bytes(4, 50_000);
    client.upload(&asked, &content);
    server.assert_verified(&id, &content);
}

#[test]
fn a_client_that_is_not_connected_is_404() {
    let server = Server::start(&[]);
    server.post("/download/shop-001", &json!({"fileKey": null})).expect_error(404, "not connected");
}

#[test]
fn the_key_is_taken_from_either_header_and_nothing_else_gets_in() {
    let server = Server::start(&[]);
    let longer = format!("{SECRET}x");
    let shorter = &SECRET[1..];
    for (headers, status) in [
        (format!("x-api-key: {SECRET}\r\n"), 200),
        (format!("X-API-Key: {SECRET}\r\n"), 200),
        (format!("Authorization: Bearer {SECRET}\r\n"), 200),
        (format!("authorization: bearer {SECRET}\r\n"), 200),
        (String::new(), 401),
        ("x-api-key:\r\n".to_owned(), 401),
        ("x-api-key: wrong\r\n".to_owned(), 401),
        (format!("x-api-key: {longer}\r\n"), 401),
        (format!("x-api-key: {shorter}\r\n"), 401),
        ("Authorization: Bearer\r\n".to_owned(), 401),
        (format!("Authorization: Basic {SECRET}\r\n"), 401),
        (format!("Authorization: Bearer {longer}\r\n"), 401),
    ] {
        let answer = exchange(server.port, curl("GET", "/clients", &headers, "").as_bytes());
        assert_eq!(answer.status, status, "{headers}");
        if status == 401 {
            answer.expect_error(401, "unauthorized");
        }
    }
    let answer = exchange(server.port, curl("POST", "/download/shop-001", "", "").as_bytes());
    answer.expect_error(401, "unauthorized");
    assert!(!server.program.output().contains(SECRET), "the secret is never printed");
}

#[test]
fn files_of_every_size_are_pulled_and_verified() {
    let server = Server::start(&[]);
    let mut client = V1Client::connect(&server, "shop-001");
    let mut expected = Vec::new();
    for (seed, size) in [0, 1, 65535, 65536, 65537, 100_000, 10 * MB].into_iter().enumerate() {
        let content = random_bytes(seed as u64, size);
        let id = server.pull_id("shop-001");
        let asked = client.asked();
        assert_eq!(asked.id, id);

        client.upload(&asked, &content);

        let hash = sha256(&content);
        let receipt = client.receipt(&id);
        assert_eq!(
            (&receipt["ok"], &receipt["computed"]),
            (&json!(true), &json!(hash)),
            "{size} bytes: {receipt}"
        );
        let transfer = server.assert_verified(&id, &content);
        assert_eq!(transfer["bytesOnWire"], size);
        expected.push((transfer["filename"].as_str().unwrap().to_owned(), hash));
    }
    let expected: Vec<_> = expected.iter().map(|(name, hash)| (name.as_str(), hash.as_str())).collect();
    server.assert_downloads(&expected);
}

#[test]
fn the_checksum_may_be_in_upper_case() {
    let server = Server::start(&[]);
    let mut client = V1Client::connect(&server, "shop-001");
    let content = random_bytes(5, 1000);
    let id = server.pull_id("shop-001");
    let asked = client.asked();
    client.begin(&id, "pos.db", content.len());
    client.chunks(&asked, &content);

    client.end(&id, &sha256(&content).to_uppercase(), content.len());

    assert_eq!(client.receipt(&id)["ok"], true);
    server.assert_verified(&id, &content);
}

#[test]
fn a_file_key_reaches_a_v1_client_as_it_is() {
    let server = Server::start(&[]);
    let mut client = V1Client::connect(&server, "shop-001");
    let longest = "k".repeat(4096);
    for key in [r"C:\pos\data.db", "/var/lib/pos/pos.db", "../up.db", "a b/ü\n\"q\"", &longest] {
        let transfer = server.pull("shop-001", &json!({"fileKey": key}));
        assert_eq!(transfer["fileKey"], key);
        let filename = transfer["filename"].as_str().unwrap();
        assert!(filename.len() <= 255 && !filename.contains(['/', '\\', '\n']), "{filename}");

        let asked = client.asked();

        assert_eq!((&asked.id, &asked.file_key), (&id(&transfer), &json!(key)));
        client.upload(&asked, b"x");
        client.receipt(&asked.id);
        server.assert_verified(&asked.id, b"x");
    }
    let backslashes = server.pull("shop-001", &json!({"fileKey": r"C:\pos\data.db"}));
    assert!(backslashes["filename"].as_str().unwrap().ends_with("Z_C--pos-data.db.bin"), "{backslashes}");
}

#[test]
fn an_empty_file_key_is_the_clients_file_path() {
    let server = Server::start(&[]);
    let mut client = V1Client::connect(&server, "shop-001");
    let transfer = server.pull("shop-001", &json!({"fileKey": ""}));

    let asked = client.asked();

    assert!(asked.file_key.is_null() || asked.file_key == "", "{asked:?}");
    client.upload(&asked, b"x");
    server.assert_verified(&id(&transfer), b"x");
}

#[test]
fn a_file_name_with_path_parts_stays_a_name() {
    let server = Server::start(&[]);
    let mut client = V1Client::connect(&server, "shop-001");
    let mut names = Vec::new();
    for (sent, kept) in [
        ("/var/lib/pos/pos.db", "pos.db"),
        (r"C:\pos\data.db", "data.db"),
        ("../../../../tmp/towline-evil", "towline-evil"),
    ] {
        let transfer = server.pull("shop-001", &json!({}));
        let asked = client.asked();
        client.begin(&asked.id, sent, 1);
        client.chunks(&asked, b"x");
        client.end(&asked.id, &sha256(b"x"), 1);

        let ended = server.assert_verified(&asked.id, b"x");

        assert_eq!(ended["sourceName"], kept);
        assert_eq!(ended["filename"], transfer["filename"], "the name was reserved at the POST");
        names.push(ended["filename"].as_str().unwrap().to_owned());
        client.receipt(&asked.id);
    }
    let hash = sha256(b"x");
    let expected: Vec<_> = names.iter().map(|name| (name.as_str(), hash.as_str())).collect();
    server.assert_downloads(&expected);
    assert!(!std::path::Path::new("/tmp/towline-evil").exists());
}

#[test]
fn the_log_has_v1s_lines() {
    let server = Server::start(&[]);
    server.program.wait_line("WebSocket path: /ws");
    let content = random_bytes(6, 70_000);
    let _client = V1Client::connect(&server, "shop-001").serve(content.clone());

    let id = server.pull_id("shop-001");

    let start = server.program.wait_line(&format!("upload_start for {id}"));
    assert!(start.contains(&format!("upload_start for {id} filename=pos.db size=70000")), "{start}");
    let end = server.program.wait_line(&format!("upload_end {id}"));
    assert!(end.contains(&format!("upload_end {id} computed={} bytes=70000", sha256(&content))), "{end}");
}

#[test]
fn another_ws_path_is_honoured() {
    let server = Server::start(&[("WS_PATH", "/agents/line")]);
    let target = format!("/ws?clientId=shop-001&token={SECRET}");
    let answer = support::raw_line::refused(server.port, target.as_bytes(), "");
    assert!([401, 404].contains(&answer.status), "{}", answer.status); // a route of REST, and no such one
    let target = format!("/agents/line?clientId=shop-001&token={SECRET}");

    let mut wire = support::raw_line::ask_upgrade(server.port, target.as_bytes(), "");

    assert_eq!(wire.read_exact(13), b"HTTP/1.1 101 ");
    server.lists("shop-001");
}
