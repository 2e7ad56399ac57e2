//! The audit log names the operator by its key's name, on the server and in the shop, also for what its key may not do.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::scene::{Keys, almost, call};
use crate::support::agent::Agent;
use crate::support::server::id;
use crate::support::temp::TempDir;

/// The last line about this.
#[track_caller]
fn last(log: &Path, event: &str) -> Value {
    let text = fs::read_to_string(log).unwrap();
    let mut lines = text.lines().rev().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.find(|line| line["event"] == event).unwrap_or_else(|| panic!("no {event} in {text}"))
}

#[test]
fn who_has_asked_is_on_record_by_name() {
    let keys = Keys::new();
    let shop_key = keys.client("shop-001");
    let nightly = keys.operator("nightly", "read,pull", "shop-*", "docs/*");
    let server = keys.server(&[]);
    let log = server.uploads.join(".towline/audit.jsonl");
    let home = TempDir::new();
    fs::create_dir(home.join("docs")).unwrap();
    fs::write(home.join("docs/x"), "x").unwrap();
    let (shares, record) = (format!("docs={}/docs", home.display()), home.join("taken.jsonl"));
    let settings =
        [("AUTH_SECRET", &*shop_key), ("SHARES", &shares), ("AUDIT_FILE", record.to_str().unwrap())];
    let _agent = Agent::start_in(home, &server.url(), "shop-001", &settings);
    server.lists_agent("shop-001");

    let pull = call(&server, &nightly, "POST", "/download/shop-001", Some(&json!({ "fileKey": "docs/x" })));
    let pulled = id(&pull.expect(202));
    server.assert_verified(&pulled, b"x");
    assert_eq!(last(&log, "pull_asked")["by"], "nightly");
    assert_eq!(
        (&last(&record, "file_asked")["by"], &last(&record, "file_ended")["by"]),
        (&json!("nightly"), &json!("nightly"))
    );
    assert_eq!(call(&server, &nightly, "GET", &format!("/transfers/{pulled}/file"), None).body, b"x");
    assert_eq!(last(&log, "file_taken")["by"], "nightly");
    call(&server, &nightly, "GET", "/clients/shop-001/files?path=docs", None).expect(200);
    assert_eq!(
        (&last(&log, "listing_asked")["by"], &last(&record, "listing_asked")["by"]),
        (&json!("nightly"), &json!("nightly"))
    );

    // What its key does not reach: one client, a file, a cancel.
    let forbidden = |method: &str, path: &str, body: Option<Value>| {
        call(&server, &nightly, method, path, body.as_ref()).expect_error(403, "forbidden");
        let no = last(&log, "refused");
        assert_eq!(
            (&no["by"], &no["status"], &no["method"]),
            (&json!("nightly"), &json!(403), &json!(method))
        );
        assert_eq!(no["path"], path);
        no
    };
    forbidden("POST", "/download/till-9", Some(json!({ "fileKey": "docs/x" })));
    let no = forbidden("POST", "/download/shop-001", Some(json!({ "fileKey": "db/pos.db" })));
    assert_eq!((&no["clientId"], &no["fileKey"]), (&json!("shop-001"), &json!("db/pos.db")));
    let no = forbidden("POST", "/downloads", Some(json!({ "clients": ["shop-*"], "fileKey": "db/pos.db" })));
    assert_eq!(no["fileKey"], "db/pos.db");
    forbidden("DELETE", &format!("/transfers/{pulled}"), None);
    let batch = json!({ "clients": ["shop-001", "till-9"], "fileKey": "docs/x" });
    call(&server, &nightly, "POST", "/downloads", Some(&batch)).expect(202);
    let no = last(&log, "refused");
    assert_eq!((&no["clientId"], &no["by"]), (&json!("till-9"), &json!("nightly")));

    // A wrong key is nobody's name, and is not in it wherever it stands.
    let wrong = almost(&nightly);
    call(&server, &wrong, "POST", "/download/shop-001", None).expect_error(401, "unauthorized");
    let no = last(&log, "refused");
    assert_eq!((&no["by"], &no["path"]), (&Value::Null, &json!("/download/shop-001")));
    call(&server, &wrong, "GET", &format!("/clients/{wrong}"), None).expect_error(401, "unauthorized");
    assert_eq!(last(&log, "refused")["path"], "(not shown: it holds a key)");
    assert!(!fs::read_to_string(&log).unwrap().contains(&nightly[..20]));
}
