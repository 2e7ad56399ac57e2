//! Listings show what the operator's patterns reach.

use serde_json::Value;

use crate::limits::ids;
use crate::scene::{Keys, call, shop};

#[test]
fn listings_show_what_can_be_reached() {
    let keys = Keys::new();
    let shop_key = keys.client("shop-001");
    let logs = keys.operator("logs", "read", "shop-*", "logs/*.log");
    let deep = keys.operator("deep", "read", "*", "logs/2025/*");
    let db = keys.operator("db", "read", "*", "db");
    let elsewhere = keys.operator("elsewhere", "read", "pos-*", "*");
    let server = keys.server(&[]);
    let _shop = shop(&server, "shop-001", &shop_key);
    let files =
        |key: &str, path: &str| call(&server, key, "GET", &format!("/clients/shop-001/files{path}"), None);
    let names = |key: &str, path: &str| -> Vec<String> {
        let answer: Value = files(key, path).expect(200);
        ids(&answer["entries"], "name")
    };
    let root = &server.key;
    for (key, path, shown) in [
        (root, "", &["db", "logs"][..]),
        (root, "?path=logs", &["2025", "notes.txt", "today.log"]),
        (&logs, "", &["logs"]),
        (&logs, "?path=", &["logs"]),
        (&logs, "?path=logs", &["2025", "today.log"]),
        (&logs, "?path=logs/", &["2025", "today.log"]),
        (&logs, "?path=logs/2025", &["old.log"]),
        (&deep, "", &["logs"]),
        (&deep, "?path=logs", &["2025"]),
        (&db, "", &["db"]),
    ] {
        assert_eq!(names(key, path), shown, "{path}");
    }
    for (key, path) in [
        (&logs, "?path=db"),
        (&logs, "?path=logs/.."),
        (&logs, "?path=logs/../db"),
        (&deep, "?path=logs/2024"),
        (&db, "?path=logs"),
        (&db, "?path=db"),
        (&elsewhere, ""),
        (&elsewhere, "?path=logs"),
    ] {
        files(key, path).expect_error(403, "forbidden");
    }
}
