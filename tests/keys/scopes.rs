//! Every scope against every route.

use serde_json::json;

use crate::scene::{Keys, call, shop};
use crate::support::server::id;

#[test]
fn every_scope_on_every_route() {
    let keys = Keys::new();
    let shop_key = keys.client("shop-001");
    let key = |name: &str| keys.operator(name, name, "*", "*");
    let (read, pull, cancel, admin) = (key("read"), key("pull"), key("cancel"), key("admin"));
    let two = keys.operator("two", "pull,cancel", "*", "*");
    let server = keys.server(&[]);
    let _shop = shop(&server, "shop-001", &shop_key);
    let done = id(&server.pull("shop-001", &json!({})));
    server.ended(&done);
    let nobody = "00000000-0000-4000-8000-000000000000";
    let (transfer, file) = (format!("/transfers/{done}"), format!("/transfers/{done}/file"));
    let empty = json!({});
    let batch = json!({"clients": ["shop-001"]});

    // What each is answered that has the scope; 403 is for all others.
    let routes = [
        ("GET", "/clients", None, "read", 200),
        ("HEAD", "/clients", None, "read", 200),
        ("GET", "/clients/shop-001", None, "read", 200),
        ("GET", "/clients/shop-009", None, "read", 404),
        ("GET", "/clients/shop-001/files", None, "read", 200),
        ("GET", "/clients/shop-001/files?path=logs", None, "read", 200),
        ("GET", "/transfers", None, "read", 200),
        ("GET", &transfer, None, "read", 200),
        ("GET", "/transfers/not-an-id", None, "read", 400),
        ("POST", "/download/shop-001", Some(&empty), "pull", 202),
        ("POST", "/download/shop-001?wait=20", Some(&empty), "pull", 200),
        ("POST", "/download/shop-009", Some(&empty), "pull", 404),
        ("POST", "/downloads", Some(&batch), "pull", 202),
        ("GET", &file, None, "pull", 200),
        ("HEAD", &file, None, "pull", 200),
        ("DELETE", &transfer, None, "cancel", 409), // it has ended
        ("DELETE", &format!("/transfers/{nobody}"), None, "cancel", 404),
        ("GET", "/healthz", None, "", 200),
        ("GET", "/readyz", None, "", 200),
        ("GET", "/nothing", None, "", 404),
        ("PUT", "/clients", None, "", 405),
    ];
    let has = [
        (&read, &["read"][..]),
        (&pull, &["pull"]),
        (&cancel, &["cancel"]),
        (&two, &["pull", "cancel"]),
        (&admin, &["read", "pull", "cancel"]),
    ];
    for (key, scopes) in has {
        for (method, path, body, scope, status) in routes {
            let answer = call(&server, key, method, path, body);
            let expected = if scope.is_empty() || scopes.contains(&scope) { status } else { 403 };
            assert_eq!(answer.status, expected, "{scopes:?}: {method} {path}");
            if expected == 403 && method != "HEAD" {
                let message = answer.json()["message"].as_str().unwrap().to_owned();
                answer.expect_error(403, "forbidden");
                assert!(message.contains(&format!("lacks the scope {scope};")), "{message}");
            }
        }
    }
    for (method, path, body, scope, _) in routes {
        let open = matches!(path, "/healthz" | "/readyz");
        let answer = call(&server, "", method, path, body);
        assert_eq!(answer.status, if open { 200 } else { 401 }, "{method} {path} {scope}");
    }
    // A client's key is none of these. A few only: wrong keys wait.
    for (method, path) in
        [("GET", "/clients/shop-001"), ("POST", "/download/shop-001"), ("DELETE", &*transfer)]
    {
        call(&server, &shop_key, method, path, None).expect_error(401, "unauthorized");
    }
}
